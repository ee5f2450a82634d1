"""A dataset: a folder of pictures and video clips with a UTF-8 .txt beside each, a mask and a control picture where there are some, and a
hidden .easel folder with all that we know of it.

Originals are never altered.  Pictures that somebody drops into the folder by hand are noticed and checked when they are listed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..home import Home
from ..names import folder_name
from ..outside import is_plain
from . import absorbing, captions, restoring, tags, treatment, undoing, versions
from .clips import load_still as load_pixels
from .edits import new_op
from .folder import MIDDLE, Folder, about, is_focus, looks, write_about
from .gate import Gate, Report, gated
from .listing import Picture, built, matches
from .memory import Scan, file_key, forget, hash_of, lstat_of, memory_of, natural_key, record_of, stem_of, write_text_whole
from .memory import scan as scan_folder
from .pictures import Refused, check_regular
from .timed import is_timed
from .treatment import PLAIN
from .verdicts import LEFT_OUT, Verdict, counted, summary

__all__ = [
    "LEFT_OUT", "Dataset", "Picture", "Verdict", "counted", "create", "delete", "list_datasets", "load_pixels", "open_dataset", "rename", "resolve", "summary",
]  # fmt: skip

HIDDEN = ".easel"
BY_HAND = ("typed", "replaced", "prefix", "suffix", "tags")  # sources of captions that somebody edited in the grid
Progress = Callable[[int, int, str], None]  # done, of, the file in hand


@dataclass(frozen=True)
class Counts:
    """How many pictures of each sort.  captioned counts usable ones only."""

    total: int
    usable: int
    refused: int
    duplicate: int
    unchecked: int
    captioned: int
    out: int = 0  # left out by their owner


@dataclass(frozen=True)
class Dataset(Folder):
    """A folder of pictures, and what can be done with them."""

    # -- listing

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """While inside, what this thread asks of the pictures as they are is answered by one look at the folder; a change here ends it."""
        held: dict[Any, Any] = looks.__dict__
        before = held.get(self.meta)
        held[self.meta] = [] if before is None else before
        try:
            yield
        finally:
            if before is None:
                held.pop(self.meta, None)

    def pictures(self, check: bool = True, on_progress: Progress | None = None) -> list[Picture]:
        """All pictures in natural order; those that nobody has looked at are checked first.  Engines use the `usable` ones."""
        seen = looks.__dict__.get(self.meta)  # type: ignore[call-overload]
        if check or seen is None:
            return self._looked(check, on_progress)
        if not seen:
            seen += self._looked(False)
        return list(seen)

    def _looked(self, check: bool, on_progress: Progress | None = None) -> list[Picture]:
        self._finish()
        scan = scan_folder(self.path)
        if check and self._check(scan, None, on_progress):
            scan = scan_folder(self.path)
        with memory_of(self.meta).lock:
            return built(self, scan, scan.names)

    def page(self, offset: int, count: int, query: str = "", only: str = "", among: Collection[str] | None = None) -> tuple[list[Picture], int]:
        """(count pictures from offset, how many match).  query: words in name or caption.  only: '', a verdict, or 'no caption'.  among: ids, None for all."""
        self._finish()
        with memory_of(self.meta).lock:
            scan = scan_folder(self.path)
            names = scan.names if among is None else [n for n in scan.names if n in among]
            if query.strip() or only:
                wanted = captions.clean_caption(query).casefold().split()
                names = [p.id for p in built(self, scan, names) if matches(p, wanted, only)]
        shown = names[max(0, offset) : max(0, offset) + max(0, count)]
        if self._check(scan, shown):
            scan = scan_folder(self.path)
        with memory_of(self.meta).lock:
            return built(self, scan, [n for n in shown if n in scan.files]), len(names)

    def matching(self, query: str = "", only: str = "") -> list[str]:
        """The ids of all pictures that page() pages through for this search."""
        with memory_of(self.meta).lock:
            scan = scan_folder(self.path)
            wanted = captions.clean_caption(query).casefold().split()
            return [p.id for p in built(self, scan, scan.names) if matches(p, wanted, only)]

    def get(self, id: str) -> Picture:
        """One picture.  Raises ValueError for an id that is not in this dataset."""
        self._path_of(id)
        self.check([id])
        with memory_of(self.meta).lock:
            scan = scan_folder(self.path)
            if id not in scan.files:
                raise ValueError(f"there is no picture called {id!r} in {self.title!r} any more")
            return built(self, scan, [id])[0]

    def counts(self) -> Counts:
        """How many pictures there are of each sort, without checking new ones."""
        pictures = self.pictures(check=False)
        by = {v: sum(p.verdict == v for p in pictures) for v in ("ok", "refused", "duplicate", "unchecked", "out")}
        return Counts(len(pictures), by["ok"], by["refused"], by["duplicate"], by["unchecked"], sum(p.usable and bool(p.caption) for p in pictures), by["out"])

    def readiness(self, counts: Counts | None = None) -> list[str]:
        """What is missing before training, a sentence each; [] when nothing is.  counts: those of a moment ago, None to count now."""
        counts = counts or self.counts()
        said = []
        if not counts.total:
            said.append("there are no pictures yet")
        elif not counts.usable and not counts.unchecked and counts.out:
            said.append("all pictures that can be used are left out; take some back")
        elif not counts.usable and not counts.unchecked:
            said.append("none of the pictures can be used; see the reason under each")
        bare = counts.usable - counts.captioned
        if bare:
            said.append("1 picture has no caption" if bare == 1 else f"{bare} pictures have no caption")
        if counts.unchecked:
            said.append("1 picture is not checked yet" if counts.unchecked == 1 else f"{counts.unchecked} pictures are not checked yet")
        return said

    def fingerprint(self, masks: bool = False, controls: bool = False, among: Collection[str] | None = None) -> str:
        """SHA-256 over the usable pictures' bytes and captions, and of what lies beside them if asked for, whatever the files are called.  among: ids, None for all."""

        def row(p: Picture) -> tuple[str, ...]:
            beside = ([p.mask.sha256] if masks and p.mask else []) + ([word for c in p.references for word in ("control", c.sha256)] if controls else [])
            told = ([f"x{p.repeats}"] if p.repeats > 1 else []) + ([f"focus {p.focus[0]} {p.focus[1]}"] if p.focus != MIDDLE else [])
            told += [f"turned {p.treatment.view}"] if p.treatment.view else []
            told += [f"trimmed {p.treatment.trim}"] if p.seconds and p.treatment.trim else []
            return p.sha256, p.caption if is_timed(p.caption) else "\n".join(p.captions), *beside, *told

        rows = sorted(row(p) for p in self.pictures() if p.usable and (among is None or p.id in among))
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def check(self, ids: Sequence[str] | None = None, on_progress: Progress | None = None) -> int:
        """Put pictures that are new, changed or without a thumbnail through the gate.  How many that were."""
        return self._check(scan_folder(self.path), ids, on_progress)

    def _check(self, scan: Scan, ids: Sequence[str] | None, on_progress: Progress | None = None) -> int:
        memory = memory_of(self.meta)
        with memory.checking:
            with memory.lock:
                wanted = scan.names if ids is None else [i for i in ids if i in scan.files]
                wanted = list(dict.fromkeys([*wanted, *(lying for n in wanted for lying in scan.lying(stem_of(n)))]))
                pending = [n for n in wanted if (r := memory.fresh(n, scan.stat(n))) is None or not self._has_thumb(r)]
            if not pending:
                return 0
            (self.meta / "thumbs").mkdir(parents=True, exist_ok=True)
            for done, (name, record) in enumerate(gated(pending, self._looked_at), 1):
                with memory.lock:
                    memory.records[name] = record
                if on_progress:
                    on_progress(done, len(pending), name)
            self._save_index()
        return len(pending)

    def thumbnail(self, id: str) -> Path:
        """The picture's thumbnail, WebP of at most 256 px, made by the gate.  Raises ValueError with the reason if there is none."""
        path = self._path_of(id)
        memory = memory_of(self.meta)
        record = memory.fresh(id, lstat_of(path))
        if record and record["ok"] and self._has_thumb(record):
            return self._thumb(record["sha256"])
        self.check([id])
        record = memory.records.get(id)
        if record is None:
            raise ValueError(f"there is no picture called {id!r} in {self.title!r}")
        if not record["ok"]:
            raise ValueError(f"{id}: {record['note']}")
        return self._thumb(record["sha256"])

    def thumbnail_of(self, sha256: str) -> Path:
        """The thumbnail of a picture that the dataset holds or held.  Raises ValueError if there is none."""
        if not re.fullmatch("[0-9a-f]{64}", sha256) or not is_plain(self._thumb(sha256)):
            raise ValueError(f"there is no thumbnail of {sha256!r}")
        return self._thumb(sha256)

    # -- captions

    def caption(self, id: str) -> str:
        """The caption of a picture; '' is none."""
        self._path_of(id)
        with memory_of(self.meta).lock:
            return self._caption_of(scan_folder(self.path), id).text

    def caption_bytes(self, id: str) -> bytes:
        """What the caption's file holds, whatever its encoding; b"" where there is none."""
        self._path_of(id)
        names = scan_folder(self.path).texts.get(stem_of(id), [])
        return captions.read_file(self.path / names[0]) if names else b""

    def set_focus(self, id: str, x: float, y: float) -> None:
        """Cut the crop of a picture around this point, shares from the left and from the top; undo brings the old one back.

        It is kept by what the picture is, beside it: the file stays as it is.
        """
        after = [round(x, 4), round(y, 4)]
        if not is_focus(after):
            raise ValueError(f"the crop cannot be cut around {x:g}, {y:g}; both are shares of the picture, 0 to 1")
        picture = self.get(id)
        digest, after = picture.sha256, [round(share, 4) for share in picture.treatment.back((after[0], after[1]))]
        if not digest:
            raise ValueError(f"{id} cannot be read, so it has no crop")
        with self._locked():
            versions.typing(self)
            before = list(self.focuses().get(digest, MIDDLE))
            if before != after:
                self._edits().focus(new_op(), {digest: (before, after)})
                self._write_focus({digest: after})

    def treat(self, ids: Sequence[str], act: str) -> int:
        """Turn, mirror, leave out or take back these pictures: an act of treatment.ACTS.  Undo brings them back.  How many changed."""
        if act not in treatment.ACTS:
            raise ValueError(f"pictures cannot be treated as {act!r}; they can be: {', '.join(treatment.ACTS)}")
        pictures = [p for p in map(self.get, ids) if p.sha256 and not (p.seconds and act in treatment.NO_CLIPS)]
        if not pictures:
            raise ValueError("clips cannot be turned or mirrored here; do it in a video editor" if act in treatment.NO_CLIPS else "none of these pictures can be used")
        with self._locked():
            versions.typing(self)
            known = treatment.read(self.meta)
            made = {p.sha256: (before, after) for p in pictures if (before := known.get(p.sha256, PLAIN)) != (after := treatment.ACTS[act](before))}
            if made:
                self._edits().treated(new_op(), {k: (before.text, after.text) for k, (before, after) in made.items()})
                treatment.write(self.meta, {k: after for k, (_, after) in made.items()})
        return len(made)

    def trim(self, id: str, start_s: float, end_s: float) -> None:
        """Learn a clip from start_s to end_s only; from 0 to its length is all of it.  Undo brings the old trim back.  Raises ValueError for a piece that is none."""
        clip = self.get(id)
        if not clip.seconds:
            raise ValueError(f"{id} is not a clip that can be trimmed")
        with self._locked():
            versions.typing(self)
            before = treatment.read(self.meta).get(clip.sha256, PLAIN)
            after = before.trimmed(start_s, end_s, clip.seconds)
            if after != before:
                self._edits().treated(new_op(), {clip.sha256: (before.text, after.text)})
                treatment.write(self.meta, {clip.sha256: after})

    def take_out(self, traits: Sequence[str]) -> int:
        """Take the tags that say these traits out of all captions, as one step for undo; sentences stay.  How many captions changed."""
        return self.edit_tags(lambda caption: absorbing.without(caption, traits), "tags")

    def set_caption(self, id: str, text: str, source: str = "typed") -> str:
        """Save one caption beside its picture; an empty one takes the file away.  The caption as saved."""
        self.set_captions({id: text}, source)
        return self.caption(id)

    def set_captions(self, changes: Mapping[str, str], source: str, op: str = "") -> int:
        """Save captions as one step for undo (`op` joins several calls into one).  How many changed.

        Many at once are a version; what is typed, and what several calls write, is gathered.
        """
        with self._locked():
            if len(changes) > 1 and source != "typed" and not op:
                with versions.step(self) as step:
                    count = self._save_captions(changes, source, op)
                    step.did = versions.captions_said(count, source)
                return count
            if source == "typed":
                versions.typing(self)
            return self._save_captions(changes, source, op)

    def _save_captions(self, changes: Mapping[str, str], source: str, op: str) -> int:
        with self._locked():
            scan = scan_folder(self.path)
            for id in changes:
                if id not in scan.files:
                    self._path_of(id)
            real = {}
            for id, text in changes.items():
                before, after = self._caption_of(scan, id).text, captions.clean_lines(text)
                if before != after:
                    real[id] = (before, after)
            if real:
                self._edits().captions(op or new_op(), source, real)  # first the way back, then the change
                for id, (_, after) in real.items():
                    self._write_caption(scan, id, after)
            return len(real)

    def rewrite(self, change: Callable[[str], str], source: str, ids: Collection[str] | None = None) -> int:
        """Make a change in the whole text of the captions of these pictures (None: of all) that have one.  How many changed."""
        return self._each_caption(change, source, ids)

    def edit_tags(self, change: Callable[[str], str], source: str, ids: Collection[str] | None = None) -> int:
        """Make a change of tags.py in each caption of these pictures (None: of all), each line where lines are captions.  How many changed."""
        lines = self.lines
        return self._each_caption(lambda text: tags.each_caption(text, lines, change), source, ids)

    def find_replace(self, find: str, replace: str, ids: Collection[str] | None = None) -> int:
        """Replace a text, letter by letter, in the captions of these pictures; None: of all.  How many changed."""
        find, replace = (unicodedata.normalize("NFC", t) for t in (find, replace))
        if not find:
            raise ValueError("type the text to look for")
        return self._each_caption(lambda text: text.replace(find, replace), "replaced", ids)

    def prefix(self, text: str, ids: Collection[str] | None = None) -> int:
        """Put a text in front of the captions of these pictures (None: of all) that do not start with it.  How many changed."""
        if not captions.clean_caption(text):
            raise ValueError("type the text to put in front")
        return self._each_caption(tags.each_scene(lambda old: old if old.startswith(text.strip()) else text + old), "prefix", ids)

    def suffix(self, text: str, ids: Collection[str] | None = None) -> int:
        """Put a text behind the captions of these pictures (None: of all) that do not end with it.  How many changed."""
        if not captions.clean_caption(text):
            raise ValueError("type the text to put behind")
        return self._each_caption(tags.each_scene(lambda old: old if old.endswith(text.strip()) else old + text), "suffix", ids)

    # -- undoing and removing

    def undo(self) -> str:
        """Take back the newest step: an edit, a bulk edit, a captioner's run, a removal.  A sentence on it; '' if there is none."""
        return undoing.undo(self)

    def can_undo(self) -> str:
        """What undo would take back, as a short text; '' if there is nothing."""
        return undoing.can_undo(self)

    def remove(self, ids: Sequence[str]) -> int:
        """Put pictures with their captions, masks and control pictures aside; undo brings them back.  How many."""
        return undoing.remove(self, ids)

    def remove_references(self, ids: Sequence[str]) -> int:
        """Put aside what these pictures are made from; undo brings it back.  How many files."""
        return undoing.remove_references(self, ids)

    # -- inside

    def _finish(self) -> None:
        """Carry through a restoration that was cut off.  Where that cannot be (a full disk), what is there can be looked at all the same; the next change tries again and tells."""
        with suppress(OSError):
            restoring.finish(self)

    def _each_caption(self, change: Callable[[str], str], source: str, ids: Collection[str] | None) -> int:
        with self._locked():
            restoring.finish(self)
            scan = scan_folder(self.path)
            now = {n: self._caption_of(scan, n).text for n in scan.names if ids is None or n in ids}
            made = {n: after for n, text in now.items() if text and (after := change(text)) != text}
            with versions.step(self, versions.captions_said(len(made), source)) if made else nullcontext():
                return self.set_captions(made, source)

    def _looked_at(self, gate: Gate, name: str) -> tuple[str, dict]:
        """(name, record) of a picture that lies in the folder."""
        path = self.path / name
        try:
            found = os.lstat(path)
        except OSError as error:
            return name, record_of(None, "", Report(False, f"cannot be read: {error.strerror}"))
        try:
            check_regular(found)
            digest = hash_of(path)
            report = gate.check(path, self._thumb(digest))
        except Refused as error:
            digest, report = "", Report(False, str(error))
        except OSError as error:
            digest, report = "", Report(False, f"cannot be read: {error.strerror or error}")
        return name, record_of(found, digest, report)

    def _save_index(self) -> None:
        """Write what is known of the pictures, together with what another process has found out meanwhile."""
        memory = memory_of(self.meta)
        with self._locked():
            scan = scan_folder(self.path)
            present = scan.files | scan.beside
            memory.load_index(self.meta / "index.json")
            known = {n: r for n, r in memory.records.items() if n in present}
            write_text_whole(self.meta / "index.json", json.dumps({"version": 1, "pictures": known}))
            memory.records = known
            memory.index_key = file_key(self.meta / "index.json")


