"""What of this checkout goes along to a machine that has no Easel: what trains, and the launcher that sets it up there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from .. import outside
from ..home import BUILTIN, REPO

FOLDERS = ("training", "captioning", "presets", "launchers")
FILES = ("requirements.txt", "pyproject.toml", "LICENSE", "NOTICE")
LEFT_OUT = ("__pycache__",)
MAX_BYTES = 500_000_000


def files(builtin: bool = True) -> dict[str, tuple[Path, str, int]]:
    """{name: (where it lies here, sha256, bytes)}, in the order of the names; builtin: the built-in base model and example pictures too."""
    found = {}
    for path in sorted(p for p in _paths() if builtin or BUILTIN not in p.parents):
        data = outside.read_plain(path, MAX_BYTES)
        found[path.relative_to(REPO).as_posix()] = (path, hashlib.sha256(data).hexdigest(), len(data))
    return found


def digest(of: dict[str, tuple[Path, str, int]]) -> str:
    """16 hex digits that name this very code."""
    return hashlib.sha256(json.dumps([(name, sha256) for name, (_, sha256, _) in of.items()]).encode()).hexdigest()[:16]


def _paths() -> Iterator[Path]:
    yield from (REPO / name for name in FILES if (REPO / name).is_file())
    for folder in FOLDERS:
        for path in (REPO / folder).rglob("*"):
            if path.is_file() and not path.is_symlink() and not any(part in LEFT_OUT or part.startswith(".") for part in path.relative_to(REPO).parts):
                yield path
