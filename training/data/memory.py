"""What this process remembers of a dataset's folder between two calls.  All of it can be read anew from the folder."""

from __future__ import annotations

import hashlib
import math
import os
import re
import secrets
import stat
import threading
import time
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from ..files import rights
from ..outside import read_json
from . import captions, encodings
from .controls import called, is_control
from .cuts import MOST as MOST_CUTS
from .edits import Edits
from .gate import Report
from .masks import SUFFIX as MASK
from .masks import is_mask, masked_stem
from .pictures import SUFFIXES, Refused, open_regular
from .roles import ANOTHER, Pairing, beside, in_order, is_pair_folder, is_result_folder, roles
from .tabled import SUFFIXES as TABLES
from .tabled import Tabled
from .tabled import masks as masks_told

FILES_ASKED = 300


@dataclass(frozen=True)
class Scan:
    """One look at the folder.  Sizes and times are asked for only where they are needed: a page shows 48 of thousands."""

    files: dict[str, os.DirEntry]
    texts: dict[str, list[str]]  # stem -> caption files, the one that counts first
    text_entries: dict[str, os.DirEntry | os.stat_result]
    names: list[str]
    masks: dict[str, str]  # stem -> the mask's file
    controls: dict[str, tuple[str, ...]]  # stem -> its control pictures' files, in their order
    beside: dict[str, os.DirEntry | _Below]  # both of these by their names
    kept_out: dict[str, str]  # files that are no pictures to learn from, and why
    tables: dict[str, os.DirEntry]  # files that may speak of the pictures' captions, by name
    told: dict[str, str] = field(default_factory=dict)  # masks and control pictures that are none by their names, but by a table or their folder: how one would be called -> its file

    def lying(self, stem: str) -> list[str]:
        """The mask and the control pictures of a picture."""
        return [*filter(None, [self.masks.get(stem)]), *self.controls.get(stem, ())]

    def owners(self) -> dict[str, str]:
        """{mask or control picture: the stem of its picture}."""
        return {name: stem for stem, name in self.masks.items()} | {name: stem for stem, names in self.controls.items() for name in names}

    def stat(self, name: str) -> os.stat_result | None:
        """Of a picture, a mask or a control picture; None if it is gone."""
        entry = self.files.get(name) or self.beside.get(name)
        return _lstat(entry) if entry else None

    def text_stat(self, name: str) -> os.stat_result | None:
        """Of a caption file; None if it is gone."""
        return _lstat(self.text_entries[name]) if name in self.text_entries else None


