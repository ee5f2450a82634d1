"""The files of a request, on the disk."""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path

from training import outside

MOST_FILES = 1000
MOST_SENT_BYTES = 64_000_000  # of a file inside the request itself
DATA = "data:"


def files(given: list[str | dict], room: Path) -> list[Path]:
    """Uploads where Gradio left them, below `room`, and data URLs written there.  Raises ValueError for anything else."""
    if len(given) > MOST_FILES:
        raise ValueError(f"{len(given)} files in one request are too many; {MOST_FILES} are the most, a ZIP may hold more")
    return [_written(one, room, number) if isinstance(one, str) and one.startswith(DATA) else _uploaded(one, room) for number, one in enumerate(given, 1)]


def _uploaded(one: str | dict, room: Path) -> Path:
    """A file that was uploaded to this app; never another of the disk, whatever path is named."""
    named = str(one.get("path", "")) if isinstance(one, dict) else one
    path = Path(named).resolve()
    if not path.is_relative_to(room) or not outside.is_plain(path):
        raise ValueError("a file that is named was not uploaded to this Easel; upload it first, send it as a data URL, or name a folder")
    return path


def _written(url: str, room: Path, number: int) -> Path:
    """A file out of a data URL.  Raises ValueError for one that is too long or damaged."""
    head, _, body = url[len(DATA) :].partition(",")
    kind, *rest = head.split(";")
    name = next((part.partition("=")[2] for part in rest if part.startswith("name=")), "") or f"{number}.{kind.rpartition('/')[2] or 'png'}"
    if rest[-1:] != ["base64"]:
        raise ValueError("a data URL among the files is not base64; write it as data:image/png;base64,…")
    if len(body) > MOST_SENT_BYTES * 4 // 3:
        raise ValueError(f"a file inside the request is larger than {MOST_SENT_BYTES // 1_000_000} MB; upload it, or name a folder")
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a data URL among the files is damaged: it is no base64") from None
    path = Path(tempfile.mkdtemp(prefix="sent-", dir=room)) / (Path(name.replace("\\", "/")).name or str(number))
    path.write_bytes(data)
    return path
