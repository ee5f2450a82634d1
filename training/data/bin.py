"""The bin of a dataset: pictures that were removed, with what lay beside them, until somebody empties it.

    .easel/removed/<step>/<name>      the files as they were, moved, never copied
    .easel/bin.json                   what is known of them, so that none is read again to know its sha256

A step's name begins with its time, so the bin knows when a thing was removed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..files import fsync_folder
from ..outside import is_folder, open_plain, read_json
from . import captions
from .controls import controlled_stem
from .folder import Folder
from .masks import is_mask, masked_stem
from .memory import MAX_INDEX_BYTES, Scan, hash_of, is_record, memory_of, natural_key, stem_of, write_text_whole
from .memory import scan as scan_folder
from .pictures import SUFFIXES, Refused
from .roles import Pairing

FOLDER, INDEX = "removed", "bin.json"
TEXT, PICTURE, BESIDE = "text", "picture", "beside"  # kinds of what lies there


@dataclass(frozen=True)
class Kept:
    """One file in the bin.  step: when and by what it was removed.  t: UTC seconds, 0 where that is not known.  sha256: "" for texts."""

    step: str
    name: str
    path: Path
    size_bytes: int
    sha256: str
    kind: str
    t: float
    beside: str  # the stem of the picture that it belongs to; "" for a picture
    record: dict | None = None  # what the gate said of it, where that is known

    @property
    def key(self) -> str:
        """What it is called among all that lie there."""
        return f"{self.step}/{self.name}"


def contents(folder: Folder) -> list[Kept]:
    """Everything in the bin, what was removed last first."""
    with memory_of(folder.meta).lock:  # a look waits for no other process
        rows, known, changed = [], _index(folder), False
        for step, name, path, found in _files(folder):
            row = known.get(f"{step}/{name}")
            text = os.path.splitext(name)[1].lower() in captions.SUFFIXES
            if not text and (row is None or (row["size"], row["mtime_ns"]) != (found.st_size, found.st_mtime_ns)):
                try:
                    row = _row(found, hash_of(path), _stem_by_name(name))
                except (OSError, Refused):
                    continue
                known[f"{step}/{name}"], changed = row, True
            kind = TEXT if text else BESIDE if row["beside"] else PICTURE  # type: ignore[index]
            rows.append(Kept(step, name, path, found.st_size, "" if text else row["sha256"], kind, _time_of(step), *((stem_of(name), None) if text else (row["beside"], row["record"]))))  # type: ignore[index]
        if changed:
            with suppress(OSError, ValueError), folder._locked():  # it is only a memory
                _save(folder, _index(folder) | known)
        return sorted(_beside_theirs(rows), key=lambda k: (-k.t, natural_key(k.name)))


def _beside_theirs(rows: list[Kept]) -> list[Kept]:
    """The same; a caption whose name is only near that of its picture (1.jpg.txt) lies beside it too."""
    pictures: dict[str, list[str]] = {}
    for kept in rows:
        if kept.kind == PICTURE:
            pictures.setdefault(kept.step, []).append(kept.name)
    stems = {step: {stem_of(n) for n in names} for step, names in pictures.items()}
    pairings: dict[str, Pairing] = {}
    made = []
    for kept in rows:
        if kept.kind == TEXT and kept.step in stems and kept.beside not in stems[kept.step]:
            if kept.step not in pairings:
                pairings[kept.step] = Pairing((n, n) for n in pictures[kept.step])
            owners = {stem_of(n) for n in pairings[kept.step].of(kept.beside)}
            kept = replace(kept, beside=owners.pop()) if len(owners) == 1 else kept
        made.append(kept)
    return made


def size_bytes(folder: Folder) -> int:
    """How much all of it takes.  Hard links to a picture that is also elsewhere count here too."""
    return sum(found.st_size for *_, found in _files(folder))


def put_aside(folder: Folder, scan: Scan, names: Iterable[str], step: str) -> None:
    """Move files of the dataset into the bin."""
    aside = folder.meta / FOLDER / step
    aside.mkdir(parents=True, exist_ok=True)
    owners, flat = scan.owners(), {real: name for name, real in scan.told.items()}
    memory, rows = memory_of(folder.meta), {}
    for name in names:
        called = flat.get(name, name)  # one out of a folder below comes back beside its picture
        target = aside / called
        while os.path.lexists(target):  # a step that was cut off and goes on
            target = aside.with_name(f"{step}~{secrets.token_hex(2)}") / called
            target.parent.mkdir(exist_ok=True)
        name = scan.told.get(name, name)
        found = os.lstat(folder.path / name)
        if record := memory.fresh(name, found):
            rows[f"{target.parent.name}/{called}"] = _row(found, record["sha256"], owners.get(name, ""), record)
        os.replace(folder.path / name, target)
    if rows:
        _save(folder, _index(folder) | rows)


def with_beside(scan: Scan, ids: Collection[str]) -> list[str]:
    """The pictures, and the captions, masks and control pictures that belong to none but them: a.jpg and a.png may share a.txt."""
    going = set(ids)
    stems = {stem_of(i) for i in ids}
    shared = {stem_of(n) for n in scan.names if n not in going} & stems
    found = list(dict.fromkeys(ids))
    for stem in dict.fromkeys(map(stem_of, ids)):
        if stem not in shared:
            found += [*scan.texts.get(stem, []), *scan.lying(stem)]
    return found


def place(folder: Folder, source: Path, name: str, move: bool, record: dict | None = None) -> bool:
    """A file of the dataset called `name` with the bytes of another one: moved, else a hard link, else a copy.  Whether it had to be copied.

    record: what the gate said of it, so that it need not be asked again.
    """
    target = folder.path / name
    copied = False
    if move:
        os.replace(source, target)
    else:
        copied = link_or_copy(source, target)
    if record:
        found = os.lstat(target)
        memory_of(folder.meta).records[name] = record | {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
    return copied


def link_or_copy(source: Path, target: Path, link: Callable[[Path, Path], None] = os.link) -> bool:
    """`target` with the bytes of `source`, taking no room where the disk knows hard links.  Whether it had to be copied."""
    try:
        link(source, target)
        return False
    except FileExistsError:
        raise
    except OSError:  # another disk, or one without hard links (FAT, some network disks)
        temporary = target.with_name(f".{target.name[:40]}.tmp-{secrets.token_hex(4)}")
        try:
            with open_plain(source) as file, open(temporary, "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            shutil.copystat(source, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return True


def bring_back(folder: Folder, keys: Collection[str]) -> int:
    """Pictures of the bin in the dataset again, with what lay beside them; one whose name is taken gets another.  How many."""
    with folder._locked():
        there = contents(folder)
        beside, left = beside_by_picture(there, shared=True), _pictures(there)
        scan = scan_folder(folder.path)
        stems = {stem_of(n).casefold() for n in scan.names}
        count = 0
        for kept in [k for k in there if k.key in set(keys) and k.kind == PICTURE]:
            stem, suffix = os.path.splitext(kept.name)
            free, number = stem, 1
            while stem_of(free + suffix).casefold() in stems:
                number += 1
                free = f"{stem}-{number}"
            stems.add(stem_of(free + suffix).casefold())
            left[kept.step, stem_of(kept.name)] -= 1
            last = not left[kept.step, stem_of(kept.name)]  # of those that share a caption: what lies beside goes with it
            for other in beside.get((kept.step, stem_of(kept.name)), []):
                name = free + other.name[len(stem) :] if other.name.startswith(stem) else other.name
                if not os.path.lexists(folder.path / name):
                    place(folder, other.path, name, move=last, record=other.record)
            place(folder, kept.path, free + suffix, move=True, record=kept.record)
            count += 1
        sweep(folder)
        return count


def take_texts(folder: Folder, beside: Iterable[Kept]) -> None:
    """The caption files of a picture that comes back under its own name, where nothing stands in their place."""
    for other in beside:
        if other.kind == TEXT and other.path.exists() and not os.path.lexists(folder.path / other.name):
            os.replace(other.path, folder.path / other.name)


def empty(folder: Folder) -> int:
    """Everything in the bin is gone.  How many bytes that freed."""
    with folder._locked():
        freed = sum(found.st_size for *_, found in _files(folder) if found.st_nlink < 2)
        removed = folder.meta / FOLDER
        if is_folder(removed):
            trash = folder.meta / f".trash-{secrets.token_hex(4)}"
            os.rename(removed, trash)
            fsync_folder(folder.meta)
            shutil.rmtree(trash, ignore_errors=True)
        (folder.meta / INDEX).unlink(missing_ok=True)
        return freed


def beside_by_picture(there: Collection[Kept], shared: bool = False) -> dict[tuple[str, str], list[Kept]]:
    """{(step, stem of a picture): what was removed together with it and belongs to it alone, or also what several share}."""
    pictures, found = _pictures(there), {}
    for kept in there:
        if kept.kind != PICTURE and (pictures[kept.step, kept.beside] == 1 or shared):
            found.setdefault((kept.step, kept.beside), []).append(kept)
    return found


def _pictures(there: Iterable[Kept]) -> Counter[tuple[str, str]]:
    """How many pictures there are of each step and stem."""
    return Counter((k.step, stem_of(k.name)) for k in there if k.kind == PICTURE)


def _files(folder: Folder) -> Iterable[tuple[str, str, Path, os.stat_result]]:
    """(step, name, path, what it is) of each plain file in the bin."""
    removed = folder.meta / FOLDER
    if not is_folder(removed):
        return
    with os.scandir(removed) as steps:
        names = sorted(entry.name for entry in steps if entry.is_dir(follow_symlinks=False))
    for step in names:
        try:
            with os.scandir(removed / step) as found:
                files = list(found)
        except FileNotFoundError:  # everything in it was put back meanwhile
            continue
        for entry in files:
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and os.path.splitext(entry.name)[1].lower() in (*SUFFIXES, *captions.SUFFIXES):
                    yield step, entry.name, Path(entry.path), os.lstat(entry.path)


def sweep(folder: Folder) -> None:
    """Steps of which everything is back are gone."""
    if not is_folder(folder.meta / FOLDER):
        return
    with os.scandir(folder.meta / FOLDER) as steps:
        for entry in list(steps):
            with suppress(OSError):  # it still holds something
                os.rmdir(entry.path)


def _index(folder: Folder) -> dict[str, dict]:
    try:
        data = read_json(folder.meta / INDEX, MAX_INDEX_BYTES)
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in data.items() if _is_row(v)} if isinstance(data, dict) else {}


def _row(found: os.stat_result, sha256: str, beside: str, record: dict | None = None) -> dict:
    """What the index keeps of one file.  beside: the stem of the picture that it is a mask or control picture of."""
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": sha256, "beside": beside, "record": record}


def _is_row(row: object) -> bool:
    """Whether an entry is one that _row() could have made: the folder may be somebody else's."""
    if not isinstance(row, dict) or set(row) != {"size", "mtime_ns", "sha256", "beside", "record"} or not isinstance(row["beside"], str):
        return False
    return isinstance(row["sha256"], str) and re.fullmatch("[0-9a-f]{64}", row["sha256"]) is not None and (row["record"] is None or is_record(row["record"]))


def _stem_by_name(name: str) -> str:
    """The stem of the picture that a file is a mask or control picture of, by the names that Easel gives; "" for a picture."""
    return masked_stem(name) if is_mask(name) else controlled_stem(name)


def _save(folder: Folder, rows: dict[str, dict]) -> None:
    there = {f"{step}/{name}" for step, name, *_ in _files(folder)}
    write_text_whole(folder.meta / INDEX, json.dumps({k: v for k, v in rows.items() if k in there}))


def _time_of(step: str) -> float:
    """When a step began, UTC seconds: edits.new_op() put it there."""
    nanoseconds = re.match(r"([0-9a-f]{1,16})-", step)
    return int(nanoseconds[1], 16) / 1e9 if nanoseconds else 0.0
