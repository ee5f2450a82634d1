"""What a dataset is at one moment: which picture is which bytes, what stands under it, and what else acts on training.  Two of them compared."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import captions, treatment
from .controls import is_control
from .folder import MAX_REPEATS, Folder, is_focus
from .masks import is_mask
from .memory import Memory, Scan, hash_of, memory_of, natural_key
from .memory import scan as scan_folder
from .pictures import SUFFIXES, Refused
from .verdicts import counted

MAPS = ("files", "captions", "focus", "repeats", "treated")
WORDS = ("lines", "prior")


@dataclass(frozen=True)
class State:
    """files: {name: sha256} of pictures, clips, masks and control pictures.  captions: {picture: text}.  focus: {sha256: (x, y)}.

    repeats: {picture: how often it counts}.  treated: {sha256: Treatment.text}.  lines: how captions of several lines are read.  prior: the dataset that is kept as it is beside it.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    focus: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)
    lines: str = ""
    prior: str = ""
    pictures: int = field(default=0, compare=False)  # how many of the files are pictures or clips; known only of a dataset as it is now
    treated: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: equal where nothing differs."""
        return hashlib.sha256(canonical(self.told())).hexdigest()

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: dict(getattr(self, name)) for name in MAPS if name != "treated" or self.treated} | {name: getattr(self, name) for name in WORDS}


@dataclass(frozen=True)
class Difference:
    """What a second state has that a first has not.  captions: {picture: (before, after)} of pictures that are in both."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: tuple[str, ...]  # the same name, other bytes
    captions: Mapping[str, tuple[str, str]]
    crops: int
    repeats: tuple[str, ...]
    words: tuple[str, ...]  # of WORDS
    treated: int = 0  # pictures that are turned, mirrored, trimmed or left out otherwise

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.replaced or self.captions or self.crops or self.treated or self.repeats or self.words)

    def says(self) -> str:
        """In a few words: '2 pictures added, 5 captions changed'; "" for nothing."""
        said = [*_files_said(self.added, "added"), *_files_said(self.removed, "removed"), *_files_said(self.replaced, "replaced")]
        said += [f"{counted(len(self.captions), 'caption')} changed"] if self.captions else []
        said += [f"{counted(self.crops, 'crop')} moved"] if self.crops else []
        said += [f"{counted(self.treated, 'picture')} turned, mirrored, trimmed or left out otherwise"] if self.treated else []
        said += [f"{counted(len(self.repeats), 'picture')} counted otherwise"] if self.repeats else []
        said += [{"lines": "lines of captions read otherwise", "prior": "another dataset kept as it is beside it"}[word] for word in self.words]
        return ", ".join(said)


def _files_said(names: Sequence[str], verb: str) -> list[str]:
    """How many pictures, masks and control pictures, as far as their names tell."""
    masks, controls = sum(map(is_mask, names)), sum(map(is_control, names))
    rows = ((len(names) - masks - controls, "picture"), (masks, "mask"), (controls, "control picture"))
    return [f"{counted(count, noun)} {verb}" for count, noun in rows if count]


def now(folder: Folder) -> State:
    """The dataset as it is.  Files that nobody has checked yet are read, to know their bytes."""
    with folder._locked():
        scan = scan_folder(folder.path)
        memory = memory_of(folder.meta)
        by_table = set(scan.told.values())
        names = {name: name for name in (*scan.files, *scan.beside) if name not in by_table} | scan.told  # a mask by the name that makes it one without the table
        held = {name: real for name, real in names.items() if is_name(name)}  # what another system's name cannot hold is no part of it
        files = {name: digest for name, real in held.items() if (digest := _digest_of(folder, memory, scan, real))}
        texts = {name: text for name in scan.files if name in files and (text := folder._caption_of(scan, name).text)}
        repeats = {name: count for name, count in folder.repeats().items() if name in files}
        focus = {digest: (float(x), float(y)) for digest, (x, y) in folder.focuses().items() if _is_digest(digest)}
        treated = {digest: how.text for digest, how in treatment.read(folder.meta).items() if _is_digest(digest)}
        return State(files, texts, focus, repeats, folder.lines, folder.prior, sum(name in files for name in scan.files), treated)


def known(folder: Folder) -> bool:
    """Whether now() would read no picture: each was looked at as it is."""
    scan, memory = scan_folder(folder.path), memory_of(folder.meta)
    for name in (*scan.files, *scan.beside):
        if (found := scan.stat(name)) and not memory.fresh(name, found) and memory.unchecked.get(name, ("",))[0] != (found.st_size, found.st_mtime_ns, found.st_ino):
            return False
    return True