# -- the datasets of a home


def list_datasets(home: Home) -> list[Dataset]:
    """All datasets, by title."""
    if not home.datasets.is_dir():
        return []
    found = [_own(p) for p in home.datasets.iterdir() if p.name[0] != "." and p.is_dir()]
    return sorted(found, key=lambda ds: natural_key(ds.title))


def latest(home: Home) -> Dataset | None:
    """The dataset that pictures or captions were put into last; None where there is none."""

    def changed(ds: Dataset) -> float:
        with suppress(OSError):  # it was deleted meanwhile
            return ds.path.stat().st_mtime
        return 0.0

    return max(list_datasets(home), key=changed, default=None)


def create(home: Home, title: str) -> Dataset:
    """A new, empty dataset.  Its folder is named after the title; a taken name gets a number."""
    title = captions.clean_caption(title)
    if not title:
        raise ValueError("the name is empty; type one, for example 'my-cat'")
    home.datasets.mkdir(parents=True, exist_ok=True)
    path = free_folder(home, title)
    path.mkdir()
    ds = _own(path)
    write_about(ds.meta, {"title": title, "created": round(time.time(), 3)})
    return ds


def open_dataset(home: Home, name: str) -> Dataset:
    """The dataset with this folder name, or that had it before it was renamed.  Raises ValueError with the nearest name."""
    plain = bool(name) and name == os.path.basename(name) and not set(name) & set("/\\\0:") and not name.startswith(".")
    if plain and (home.datasets / name).is_dir():
        return _own(home.datasets / name)
    known = {ds.name: ds for ds in list_datasets(home)}
    for ds in known.values():
        if name and name in about(ds.meta).get("was", []):
            return ds
    near = difflib.get_close_matches(name, known, 1, 0.6)
    raise ValueError(f"there is no dataset called {name!r}; did you mean {near[0]!r}?" if near else f"there is no dataset called {name!r}")


