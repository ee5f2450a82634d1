"""The fold of a long journal, remembered between two starts of the app: a million events take seconds, their fold a few milliseconds.

It lies in the home, never in the run's folder, which somebody else may have made; and it counts only while the journal still begins with
the very bytes that were folded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from ..files import write_atomic
from ..outside import open_plain, read_json
from .events import RunView

VERSION = 3  # raise when a record folds to something else
MAX_BYTES = 256 << 20
_BLOCK_BYTES = 4 << 20


def keep(events: Path, cursor: int, view: RunView) -> None:
    """The view of the first `cursor` bytes is remembered.  Raises Refused, OSError."""
    path = _place(events)
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"version": VERSION, "cursor": cursor, "sha256": _sha256(events, cursor), "view": dataclasses.asdict(view)}
    write_atomic(path, json.dumps(said).encode())


def recall(events: Path) -> tuple[int, RunView]:
    """(cursor, the view up to there); (0, an empty view) where nothing is remembered, or the journal is another one."""
    try:
        said = read_json(_place(events), MAX_BYTES)
        if said["version"] == VERSION and said["sha256"] == _sha256(events, said["cursor"]):
            return said["cursor"], RunView(**{name: _tuples(value) for name, value in said["view"].items()})
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it is only a memory: the journal is folded again
    return 0, RunView()


def _place(events: Path) -> Path:
    run = events.parent
    name = hashlib.sha256(run.name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return run.parent.parent / ".easel" / "folds" / f"{name}.json"


def _sha256(path: Path, length: int) -> str:
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while length > 0 and (block := file.read(min(length, _BLOCK_BYTES))):
            digest.update(block)
            length -= len(block)
    if length:
        raise ValueError("it is shorter than what was folded")
    return digest.hexdigest()


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
