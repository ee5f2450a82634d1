"""What of this checkout a training on another machine needs."""

from __future__ import annotations

from pathlib import Path

from ..formats.basemodel import BUILTIN_SOURCE
from ..home import BUILTIN, REPO

FOLDERS = ("training", "captioning", "presets", "launchers")
FILES = ("requirements.txt", "pyproject.toml")
ENDINGS = (".py", ".yaml", ".txt", ".json", ".in", ".toml")  # of the code and its lists; the built-in base has others


def files(source: str = "") -> dict[str, Path]:
    """{name: file} of the code, the presets and the pinned requirements; of the built-in base model too, where that is the `source`.  Raises ValueError."""
    if not (REPO / "launchers" / "install.py").is_file():
        raise ValueError(f"{REPO} holds no launchers/install.py, with which Easel is set up on the other machine; start Easel from its own folder")
    found = [REPO / name for name in FILES if (REPO / name).is_file()]
    for folder in FOLDERS:
        found += [p for p in (REPO / folder).rglob("*") if p.suffix in ENDINGS and BUILTIN not in p.parents and "__pycache__" not in p.parts]
    if source == BUILTIN_SOURCE:
        found += (BUILTIN / "base").rglob("*")
    return {p.relative_to(REPO).as_posix(): p for p in sorted(found) if p.is_file()}