def lstat_of(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _lstat(entry: os.DirEntry | _Below | os.stat_result) -> os.stat_result | None:
    try:
        return entry if isinstance(entry, os.stat_result) else entry.stat(follow_symlinks=False)
    except OSError:
        return None


class Memory:
    """Of one dataset: what is known of its pictures, the captions as read, the journal, and who is at work."""

    def __init__(self, meta: Path):
        self.lock = threading.RLock()
        self.checking = threading.RLock()  # one check at a time, while listing goes on
        self.depth = 0
        self.records: dict[str, dict] = {}
        self.index_key: tuple | None = None
        self.texts: dict[str, tuple] = {}
        self.built: dict[str, tuple] = {}  # picture -> (what it was made of, the Picture): most are as they were at the last look
        self.unchecked: dict[str, tuple] = {}  # file that nobody has checked -> (what it was then, its sha256)
        self.version: tuple | None = None  # (number, State) of the newest version that was written or read
        self.stepping: set[int] = set()  # the threads that are in the middle of a step, which becomes one version
        self.encoding: str | None = None  # what captions that do not say theirs are in together; None until one was met
        self.tabled = Tabled()
        self.edits = Edits(meta / "edits.jsonl")
        self._file_lock: Any = None

    def fresh(self, name: str, found: os.stat_result | None) -> dict | None:
        """The record of a picture, unless the file has changed since."""
        record = self.records.get(name)
        return record if record and found and (record["size"], record["mtime_ns"]) == (found.st_size, found.st_mtime_ns) else None

    def load_index(self, path: Path) -> None:
        """Take over what index.json says if it has changed; what this process found out itself wins."""
        key = file_key(path)
        if key is None or key == self.index_key:
            return
        try:
            data = read_json(path, MAX_INDEX_BYTES)
            self.records = {n: r for n, r in data["pictures"].items() if is_record(r)} | self.records
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # it is only a memory: everything is looked at again
        self.index_key = key

    def acquire(self, path: Path) -> None:
        from filelock import FileLock, Timeout

        self._file_lock = FileLock(path, thread_local=False)
        try:
            self._file_lock.acquire(timeout=60)
        except Timeout:
            raise ValueError("another program has been changing this dataset for a minute; try again") from None

    def release(self) -> None:
        self._file_lock.release()


_memories: dict[Path, Memory] = {}
_memories_lock = threading.Lock()


def memory_of(meta: Path, reread: bool = True) -> Memory:
    """What is remembered of a dataset; with what other processes have found out since, unless reread is off."""
    with _memories_lock:
        if meta not in _memories:
            _memories[meta] = Memory(meta)
        memory = _memories[meta]
    if reread:
        with memory.lock:
            memory.load_index(meta / "index.json")
    return memory


def forget(meta: Path) -> None:
    """Nothing is remembered any more."""
    with _memories_lock:
        _memories.pop(meta, None)


MAX_INDEX_BYTES = 256 << 20
RECORD_KEYS = {"size", "mtime_ns", "sha256", "ok", "note", "width", "height", "format", "alpha", "seconds"}


def is_record(record: object) -> bool:
    """Whether an entry of index.json is one that record_of() could have made: the folder may be somebody else's."""
    if not isinstance(record, dict) or set(record) - {"cuts"} != RECORD_KEYS:
        return False
    whole = all(type(record[key]) is int and -1 <= record[key] < 2**63 for key in ("size", "mtime_ns", "width", "height"))
    texts = all(isinstance(record[key], str) and len(record[key]) < 10_000 for key in ("sha256", "note", "format"))
    if not whole or not texts or type(record["ok"]) is not bool or type(record["alpha"]) is not bool or not isinstance(record["seconds"], (int, float)):
        return False
    known = re.fullmatch("[0-9a-f]{64}", record["sha256"]) is not None
    shown = known and 0 < record["width"] < 10**6 and 0 < record["height"] < 10**6
    if not _are_cuts(record.get("cuts"), record["seconds"]):
        return False
    return math.isfinite(record["seconds"]) and record["seconds"] >= 0 and (shown if record["ok"] else known or not record["sha256"])


def _are_cuts(cuts: object, seconds: float) -> bool:
    """Whether these can be where a clip of so many seconds cuts to another scene; a clip that nobody has looked for them in is looked at again."""
    if cuts is None or not seconds:
        return cuts is None and not seconds
    return isinstance(cuts, list) and len(cuts) <= MOST_CUTS and all(type(at) is float and 0 < at <= seconds for at in cuts) and sorted(cuts) == cuts


def record_of(found: os.stat_result | None, digest: str, report: Report) -> dict:
    """What the index keeps of one picture."""
    return {
        "size": found.st_size if found else -1, "mtime_ns": found.st_mtime_ns if found else -1, "sha256": digest, "ok": report.ok,
        "note": report.note if report.ok else report.reason, "width": report.width, "height": report.height, "format": report.format,
        "alpha": report.alpha, "seconds": report.seconds, **({"cuts": list(report.cuts)} if report.seconds else {}),
    }  # fmt: skip


def scan(folder: Path) -> Scan:
    """A look at a folder: its pictures, what lies beside them, and captions, without what is hidden or has a name that is no text.

    Raises ValueError if it is gone.
    """
    try:
        with os.scandir(folder) as found:
            entries = {entry.name: entry for entry in found}
    except FileNotFoundError:
        raise ValueError(f"the folder {folder} is gone") from None
    key = tuple(entries), frozenset(name for name, entry in entries.items() if entry.is_dir(follow_symlinks=False))
    before = _looks.pop(folder, None)  # of ten thousand files, sorting the names out is most of the time; times and sizes are always those of now
    known = before[1] if before and before[0] == key else _sorted_out(entries)
    _looks[folder] = key, known
    for other in list(_looks)[:-MAX_LOOKS]:
        _looks.pop(other, None)
    files, text_entries, aside, tables = ({name: entries[name] for name in part} for part in (known.files, known.text_entries, known.beside, known.tables))
    made = replace(known, files=files, texts=dict(known.texts), text_entries=text_entries, beside=aside, tables=tables)  # type: ignore[arg-type]
    own = ".easel" in entries  # of a dataset of ours, tables were read when it was filled
    made = _with_told(made, folder, told) if tables and not own and (told := masks_told(folder, known.names, tables)) else made
    return _with_folders(made, folder, pairs_lie_in(folder, key[1])) if made.names else made


@dataclass(frozen=True)
class _Below:
    """A file in a folder below, asked for its size and times as an entry of the folder is."""

    path: Path

    def stat(self, follow_symlinks: bool = False) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)