def _digest_of(folder: Folder, memory: Memory, scan: Scan, name: str) -> str:
    """SHA-256 of a file of the folder; "" for what is no plain file that can be read."""
    found = scan.stat(name)
    if found is None:
        return ""
    if record := memory.fresh(name, found):
        return record["sha256"]
    key = (found.st_size, found.st_mtime_ns, found.st_ino)
    if memory.unchecked.get(name, ("", ""))[0] != key:
        try:
            memory.unchecked[name] = key, hash_of(folder.path / name)
        except (OSError, Refused):
            return ""
    return memory.unchecked[name][1]


def compare(before: State, after: State) -> Difference:
    """What became of the first."""
    kept = sorted((name for name in after.files if name in before.files), key=natural_key)
    both = [name for name in kept if before.files[name] == after.files[name]]
    texts = {n: (old, new) for n in kept if (old := before.captions.get(n, "")) != (new := after.captions.get(n, ""))}
    crops = sum(before.focus.get(d) != after.focus.get(d) for d in {before.files[n] for n in both} if d in before.focus or d in after.focus)
    treated = len({d for d in map(before.files.get, both) if before.treated.get(d) != after.treated.get(d)})  # type: ignore[arg-type]
    repeats = tuple(n for n in kept if before.repeats.get(n, 1) != after.repeats.get(n, 1))
    return Difference(
        tuple(sorted((n for n in after.files if n not in before.files), key=natural_key)), tuple(sorted((n for n in before.files if n not in after.files), key=natural_key)),
        tuple(n for n in kept if before.files[n] != after.files[n]), texts, crops, repeats, tuple(w for w in WORDS if getattr(before, w) != getattr(after, w)), treated,
    )  # fmt: skip


# -- one as a change of another


def delta(before: State, after: State) -> dict[str, Any]:
    """What makes `after` of `before`, as JSON has it."""
    made: dict[str, Any] = {}
    for name in MAPS:
        old, new = getattr(before, name), getattr(after, name)
        put = {k: v for k, v in new.items() if old.get(k) != v}
        gone = [k for k in old if k not in new]
        made |= ({name: put} if put else {}) | ({f"-{name}": gone} if gone else {})
    return made | {name: getattr(after, name) for name in WORDS if getattr(before, name) != getattr(after, name)}


def applied(before: State, change: Mapping[str, Any]) -> State:
    """The state that a change makes of another.  Raises ValueError for what delta() could not have made: the file may be somebody else's."""
    made: dict[str, Any] = {name: getattr(before, name) for name in WORDS}
    for name in MAPS:
        put, gone = change.get(name, {}), change.get(f"-{name}", [])
        if not isinstance(put, dict) or not isinstance(gone, list):
            raise ValueError(f"its {name} are not what Easel writes")
        left = dict(getattr(before, name))
        for key in gone:
            left.pop(str(key), None)
        made[name] = left | {k: _checked(name, k, v) for k, v in put.items()}
    for name in WORDS:
        word = change.get(name, made[name])
        if not isinstance(word, str) or len(word) > 1000 or (name == "lines" and word not in captions.LINES):
            raise ValueError(f"its {name} are not what Easel writes")
        made[name] = word
    return State(**made)


def joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two changes, one after the other, as one."""
    made: dict[str, Any] = {}
    for name in MAPS:
        gone = dict.fromkeys([*first.get(f"-{name}", []), *second.get(f"-{name}", [])])
        put = {k: v for k, v in first.get(name, {}).items() if k not in set(second.get(f"-{name}", []))} | second.get(name, {})
        gone = [k for k in gone if k not in put]
        made |= ({name: put} if put else {}) | ({f"-{name}": gone} if gone else {})
    return made | {name: change[name] for change in (first, second) for name in WORDS if name in change}


def is_name(text: object) -> bool:
    """Whether this can be the name of a file of a dataset: nothing that leads anywhere else."""
    plain = isinstance(text, str) and 0 < len(text) < 256 and text == os.path.basename(text) and not set(text) & set("/\\\0") and not text.startswith(".")
    return plain and os.path.splitext(text)[1].lower() in SUFFIXES  # type: ignore[call-overload]


def _is_digest(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def canonical(told: Any) -> bytes:
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode("ascii")


def _checked(name: str, key: str, value: Any) -> Any:
    """A row of one of MAPS.  Raises ValueError for one that now() could not have made."""
    if name == "focus":
        good = re.fullmatch("[0-9a-f]{64}", key) and is_focus(value)
    elif name == "treated":
        good = re.fullmatch("[0-9a-f]{64}", key) and treatment.of_text(value) is not None and value
    elif not is_name(key):
        good = False
    elif name == "files":
        good = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
    elif name == "captions":
        good = isinstance(value, str) and 0 < len(value) <= captions.MAX_BYTES
    else:
        good = type(value) is int and 1 < value <= MAX_REPEATS
    if not good:
        raise ValueError(f"its {name} are not what Easel writes")
    if name == "focus":
        return float(value[0]), float(value[1])
    return captions.clean_lines(value) if name == "captions" else value
