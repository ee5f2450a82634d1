"""What a base model's files are, to the byte: recorded when a run begins, compared when it is resumed, and looked at for damage.

A hash of a file is reckoned once and then known by its place, size, times and number, so that it costs nothing at the next start; it is
reckoned again after a week, because a disk that forgets changes none of these.  A file whose content is another although its time of
change is the same, or which is not what its name in the Hub's own cache says (there a file is called by its sha256), is damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..family import FamilySpec
from ..files import write_atomic
from ..outside import open_plain, read_json
from .basemodel import weight_files

CHUNK_BYTES = 8 << 20
AGAIN_AFTER_S = 7 * 86_400
SMALL_BYTES = 64 << 20  # what is no larger is read each time: it takes a fraction of a second
MAX_BYTES = 16 << 20  # of the record
HEX = re.compile("[0-9a-f]{64}")
ADVICE = "download it again, or copy it again from where it came"

Told = Callable[[int, int], None]  # bytes done, bytes in all


def base_files(folder: Path, spec: FamilySpec) -> dict[str, Path]:
    """{name below the folder: file} of every file of weights that the family reads."""
    found = [file for names in spec.parts.values() for name in names if (folder / name).is_dir() for file in weight_files(folder / name)]
    return {file.relative_to(folder).as_posix(): file for file in found}


def hashes(files: Mapping[str, Path], memory: Path, told: Told) -> dict[str, str]:
    """{name: sha256}.  memory: the file that remembers them.  told may raise, which ends it.  Raises ValueError for a damaged file."""
    known = _remembered(memory)
    keys = {name: _state(path) for name, path in files.items()}
    todo = {name for name in files if not _is_known(known.get(_place(files[name])), keys[name])}
    of, done, found = sum(keys[name]["size"] for name in todo), 0, {}
    for name, path in files.items():
        place, before = _place(path), known.get(_place(path), {})
        if name not in todo:
            found[name] = before["sha256"]
            continue
        found[name] = sha256_of(path, lambda more, at=done: told(at + more, of))  # type: ignore[misc]
        done += keys[name]["size"]
        _refuse_damage(name, path, found[name], before, keys[name])
        known[place] = keys[name] | {"sha256": found[name], "checked_t": int(time.time())}
    if todo:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(memory, json.dumps(known).encode())
    return found


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What of the base model is no longer what the run was begun with, as sentences; [] where all is."""
    other = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not other:
        return []
    return [f"The base model is not the one that this run was begun with: {', '.join(other[:3])}{', …' if len(other) > 3 else ''} changed"]


def read_record(path: Path) -> dict[str, str]:
    """What write_record() kept; {} of a run that an earlier Easel began, or where it cannot be read."""
    try:
        said = read_json(path, MAX_BYTES)
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        return {}
    return said


def write_record(path: Path, now: Mapping[str, str]) -> None:
    """Keeps what the run is trained on."""
    write_atomic(path, json.dumps(dict(now), indent=1, sort_keys=True).encode())


def _refuse_damage(name: str, path: Path, sha256: str, before: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    real = path.resolve()
    if real.parent.name == "blobs" and HEX.fullmatch(real.name) and real.name != sha256:
        raise ValueError(f"the base model's {name} is damaged on this disk: it is not what the Hub holds; delete {real}, and it is downloaded again")
    same = before and all(before.get(key) == state[key] for key in ("size", "mtime_ns", "inode"))
    if same and before.get("sha256") != sha256:
        raise ValueError(f"the base model's {name} is damaged on this disk: its content is another than when it was first used, and nobody wrote it since; {ADVICE}")


def _is_known(before: Any, state: Mapping[str, Any]) -> bool:
    if not before or state["size"] <= SMALL_BYTES or any(before.get(key) != value for key, value in state.items()):
        return False
    return 0 <= time.time() - before["checked_t"] < AGAIN_AFTER_S


def _state(path: Path) -> dict[str, int]:
    found = os.stat(path)
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns, "inode": found.st_ino}


def _place(path: Path) -> str:
    return str(path.resolve())


def _remembered(memory: Path) -> dict[str, dict[str, Any]]:
    try:
        said = read_json(memory, MAX_BYTES)
    except (OSError, ValueError):
        return {}
    whole = lambda row: isinstance(row, dict) and isinstance(row.get("sha256"), str) and isinstance(row.get("checked_t"), int)
    return {place: row for place, row in said.items() if whole(row)} if isinstance(said, dict) else {}


def sha256_of(path: Path, told: Callable[[int], None] = lambda done: None) -> str:
    """The sha256 of a file.  told: how many bytes of it are read, after each piece."""
    digest, done = hashlib.sha256(), 0
    with open_plain(path, linked=True) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            told(done)
    return digest.hexdigest()