def _with_told(found: Scan, folder: Path, told: Mapping[str, str]) -> Scan:
    """The same look, with the masks that tables name: they are no pictures, and belong to one that has none by name."""
    files, aside, masks, kept_out, called = dict(found.files), dict(found.beside), dict(found.masks), dict(found.kept_out), {}
    for picture, mask in told.items():
        stem = stem_of(picture)
        if masks.get(stem, mask) != mask:
            if mask in files:
                kept_out[mask] = f"is a mask of {picture} by a table, but {masks[stem]} is one by its name; one is used"
            continue
        masks[stem] = mask
        called[f"{Path(picture).stem}{MASK}"] = mask
        picked = files.pop(mask, None)
        aside[mask] = picked or aside.get(mask) or _Below(folder / mask)
    return replace(found, files=files, names=[n for n in found.names if n in files], beside=aside, masks=masks, kept_out=kept_out, told=called)


def _with_folders(found: Scan, folder: Path, around: Mapping[str, list[str]]) -> Scan:
    """The same look, with what lies in folders of pairs: under a picture's name there, one that the picture is made from.  around: as pairs_lie_in()."""
    if not around:
        return found
    stems = {stem_of(n).casefold(): stem_of(n) for n in found.names}
    rows: dict[str, list[tuple[tuple[bool, tuple[int, int]], tuple, str]]] = {}
    for place, names in around.items():
        part, home = place.rpartition("/")[2], folder.name if place.startswith("../") else ""
        made = roles([*((home, n) for n in found.names), *((part, n) for n in names)])[len(found.names) :]
        for name, role in zip(names, made, strict=True):
            if role.kind == "control" and role.owner[1] and (stem := stems.get(role.owner[1].casefold())) is not None:
                rows.setdefault(stem, []).append((in_order(role), natural_key(place), f"{place}/{name}"))
    controls, aside, called_so = dict(found.controls), dict(found.beside), dict(found.told)
    for stem, lying in rows.items():
        if stem in controls:
            continue  # those beside the picture go before, and are all of them
        drawn = min(key for key, _, _ in lying)[0]
        used = [name for key, _, name in sorted(lying) if key[0] == drawn]
        controls[stem] = tuple(used[:1] if drawn else used)
        for number, name in enumerate(controls[stem], 1):
            aside[name] = _Below(folder / name)
            called_so[called(stem, number)] = name
    return replace(found, controls=controls, beside=aside, told=called_so)


def pairs_lie_in(folder: Path, inner: Collection[str]) -> dict[str, list[str]]:
    """{a folder as seen from this one: pictures in it} of those by whose names it holds what this folder's pictures are made from: below it, or beside it where it holds results.

    inner: the folders in it.
    """
    places = {name: name for name in inner if _is_text(name) and is_pair_folder(name, ())}
    if not places and is_result_folder(folder.name) and ".easel" not in inner:
        with suppress(OSError), os.scandir(folder.parent) as found:  # a folder whose parent cannot be read has none
            names = [e.name for e in found if e.is_dir(follow_symlinks=False) and _is_text(e.name)]
            places = {f"../{n}": n for n in names if n != folder.name and is_pair_folder(n, [folder.name]) and not (folder.parent / n / ".easel").exists()}
    held = {}
    for place in places:
        with suppress(OSError), os.scandir(folder / place) as found:
            held[place] = [e.name for e in found if e.name[0] != "." and _is_text(e.name) and os.path.splitext(e.name)[1].lower() in SUFFIXES and e.is_file(follow_symlinks=False)]
    return {place: names for place, names in held.items() if names}


MAX_LOOKS = 16  # folders whose names are remembered sorted out
_looks: dict[Path, tuple[tuple, Scan]] = {}


