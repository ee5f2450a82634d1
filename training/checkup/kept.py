"""Datasets whose notes are broken: journals, settings, versions, a version that was being brought back.

Notes that cannot be read count as none, silently, wherever they are used; here they are named.  Mended is what can be without losing
anything: the file as it was always stays beside the new one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .. import outside
from ..data import bin, datasets, restoring, versions
from ..data.edits import MAX_BYTES as MAX_JOURNAL_BYTES
from ..data.edits import Edits
from ..files import write_atomic
from ..home import Home
from .check import Check, some

NOTES = ("dataset.json", "repeats.json", "focus.json", "treatment.json", "parts.json")
MADE_AGAIN = ("index.json", bin.INDEX)  # what the gate said, which it says again; what is known of the bin
MAX_NOTES_BYTES = 512 << 20
OLD_S = 3600.0


def look(home: Home) -> Iterator[Check]:
    """The rows of datasets/; one that says how many are whole."""
    whole = 0
    there = datasets.list_datasets(home)
    for ds in there:
        rows = list(_of(ds))
        whole += not rows
        yield from rows
    if there:
        yield Check("datasets' notes", "ok" if whole == len(there) else "note", f"{whole} of {len(there)} datasets are whole")


def place(ds: datasets.Dataset, file: str) -> Path:
    """Where a file of notes lies."""
    return ds.meta / bin.FOLDER / file if file == bin.INDEX else ds.meta / file


def _of(ds: datasets.Dataset) -> Iterator[Check]:
    name = f"dataset {ds.name}"
    yield from _journal(ds, name)
    for file in NOTES:
        if why := _unreadable(ds.meta / file):
            yield Check(name, "broken", f"{file} cannot be read ({why}), so what it says counts as nothing; bring back the last version on the Dataset tab, or put a copy of your own in its place")
    for file in MADE_AGAIN:
        if why := _unreadable(place(ds, file)):
            yield Check(name, "note", f"{file} cannot be read ({why}); it is made again, which takes a while", partial(_set_aside, place(ds, file)))
    if outside.is_plain(ds.meta / restoring.PLAN):
        yield Check(name, "note", "a version was being brought back when it was cut off; the next look at it goes on, or doctor --fix does", lambda: _carry_through(ds))
    yield from _versions(ds, name)
    half = [p for folder in (ds.path, ds.meta, ds.meta / versions.FOLDER) if outside.is_folder(folder) for p in (*folder.glob(".*.tmp-*"), *folder.glob(".tmp-*")) if _is_old(p)]
    if half and not ds.in_place:
        yield Check(name, "note", f"{len(half)} files that were never finished: {some([p.name for p in half])}; doctor --fix removes them", lambda: _remove(half))


def _journal(ds: datasets.Dataset, name: str) -> Iterator[Check]:
    path = ds.meta / "edits.jsonl"
    if not os.path.lexists(path):
        return
    try:
        lines = outside.read_plain(path, MAX_JOURNAL_BYTES).splitlines()
    except (OSError, ValueError) as error:
        yield Check(name, "broken", f"its journal {error if 'edits.jsonl' in str(error) else f'edits.jsonl: {error}'}; nothing can be undone. Put the file itself back, or take it away")
        return
    bad = [n for n, line in enumerate(lines) if line.strip() and not _is_record(line)]
    if bad:
        text = f"{len(bad)} of {len(lines)} lines of its journal cannot be read, from line {bad[0] + 1} on; those steps cannot be undone, all others can. doctor --fix takes them out and keeps the old file"
        yield Check(name, "note", text, lambda: _sift(ds, path))


def _versions(ds: datasets.Dataset, name: str) -> Iterator[Check]:
    folder = ds.meta / versions.FOLDER
    files = sorted(folder.glob("*.version")) if outside.is_folder(folder) else []
    known = versions.listed(ds)
    bad = [p.name for p in files if p.stem.isdecimal() and int(p.stem) not in {v.id for v in known}]
    for version in known[-20:]:
        try:
            versions.read(ds, version.id)
        except (ValueError, OSError):
            bad.append(f"{version.id:06d}.version")
    if bad:
        yield Check(name, "note", f"{len(bad)} of its versions are damaged ({some(sorted(set(bad)))}) and cannot be brought back; the pictures and captions as they are now are not touched by that")


def _unreadable(path: Path) -> str:
    """Why a file of notes cannot be read; "" where it can, or is not there."""
    if not os.path.lexists(path):
        return ""
    try:
        found = outside.read_json(path, MAX_NOTES_BYTES)
    except (OSError, ValueError) as error:
        return " ".join(str(error).removeprefix(f"{path.name}").removeprefix(":").split())[:120] or "no JSON"
    return "" if isinstance(found, (dict, list)) else "it holds no notes"


def _is_record(line: bytes) -> bool:
    try:
        Edits(Path())._fold(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return True


# what --fix does


def _sift(ds: datasets.Dataset, path: Path) -> str:
    """The journal without the lines that cannot be read; the old file stays beside it."""
    with ds._locked():
        lines = outside.read_plain(path, MAX_JOURNAL_BYTES).splitlines()
        aside = _free_name(path)
        write_atomic(aside, outside.read_plain(path, MAX_JOURNAL_BYTES))
        kept = [line for line in lines if line.strip() and _is_record(line)]
        write_atomic(path, b"".join(line + b"\n" for line in kept))
    return f"{len(lines) - len(kept)} lines taken out of {ds.name}'s journal; the old one is {aside.name}"


def _set_aside(path: Path) -> str:
    aside = _free_name(path)
    os.replace(path, aside)
    return f"{path.name} set aside as {aside.name}; it is made again"


def _carry_through(ds: datasets.Dataset) -> str:
    restoring.finish(ds)
    return f"the version of {ds.name} is brought back" if not outside.is_plain(ds.meta / restoring.PLAN) else f"somebody is at work in {ds.name}"


def _remove(half: list[Path]) -> str:
    gone = 0
    for path in half:
        if outside.is_plain(path):
            path.unlink()
            gone += 1
    return f"{gone} unfinished files removed"


def _free_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > OLD_S
    except OSError:
        return False
