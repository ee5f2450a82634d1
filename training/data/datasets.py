"""A dataset: a folder of pictures and video clips with a UTF-8 .txt beside each, a mask and a control picture where there are some, and a
hidden .easel folder with all that we know of it.

Originals are never altered.  Pictures that somebody drops into the folder by hand are noticed and checked when they are listed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import secrets
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..home import Home
from ..names import folder_name
from ..outside import is_plain, read_json
from . import absorbing, captions, tags, treatment
from .clips import load_still as load_pixels
from .controls import Control
from .edits import Edits, new_op
from .gate import Gate, Report, gated
from .masks import Mask, is_mask, misfit
from .memory import (
    Memory,
    Scan,
    encoding_together,
    file_key,
    forget,
    hash_of,
    lstat_of,
    memory_of,
    natural_key,
    read_caption,
    record_of,
    stem_of,
    write_text_whole,
)
from .memory import scan as scan_folder
from .pictures import SUFFIXES, Refused, check_regular
from .treatment import PLAIN, Treatment

__all__ = ["Dataset", "Picture", "Verdict", "create", "delete", "list_datasets", "load_pixels", "open_dataset", "rename", "resolve", "summary"]

HIDDEN = ".easel"
MAX_ABOUT_BYTES = 1_000_000
MAX_REPEATS_BYTES = 16_000_000
MAX_REPEATS = 1000
MIDDLE = (0.5, 0.5)
BY_HAND = ("typed", "replaced", "prefix", "suffix", "tags")  # sources of captions that somebody edited in the grid
LEFT_OUT = {"control": "control picture", "regular": "regularisation picture", "drawn": "picture of earlier results"}  # kinds of verdicts
Progress = Callable[[int, int, str], None]  # done, of, the file in hand


_looks = threading.local()  # {hidden folder: the pictures of one_look()}


@dataclass(frozen=True)
class Picture:
    """One picture or clip of a dataset.  width, height: px, upright and turned as it is learnt; 0 where unknown.  note: what is done on reading, or why not usable."""

    id: str  # its file name
    path: Path
    width: int
    height: int
    bytes: int
    sha256: str
    verdict: str  # ok, out (left out by its owner), refused, duplicate, unchecked
    note: str
    caption: str  # as it stands in its file, with its lines; '' is none
    caption_source: str  # '' (none), file, typed, or the captioner that wrote it
    caption_note: str = ""
    mask: Mask | None = None  # its own file, else its transparency
    mask_note: str = ""  # why its mask's file is not used
    control: Control | None = None
    control_note: str = ""  # why its control picture is not used
    seconds: float = 0.0  # of a clip; 0 for a picture
    captions: tuple[str, ...] = ()  # the one, or those that the lines of `caption` are
    caption_guess: str = ""  # the codec that its file was read in where that was a guess
    repeats: int = 1  # how often it counts in an epoch, beside the others of its dataset
    focus: tuple[float, float] = MIDDLE  # what its crop is cut around, shares from the left and from the top, of the picture as it is learnt
    treatment: Treatment = PLAIN  # how it is turned and mirrored before anything else; what lies beside it is turned along

    @property
    def usable(self) -> bool:
        return self.verdict == "ok"


@dataclass(frozen=True)
class Verdict:
    """What became of one file that was offered.  reason: why not, or what to know.  id: the picture it became or belongs to."""

    file: str
    ok: bool
    reason: str = ""
    id: str = ""
    kind: str = "picture"  # picture, clip, caption, empty (a caption), table (of captions), mask, control, duplicate, skipped, archive, folder, or one of LEFT_OUT


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
class Dataset:
    """A folder of pictures.  meta: where our notes on it live; for a folder used in place that is not inside the folder."""

    path: Path
    meta: Path
    in_place: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        """What the user called it."""
        return str(_about(self.meta).get("title") or self.path.name)

    # -- listing

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """While inside, what this thread asks of the pictures as they are is answered by one look at the folder; a change here ends it."""
        looks = _looks.__dict__
        before = looks.get(self.meta)
        looks[self.meta] = [] if before is None else before
        try:
            yield
        finally:
            if before is None:
                looks.pop(self.meta, None)

    def pictures(self, check: bool = True, on_progress: Progress | None = None) -> list[Picture]:
        """All pictures in natural order; those that nobody has looked at are checked first.  Engines use the `usable` ones."""
        seen = _looks.__dict__.get(self.meta)
        if check or seen is None:
            return self._looked(check, on_progress)
        if not seen:
            seen += self._looked(False)
        return list(seen)

    def _looked(self, check: bool, on_progress: Progress | None = None) -> list[Picture]:
        scan = scan_folder(self.path)
        if check and self._check(scan, None, on_progress):
            scan = scan_folder(self.path)
        with memory_of(self.meta).lock:
            return self._built(scan, scan.names)

    def page(self, offset: int, count: int, query: str = "", only: str = "", among: Collection[str] | None = None) -> tuple[list[Picture], int]:
        """(count pictures from offset, how many match).  query: words in name or caption.  only: '', a verdict, or 'no caption'.  among: ids, None for all."""
        with memory_of(self.meta).lock:
            scan = scan_folder(self.path)
            names = scan.names if among is None else [n for n in scan.names if n in among]
            if query.strip() or only:
                wanted = captions.clean_caption(query).casefold().split()
                names = [p.id for p in self._built(scan, names) if _matches(p, wanted, only)]
        shown = names[max(0, offset) : max(0, offset) + max(0, count)]
        if self._check(scan, shown):
            scan = scan_folder(self.path)
        with memory_of(self.meta).lock:
            return self._built(scan, [n for n in shown if n in scan.files]), len(names)

    def matching(self, query: str = "", only: str = "") -> list[str]:
        """The ids of all pictures that page() pages through for this search."""
        with memory_of(self.meta).lock:
            scan = scan_folder(self.path)
            wanted = captions.clean_caption(query).casefold().split()
            return [p.id for p in self._built(scan, scan.names) if _matches(p, wanted, only)]

    def get(self, id: str) -> Picture:
        """One picture.  Raises ValueError for an id that is not in this dataset."""
        self._path_of(id)
        self.check([id])
        with memory_of(self.meta).lock:
            scan = scan_folder(self.path)
            if id not in scan.files:
                raise ValueError(f"there is no picture called {id!r} in {self.title!r} any more")
            return self._built(scan, [id])[0]

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

    def fingerprint(self, masks: bool = False, controls: bool = False) -> str:
        """SHA-256 over the usable pictures' bytes and captions, and of what lies beside them if asked for, whatever the files are called."""

        def row(p: Picture) -> tuple[str, ...]:
            beside = ([p.mask.sha256] if masks and p.mask else []) + (["control", p.control.sha256] if controls and p.control else [])
            told = ([f"x{p.repeats}"] if p.repeats > 1 else []) + ([f"focus {p.focus[0]} {p.focus[1]}"] if p.focus != MIDDLE else [])
            told += [f"turned {p.treatment.view}"] if p.treatment.view else []
            return p.sha256, "\n".join(p.captions), *beside, *told

        rows = sorted(row(p) for p in self.pictures() if p.usable)
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def check(self, ids: Sequence[str] | None = None, on_progress: Progress | None = None) -> int:
        """Put pictures that are new, changed or without a thumbnail through the gate.  How many that were."""
        return self._check(scan_folder(self.path), ids, on_progress)

    def _check(self, scan: Scan, ids: Sequence[str] | None, on_progress: Progress | None = None) -> int:
        memory = memory_of(self.meta)
        with memory.checking:
            with memory.lock:
                wanted = scan.names if ids is None else [i for i in ids if i in scan.files]
                wanted = list(dict.fromkeys([*wanted, *(held[stem_of(n)] for held in (scan.masks, scan.controls) for n in wanted if stem_of(n) in held)]))
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

    @property
    def lines(self) -> str:
        """How captions of several lines are read: a key of captions.LINES."""
        chosen = _about(self.meta).get("lines")
        return chosen if chosen in captions.LINES else ""

    def set_lines(self, how: str) -> None:
        """Read captions of several lines in this way from now on."""
        if how not in captions.LINES:
            raise ValueError(f"captions cannot be read as {how!r}")
        with self._locked():
            _write_about(self.meta, _about(self.meta) | {"lines": how})

    @property
    def prior(self) -> str:
        """The name of the dataset that came along to be kept as it is while this one is learnt; "" for none."""
        found = _about(self.meta).get("prior")
        return found if isinstance(found, str) else ""

    def set_prior(self, name: str) -> None:
        """Remember the dataset that is kept as it is beside this one."""
        with self._locked():
            _write_about(self.meta, _about(self.meta) | {"prior": name})

    @property
    def absorbs(self) -> tuple[str, ...]:
        """Traits that captions leave out on purpose, so that the trigger word stands for them."""
        found = _about(self.meta).get("absorbs")
        return tuple(t for t in found[: absorbing.MOST] if isinstance(t, str) and 0 < len(t) <= absorbing.MOST_LETTERS) if isinstance(found, list) else ()

    def set_absorbs(self, traits: Sequence[str]) -> None:
        """Remember what the trigger word should absorb.  Raises ValueError for what is no trait, or too many."""
        made = list(dict.fromkeys(map(absorbing.clean, traits)))
        if len(made) > absorbing.MOST:
            raise ValueError(f"a trigger word cannot stand for {len(made)} traits; {absorbing.MOST} at most")
        with self._locked():
            _write_about(self.meta, _about(self.meta) | {"absorbs": made})

    def take_out(self, traits: Sequence[str]) -> int:
        """Take the tags that say these traits out of all captions, as one step for undo; sentences stay.  How many captions changed."""
        return self.edit_tags(lambda caption: absorbing.without(caption, traits), "tags")

    def repeats(self) -> dict[str, int]:
        """{picture: how often it counts in an epoch}, of those that count more than once."""
        try:
            data = read_json(self.meta / "repeats.json", MAX_REPEATS_BYTES)
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in data.items() if type(v) is int and 1 < v <= MAX_REPEATS} if isinstance(data, dict) else {}

    def set_repeats(self, changes: Mapping[str, int]) -> None:
        """How often these pictures count in an epoch, 1 to MAX_REPEATS."""
        for id, count in changes.items():
            self._path_of(id)
            if not 1 <= count <= MAX_REPEATS:
                raise ValueError(f"{id} cannot count {count} times in an epoch; 1 to {MAX_REPEATS} times")
        with self._locked():
            made = {id: count for id, count in (self.repeats() | dict(changes)).items() if count > 1}
            write_text_whole(self.meta / "repeats.json", json.dumps(made))

    def focuses(self) -> dict[str, tuple[float, float]]:
        """{sha256: focus} of the pictures whose crop is not cut around their middle."""
        try:
            data = read_json(self.meta / "focus.json", MAX_REPEATS_BYTES)
        except (OSError, ValueError):
            return {}
        return {k: (v[0], v[1]) for k, v in data.items() if is_focus(v)} if isinstance(data, dict) else {}

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
            before = list(self.focuses().get(digest, MIDDLE))
            if before != after:
                self._edits().focus(new_op(), {digest: (before, after)})
                self._write_focus({digest: after})

    def _write_focus(self, changes: Mapping[str, Sequence[float]]) -> None:
        made = {k: list(v) for k, v in (self.focuses() | dict(changes)).items() if tuple(v) != MIDDLE}
        write_text_whole(self.meta / "focus.json", json.dumps(made))

    def treat(self, ids: Sequence[str], act: str) -> int:
        """Turn, mirror, leave out or take back these pictures: an act of treatment.ACTS.  Undo brings them back.  How many changed."""
        if act not in treatment.ACTS:
            raise ValueError(f"pictures cannot be treated as {act!r}; they can be: {', '.join(treatment.ACTS)}")
        pictures = [p for p in map(self.get, ids) if p.sha256 and not (p.seconds and act in treatment.NO_CLIPS)]
        if not pictures:
            raise ValueError("clips cannot be turned or mirrored here; do it in a video editor" if act in treatment.NO_CLIPS else "none of these pictures can be used")
        with self._locked():
            known = treatment.read(self.meta)
            made = {p.sha256: (before, after) for p in pictures if (before := known.get(p.sha256, PLAIN)) != (after := treatment.ACTS[act](before))}
            if made:
                self._edits().treated(new_op(), {k: (before.text, after.text) for k, (before, after) in made.items()})
                treatment.write(self.meta, {k: after for k, (_, after) in made.items()})
        return len(made)

    def set_caption(self, id: str, text: str, source: str = "typed") -> str:
        """Save one caption beside its picture; an empty one takes the file away.  The caption as saved."""
        self.set_captions({id: text}, source)
        return self.caption(id)

    def set_captions(self, changes: Mapping[str, str], source: str, op: str = "") -> int:
        """Save captions as one step for undo (`op` joins several calls into one).  How many changed."""
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
        return self._each_caption(lambda old: old if old.startswith(text.strip()) else text + old, "prefix", ids)

    def suffix(self, text: str, ids: Collection[str] | None = None) -> int:
        """Put a text behind the captions of these pictures (None: of all) that do not end with it.  How many changed."""
        if not captions.clean_caption(text):
            raise ValueError("type the text to put behind")
        return self._each_caption(lambda old: old if old.endswith(text.strip()) else old + text, "suffix", ids)

    def undo(self) -> str:
        """Take back the newest step: an edit, a bulk edit, a captioner's run, a removal.  A sentence on it; '' if there is none."""
        with self._locked():
            edits = self._edits()
            step = edits.last()
            if not step:
                return ""
            scan = scan_folder(self.path)
            restored, changed_since, pictures, crops, treated = set(), set(), 0, 0, 0
            for record in reversed(step):
                for id, (before, after) in record.get("captions", {}).items():
                    if id in scan.files and self._caption_of(scan, id).text == after:
                        self._write_caption(scan, id, before)
                        restored.add(id)
                    elif id not in restored:
                        changed_since.add(id)
                pictures += self._put_back(record["op"], record.get("removed", []))
                back = {digest: before for digest, (before, after) in record.get("focus", {}).items() if is_focus(before)}
                if back:
                    self._write_focus(back)
                    crops += len(back)
                if ways := {digest: way for digest, (before, _) in record.get("treated", {}).items() if (way := treatment.of_text(before)) is not None}:
                    treatment.write(self.meta, ways)
                    treated += len(ways)
            edits.undo(step[0]["op"])
        said = [counted(pictures, "picture") + " put back"] if pictures else []
        said += [counted(crops, "crop") + " put back"] if crops else []
        said += [counted(treated, "picture") + " as before"] if treated else []
        said += [counted(len(restored), "caption") + " put back"] if restored else []
        said += [counted(len(changed_since), "caption") + " left alone, because changed since"] if changed_since else []
        return ", ".join(said) or "nothing was left to put back"

    def can_undo(self) -> str:
        """What undo would take back, as a short text; '' if there is nothing."""
        step = self._edits().last()
        if not step:
            return ""
        if "focus" in step[0]:
            return counted(len(step[0]["focus"]), "crop")
        if "treated" in step[0]:
            return treatment.told(step[0]["treated"])
        if "removed" in step[0]:
            return f"removal of {counted(sum(len(r.get('removed', [])) for r in step), 'picture')}"
        return f"{counted(len({id for r in step for id in r.get('captions', {})}), 'caption')} ({step[0].get('source', '')})"

    # -- removing

    def remove(self, ids: Sequence[str]) -> int:
        """Put pictures with their captions, masks and control pictures aside; undo brings them back.  How many."""
        if self.in_place:
            raise ValueError(f"{self.path} is used in place, and Easel does not take files out of your own folders; remove them there")
        for id in ids:
            self._path_of(id)
        with self._locked():
            scan = scan_folder(self.path)
            ids = [i for i in dict.fromkeys(ids) if i in scan.files]
            if not ids:
                return 0
            op = new_op()
            aside = self.meta / "removed" / op
            aside.mkdir(parents=True)
            self._edits().removed(op, ids)
            stems = {s: [n for n in scan.names if stem_of(n) == s] for s in map(stem_of, ids)}
            for id in ids:
                os.replace(self.path / id, aside / id)
                shared = [n for n in stems[stem_of(id)] if n not in ids]  # a.jpg and a.png may share a.txt
                for beside in [*scan.texts.get(stem_of(id), []), *filter(None, [scan.masks.get(stem_of(id)), scan.controls.get(stem_of(id))])]:
                    if not shared and (self.path / beside).exists():
                        os.replace(self.path / beside, aside / beside)
            return len(ids)

    # -- inside

    def _put_back(self, op: str, names: Sequence[str]) -> int:
        aside = self.meta / "removed" / op
        if not names or not aside.is_dir():
            return 0
        back = 0
        for found in sorted(aside.iterdir()):
            if not (self.path / found.name).exists():
                back += found.name in names
                os.replace(found, self.path / found.name)
        return back

    def _each_caption(self, change: Callable[[str], str], source: str, ids: Collection[str] | None) -> int:
        with self._locked():
            scan = scan_folder(self.path)
            now = {n: self._caption_of(scan, n).text for n in scan.names if ids is None or n in ids}
            return self.set_captions({n: change(text) for n, text in now.items() if text}, source)

    def _path_of(self, id: str) -> Path:
        """The path of a picture.  Raises ValueError for whatever is not the plain name of one in this folder."""
        plain = isinstance(id, str) and id and id == os.path.basename(id) and not set(id) & set("/\\\0") and not id.startswith(".")
        if not plain or os.path.splitext(id)[1].lower() not in SUFFIXES or is_mask(id) or not os.path.lexists(os.path.join(self.path, id)):
            raise ValueError(f"there is no picture called {id!r} in {self.title!r}")
        return self.path / id

    def _built(self, scan: Scan, names: Sequence[str]) -> list[Picture]:
        memory = memory_of(self.meta)
        sources = self._edits().refresh().sources
        kept: dict[str, str] = {}  # of the same bytes, the first in order is the one that is used
        for name in scan.names:
            record = memory.records.get(name)
            if record and record["ok"]:
                kept.setdefault(record["sha256"], name)
        lines, repeats, focuses, treated, made = self.lines, self.repeats(), self.focuses(), treatment.read(self.meta), []
        for name in names:
            found = scan.stat(name)
            record = memory.fresh(name, found)
            said = self._caption_of(scan, name)
            stem = stem_of(name)
            asides = tuple((n, memory.fresh(n, scan.stat(n))) for held in (scan.masks, scan.controls) if (n := held.get(stem)))
            first = kept[record["sha256"]] if record and record["ok"] else name
            source = sources.get((name, said.text), "file") if said.text else ""
            inputs = (record, said, source, found.st_size if found else 0, first, scan.kept_out.get(name), asides, lines, repeats.get(name, 1), focuses.get(record["sha256"], MIDDLE) if record else MIDDLE, treated.get(record["sha256"], PLAIN) if record else PLAIN)
            known = memory.built.get(name)
            if known is None or known[0] != inputs:
                known = memory.built[name] = inputs, self._one(scan, name, *inputs)
            made.append(known[1])
        return made

    def _one(self, scan: Scan, name: str, record: dict | None, said: captions.Decoded, source: str, size_bytes: int, first: str, kept_out: str | None, asides, lines: str, repeats: int, focus: tuple[float, float], treated: Treatment) -> Picture:  # fmt: skip
        """A picture out of what is known of it.  first: the picture of the same bytes that is used.  asides: what lies beside it, which `scan` names."""
        words = {"captions": captions.split(said.text, lines), "caption_guess": said.guessed}
        if record is None:
            return Picture(name, self.path / name, 0, 0, size_bytes, "", "unchecked", "not checked yet", said.text, source, said.note, **words)
        verdict, note = ("ok" if record["ok"] else "refused"), record["note"]
        if record["ok"] and treated.out:
            verdict, note = "out", "left out of training; its file and its caption stay"
        if first != name:
            verdict, note = "duplicate", f"the same picture as {first}, byte for byte; only one of them is used"
        if kept_out is not None:
            verdict, note = "refused", kept_out
        mask, mask_note = self._mask_of(scan, name, record)
        control, control_note = self._control_of(scan, name, record)
        beside = {"mask": mask, "mask_note": mask_note, "control": control, "control_note": control_note}
        return Picture(
            name, self.path / name, *treated.size(record["width"], record["height"]), size_bytes, record["sha256"], verdict, note, said.text, source, said.note,
            **words, **beside, seconds=record["seconds"], repeats=repeats, focus=treated.point(focus), treatment=treated,
        )  # fmt: skip

    def _mask_of(self, scan: Scan, id: str, record: dict) -> tuple[Mask | None, str]:
        """(mask, why its file is not used) of a picture that was looked at."""
        own = Mask(self.path / id, record["sha256"], "alpha") if record["alpha"] else None
        name, digest, why = self._beside(scan, scan.masks.get(stem_of(id)), record)
        return (Mask(self.path / name, digest, "file"), "") if digest else (own, why)

    def _control_of(self, scan: Scan, id: str, record: dict) -> tuple[Control | None, str]:
        """(control picture, why its file is not used) of a picture that was looked at."""
        name, digest, why = self._beside(scan, scan.controls.get(stem_of(id)), record)
        return (Control(self.path / name, digest), "") if digest else (None, why)

    def _beside(self, scan: Scan, name: str | None, record: dict) -> tuple[str, str, str]:
        """(its name, its sha256, "") of a file that must have its picture's shape; ("", "", why not) where it cannot be used, all empty for none."""
        if name is None:
            return "", "", ""
        found = memory_of(self.meta, reread=False).fresh(name, scan.stat(name))
        if found is None:
            return "", "", f"{name} is not checked yet"
        why = found["note"] if not found["ok"] else misfit((found["width"], found["height"]), (record["width"], record["height"]))
        return ("", "", f"{name} {why}") if why else (name, found["sha256"], "")

    def _caption_of(self, scan: Scan, id: str) -> captions.Decoded:
        """The caption of a picture, from memory while its file has not changed."""
        memory = memory_of(self.meta, reread=False)
        for name in scan.texts.get(stem_of(id), []):
            found = scan.text_stat(name)
            if found is None:
                continue
            key = (found.st_size, found.st_mtime_ns, found.st_ino)
            if name not in memory.texts or memory.texts[name][0] != key:
                memory.texts[name] = (key, self._read(memory, scan, name))
            return memory.texts[name][1]
        return captions.Decoded("")

    def _read(self, memory: Memory, scan: Scan, name: str) -> captions.Decoded:
        """A caption from its file; where that does not say its encoding, the others beside it tell along with it."""
        alone = read_caption(self.path / name, memory.encoding or "")
        if not alone.guessed or memory.encoding is not None:
            return alone
        memory.encoding = encoding_together(self.path / n for names in list(scan.texts.values()) for n in names)
        return read_caption(self.path / name, memory.encoding)

    def _write_caption(self, scan: Scan, id: str, text: str) -> None:
        """The .txt beside a picture, whole or not at all; gone for an empty text.  Keeps `scan` true."""
        stem = stem_of(id)
        present = scan.texts.get(stem, [])
        target = next((n for n in present if n.lower().endswith(".txt")), os.path.splitext(id)[0] + ".txt")
        if not text:
            for name in present:
                (self.path / name).unlink(missing_ok=True)
                scan.text_entries.pop(name, None)
            scan.texts.pop(stem, None)
            return
        written = text + "\n"
        path = os.path.join(self.path, target)
        write_text_whole(path, written)
        found = scan.text_entries[target] = os.lstat(path)
        scan.texts[stem] = [target, *(n for n in present if n != target)]
        if captions.says_utf8(written):  # then it need not be read again
            memory_of(self.meta, reread=False).texts[target] = ((found.st_size, found.st_mtime_ns, found.st_ino), captions.Decoded(text))

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

    def _thumb(self, digest: str) -> Path:
        return self.meta / "thumbs" / f"{digest[:40]}.webp"

    def _has_thumb(self, record: dict) -> bool:
        return not record["ok"] or is_plain(self._thumb(record["sha256"]))

    def _edits(self) -> Edits:
        return memory_of(self.meta).edits

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with this dataset, among threads and processes.  May be nested."""
        memory = memory_of(self.meta)
        with memory.lock:
            if not memory.depth:
                self.meta.mkdir(parents=True, exist_ok=True)
                memory.acquire(self.meta / "lock")
            memory.depth += 1
            try:
                yield
            finally:
                _looks.__dict__.get(self.meta, []).clear()
                memory.depth -= 1
                if not memory.depth:
                    memory.release()

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
    path = _free_folder(home, title)
    path.mkdir()
    ds = _own(path)
    _write_about(ds.meta, {"title": title, "created": round(time.time(), 3)})
    return ds


def open_dataset(home: Home, name: str) -> Dataset:
    """The dataset with this folder name, or that had it before it was renamed.  Raises ValueError with the nearest name."""
    plain = bool(name) and name == os.path.basename(name) and not set(name) & set("/\\\0:") and not name.startswith(".")
    if plain and (home.datasets / name).is_dir():
        return _own(home.datasets / name)
    known = {ds.name: ds for ds in list_datasets(home)}
    for ds in known.values():
        if name and name in _about(ds.meta).get("was", []):
            return ds
    near = difflib.get_close_matches(name, known, 1, 0.6)
    raise ValueError(f"there is no dataset called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def rename(ds: Dataset, title: str) -> Dataset:
    """The same dataset under a new title and folder name.  The old name still leads to it, so old runs can be resumed."""
    if ds.in_place:
        raise ValueError(f"{ds.path} is used in place and keeps its name")
    title = captions.clean_caption(title)
    if not title:
        raise ValueError("the name is empty; type one, for example 'my-cat'")
    home = Home(ds.path.parent.parent)
    about = _about(ds.meta)
    moved = ds
    if folder_name(title) != ds.name:
        with ds._locked():
            target = _free_folder(home, title)
        try:
            os.rename(ds.path, target)
        except OSError as error:
            raise ValueError(f"{ds.name!r} cannot be renamed now ({error.strerror}); close what has it open and try again") from None
        forget(ds.meta)
        moved = _own(target)
        about["was"] = [*dict.fromkeys([*about.get("was", []), ds.name])]
    _write_about(moved.meta, about | {"title": title})
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


def resolve(home: Home, name_or_path: str) -> Dataset:
    """A dataset by name, else a folder of this machine, used in place.  Raises ValueError."""
    text = str(name_or_path).strip()
    looks_like_path = text.startswith("~") or os.path.isabs(text) or "/" in text or "\\" in text or text in (".", "..")
    if not looks_like_path:
        return open_dataset(home, text)
    path = Path(text).expanduser().resolve()
    if path.parent == home.datasets.resolve() and path.is_dir():
        return _own(home.datasets / path.name)
    if not path.is_dir():
        raise ValueError(f"{path} is a file; name the folder" if path.exists() else f"there is no folder {path}")
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return Dataset(path, home.datasets / ".folders" / digest, in_place=True)


def summary(verdicts: Sequence[Verdict]) -> str:
    """One sentence on what became of the files: '24 pictures added, 20 captions paired, 3 refused'."""
    pictures = sum(v.ok and v.kind == "picture" for v in verdicts)
    texts = sum(v.ok and v.kind == "caption" for v in verdicts)
    masks = sum(v.ok and v.kind == "mask" for v in verdicts)
    twice = sum(v.kind == "duplicate" for v in verdicts)
    controls = sum(v.ok and v.kind == "control" for v in verdicts)
    refused = sum(not v.ok and v.kind not in ("duplicate", "skipped", *LEFT_OUT) for v in verdicts)
    clips = sum(v.ok and v.kind == "clip" for v in verdicts)
    said = [f"{counted(pictures, 'picture')} added"] if pictures or not (clips or controls) else []
    said += [f"{counted(clips, 'clip')} added"] if clips else []
    said += [f"{counted(texts, 'caption')} paired"] if texts else []
    said += [f"{counted(masks, 'mask')} paired"] if masks else []
    said += [f"{counted(controls, 'control picture')} paired"] if controls else []
    said += [f"{twice} already there"] if twice else []
    said += [f"{refused} refused"] if refused else []
    said += [f"{counted(number, name)} left out" for kind, name in LEFT_OUT.items() if (number := sum(v.kind == kind and not v.ok for v in verdicts))]
    said += [v.reason for v in verdicts if v.kind == "skipped"]
    return ", ".join(said)


def is_focus(found: object) -> bool:
    """Whether something read from a file is a point of a picture."""
    return isinstance(found, (list, tuple)) and len(found) == 2 and all(type(v) in (int, float) and 0 <= v <= 1 for v in found)


def _matches(picture: Picture, words: Sequence[str], only: str) -> bool:
    if only == "no caption" and (picture.caption or not (picture.usable or picture.verdict == "unchecked")):
        return False
    if only not in ("", "no caption") and picture.verdict != only:
        return False
    text = f"{picture.id} {picture.caption}".casefold()
    return all(word in text for word in words)


def _own(path: Path) -> Dataset:
    return Dataset(path, path / HIDDEN)


def _about(meta: Path) -> dict:
    try:
        data = read_json(meta / "dataset.json", MAX_ABOUT_BYTES)
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    title, was = data.get("title"), data.get("was")
    return data | {"title": title[:200] if isinstance(title, str) else "", "was": [w for w in was if isinstance(w, str)] if isinstance(was, list) else []}


def _write_about(meta: Path, about: dict) -> None:
    meta.mkdir(parents=True, exist_ok=True)
    write_text_whole(meta / "dataset.json", json.dumps(about, indent=1))


def _free_folder(home: Home, title: str) -> Path:
    wanted = folder_name(title)
    taken = {p.name.casefold() for p in home.datasets.iterdir()}
    names = [wanted, *(f"{folder_name(wanted[:80])}-{n}" for n in range(2, 10_000))]
    return home.datasets / next(n for n in names if n.casefold() not in taken)


def counted(number: int, noun: str) -> str:
    """'1 picture', '24 pictures'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