def _sorted_out(entries: dict[str, os.DirEntry]) -> Scan:
    """Which of a folder's files is what."""
    files, texts, text_entries, masks, aside, tables = {}, {}, {}, {}, {}, {}
    for name, entry in entries.items():
        stem, dot, suffix = name.rpartition(".")
        suffix = (dot + suffix).lower()
        if suffix in TABLES and name[0] != "." and _is_text(name):
            tables[name] = entry
        if name[0] == "." or not (suffix in SUFFIXES or suffix in captions.SUFFIXES) or not _is_text(name):
            continue
        if suffix in captions.SUFFIXES:
            texts.setdefault(unicodedata.normalize("NFC", stem), []).append(name)
            text_entries[name] = entry
        elif is_mask(name):
            masks[masked_stem(name)] = name
            aside[name] = entry
        elif not entry.is_dir(follow_symlinks=False):
            files[name] = entry
    kept_out: dict[str, str] = {}
    controls: dict[str, tuple[str, ...]] = {}
    found = beside(files, texts)
    first: dict[str, str] = {}  # stem -> what its control pictures are drawn as
    for name, role in sorted(found.items(), key=lambda row: (not is_control(row[0]), in_order(row[1]), natural_key(row[0]))):
        owner = role.owner[1]
        if role.kind == "mask":
            masks.setdefault(owner, name)
            aside[name] = files.pop(name)
        elif owner not in controls or (not role.drawn and not first[owner]):
            first.setdefault(owner, role.drawn)
            controls[owner] = (*controls.get(owner, ()), name)
            aside[name] = files.pop(name)
        else:
            kept_out[name] = ANOTHER.format(owner=owner, used=controls[owner][0])
    texts = _beside_their_pictures(texts, [n for n in files if n not in kept_out])
    return Scan(files, texts, text_entries, sorted(files, key=natural_key), masks, controls, aside, kept_out, tables)  # type: ignore[arg-type]


def _beside_their_pictures(texts: dict[str, list[str]], names: list[str]) -> dict[str, list[str]]:
    """{stem of a picture: its caption files, the one that counts first}; a file of exactly that stem before one that is only near it."""
    stems = {stem_of(n) for n in names}
    pairing = None
    placed: dict[str, list[str]] = {stem: found for stem, found in texts.items() if stem in stems}
    for stem, found in texts.items():
        if stem not in stems:
            pairing = pairing or Pairing((n, n) for n in names)
            owners = {stem_of(n) for n in pairing.of(stem)}
            placed.setdefault(owners.pop() if len(owners) == 1 else stem, []).extend(found)
    for stem, found in placed.items():
        if len(found) > 1:
            found.sort(key=lambda n: (captions.SUFFIXES.index(Path(n).suffix.lower()), stem_of(n) != stem, n))
    return placed


def read_caption(path: Path, encoding: str = "") -> captions.Decoded:
    """A caption; a file that cannot be read as one gives '' and says why.  encoding: as in decode_caption."""
    try:
        return captions.decode_caption(captions.read_file(path), encoding)
    except Refused as error:
        return captions.Decoded("", f"{path.name} {error}")
    except ValueError as error:
        return captions.Decoded("", str(error))
    except OSError as error:
        return captions.Decoded("", f"{path.name} cannot be read: {error.strerror}")


def encoding_together(paths: Iterable[Path]) -> str:
    """What the captions of one folder that do not say their encoding are in, most likely; a few hundred tell."""
    unsaid = []
    for path in islice(paths, FILES_ASKED):
        with suppress(ValueError, OSError):
            data = captions.read_file(path)
            if not captions.says_encoding(data):
                unsaid.append(data)
    return encodings.guess(unsaid) if unsaid else ""


def hash_of(path: Path) -> str:
    """SHA-256 of a regular file.  Raises Refused for anything else."""
    digest = hashlib.sha256()
    with os.fdopen(open_regular(path), "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_text_whole(path: Path | str, text: str) -> None:
    """Write a UTF-8 file by temporary file and rename; an existing file keeps its mode.  Readers see the old or the new one.

    Ten thousand captions are written so at once: everything here is as plain as it can be.
    """
    folder, name = os.path.split(path)
    temp = os.path.join(folder, f".{name[:40]}.tmp-{secrets.token_hex(4)}")
    try:
        with open(temp, "xb", buffering=0) as file:
            data = memoryview(text.encode("utf-8"))
            while data:
                data = data[file.write(data) :]
            made = os.fstat(file.fileno()).st_mode
        try:
            if (mode := os.stat(path).st_mode) != made:
                rights(Path(temp), stat.S_IMODE(mode))
        except FileNotFoundError:
            pass  # a new file: the umask has its say
        for patience in range(20):
            try:
                os.replace(temp, path)
                return
            except PermissionError:  # Windows, while somebody reads it
                if os.name != "nt" or patience == 19:
                    raise
                time.sleep(0.05)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temp)
        raise


@lru_cache(maxsize=100_000)
def natural_key(text: str) -> tuple:
    """Sorts 'cat 2' before 'cat 10'."""
    return tuple((0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in re.split(r"([0-9]{1,18})", text.casefold())), text


@lru_cache(maxsize=100_000)
def stem_of(name: str) -> str:
    return unicodedata.normalize("NFC", name.rpartition(".")[0])


def _is_text(name: str) -> bool:
    """Whether a file name can be shown at all: on Linux it may be any bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def file_key(path: Path) -> tuple | None:
    found = lstat_of(path)
    if found is None:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