def rename(ds: Dataset, title: str) -> Dataset:
    """The same dataset under a new title and folder name.  The old name still leads to it, so old runs can be resumed."""
    if ds.in_place:
        raise ValueError(f"{ds.path} is used in place and keeps its name")
    title = captions.clean_caption(title)
    if not title:
        raise ValueError("the name is empty; type one, for example 'my-cat'")
    home = Home(ds.path.parent.parent)
    told = about(ds.meta)
    moved = ds
    if folder_name(title) != ds.name:
        with ds._locked():
            target = free_folder(home, title)
        try:
            os.rename(ds.path, target)
        except OSError as error:
            raise ValueError(f"{ds.name!r} cannot be renamed now ({error.strerror}); close what has it open and try again") from None
        forget(ds.meta)
        moved = _own(target)
        told["was"] = [*dict.fromkeys([*told.get("was", []), ds.name])]
    write_about(moved.meta, told | {"title": title})
    return moved


def delete(ds: Dataset) -> None:
    """Remove a dataset with our copies of its pictures.  What they were copied from is not touched."""
    if ds.in_place:
        raise ValueError(f"{ds.path} is your own folder; Easel does not delete it")
    trash = ds.path.with_name(f".trash-{ds.name}-{secrets.token_hex(4)}")
    try:
        os.rename(ds.path, trash)
    except OSError as error:
        raise ValueError(f"{ds.title!r} cannot be deleted now ({error.strerror}); close what has it open and try again") from None
    forget(ds.meta)
    shutil.rmtree(trash, ignore_errors=True)


def is_path(text: str) -> bool:
    """Is it the path of a folder, and not a dataset's name?"""
    return text.startswith("~") or os.path.isabs(text) or "/" in text or "\\" in text or text in (".", "..")


def resolve(home: Home, name_or_path: str) -> Dataset:
    """A dataset by name, else a folder of this machine, used in place.  Raises ValueError."""
    text = str(name_or_path).strip()
    if not is_path(text):
        return open_dataset(home, text)
    path = Path(text).expanduser().resolve()
    if path.parent == home.datasets.resolve() and path.is_dir():
        return _own(home.datasets / path.name)
    if not path.is_dir():
        raise ValueError(f"{path} is a file; name the folder" if path.exists() else f"there is no folder {path}")
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return Dataset(path, home.datasets / ".folders" / digest, in_place=True)


def _own(path: Path) -> Dataset:
    return Dataset(path, path / HIDDEN)


def free_folder(home: Home, title: str) -> Path:
    wanted = folder_name(title)
    taken = {p.name.casefold() for p in home.datasets.iterdir()}
    names = [wanted, *(f"{folder_name(wanted[:80])}-{n}" for n in range(2, 10_000))]
    return home.datasets / next(n for n in names if n.casefold() not in taken)
