"""The pictures of a dataset as they are now: out of a look at its folder, what is remembered of each, and what lies beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import captions, treatment
from .controls import Control, called, is_control, number_of
from .folder import MIDDLE, Folder
from .masks import Mask, misfit
from .memory import Scan, memory_of, stem_of
from .treatment import PLAIN, Treatment

UNSEEN = "is not checked yet"  # of what lies beside a picture


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
    cuts: tuple[float, ...] = ()  # when new scenes begin in a clip, seconds
    captions: tuple[str, ...] = ()  # the one, or those that the lines of `caption` are
    caption_guess: str = ""  # the codec that its file was read in where that was a guess
    repeats: int = 1  # how often it counts in an epoch, beside the others of its dataset
    focus: tuple[float, float] = MIDDLE  # what its crop is cut around, shares from the left and from the top, of the picture as it is learnt
    treatment: Treatment = PLAIN  # how it is turned and mirrored before anything else; what lies beside it is turned along
    more_controls: tuple[Control, ...] = ()  # the second, third, ... of them, where an edit is made from several pictures
    other_shape: Control | None = None  # its control picture where that has another shape than it: an edit may be made from it, no ControlNet is shown it

    @property
    def references(self) -> tuple[Control, ...]:
        """What it is made from, in order: its control picture, of whatever shape, and further ones."""
        first = self.control or self.other_shape
        return (first, *self.more_controls) if first else self.more_controls

    @property
    def usable(self) -> bool:
        return self.verdict == "ok"


def built(folder: Folder, scan: Scan, names: Sequence[str]) -> list[Picture]:
    memory = memory_of(folder.meta)
    sources = folder._edits().refresh().sources
    kept: dict[str, str] = {}  # of the same bytes, the first in order is the one that is used
    for name in scan.names:
        record = memory.records.get(name)
        if record and record["ok"]:
            kept.setdefault(record["sha256"], name)
    lines, repeats, focuses, treated, made = folder.lines, folder.repeats(), folder.focuses(), treatment.read(folder.meta), []
    for name in names:
        found = scan.stat(name)
        record = memory.fresh(name, found)
        said = folder._caption_of(scan, name)
        stem = stem_of(name)
        asides = tuple((n, memory.fresh(n, scan.stat(n))) for n in scan.lying(stem))
        first = kept[record["sha256"]] if record and record["ok"] else name
        source = sources.get((name, said.text), "file") if said.text else ""
        inputs = (record, said, source, found.st_size if found else 0, first, scan.kept_out.get(name), asides, lines, repeats.get(name, 1), focuses.get(record["sha256"], MIDDLE) if record else MIDDLE, treated.get(record["sha256"], PLAIN) if record else PLAIN)
        known = memory.built.get(name)
        if known is None or known[0] != inputs:
            known = memory.built[name] = inputs, _one(folder, scan, name, known[1].path if known else folder.path / name, *inputs)
        made.append(known[1])
    return made


def _one(folder: Folder, scan: Scan, name: str, path: Path, record: dict | None, said: captions.Decoded, source: str, size_bytes: int, first: str, kept_out: str | None, asides, lines: str, repeats: int, focus: tuple[float, float], treated: Treatment) -> Picture:  # fmt: skip
    """A picture out of what is known of it.  first: the picture of the same bytes that is used.  asides: what lies beside it, which `scan` names."""
    words: dict[str, Any] = {"captions": captions.split(said.text, lines), "caption_guess": said.guessed}
    if record is None:
        return Picture(name, path, 0, 0, size_bytes, "", "unchecked", "not checked yet", said.text, source, said.note, **words)
    verdict, note = ("ok" if record["ok"] else "refused"), record["note"]
    if record["ok"] and treated.out:
        verdict, note = "out", "left out of training; its file and its caption stay"
    if first != name:
        verdict, note = "duplicate", f"the same picture as {first}, byte for byte; only one of them is used"
    if kept_out is not None:
        verdict, note = "refused", kept_out
    mask, mask_note = _mask_of(folder, scan, name, record)
    beside: dict[str, Any] = {"mask": mask, "mask_note": mask_note, **_controls_of(folder, scan, name, record, treated)}
    return Picture(  # type: ignore[misc]
        name, path, *treated.size(record["width"], record["height"]), size_bytes, record["sha256"], verdict, note, said.text, source, said.note,
        **words, **beside, seconds=record["seconds"], cuts=tuple(record.get("cuts", ())), repeats=repeats, focus=treated.point(focus), treatment=treated,
    )  # fmt: skip


def _mask_of(folder: Folder, scan: Scan, id: str, record: dict) -> tuple[Mask | None, str]:
    """(mask, why its file is not used) of a picture that was looked at."""
    own = Mask(folder.path / id, record["sha256"], "alpha") if record["alpha"] else None
    name, digest, why = _beside(folder, scan, scan.masks.get(stem_of(id)), record)
    return (Mask(folder.path / name, digest, "file"), "") if digest else (own, why)


def _controls_of(folder: Folder, scan: Scan, id: str, record: dict, treated: Treatment) -> dict[str, Any]:
    """The control pictures of a picture that was looked at, and why one is not used, as Picture has them."""
    memory, stem = memory_of(folder.meta, reread=False), stem_of(id)
    usable, note, names = [], "", scan.controls.get(stem, ())
    counted = all(is_control(name) for name in names)
    for number, name in enumerate(names, 1):
        if counted and number_of(name) > number:
            note = f"{called(stem, number)} is missing, but {name} is there"
            break
        found = memory.fresh(name, scan.stat(name))
        if found is None or not found["ok"]:  # none behind it either: each has its place
            note = f"{name} {found['note']}" if found else f"{name} {UNSEEN}"
            break
        usable.append((Control(folder.path / name, found["sha256"], *treated.size(found["width"], found["height"]), called(stem, number)), found))
    if not usable:
        return {"control_note": note}
    (first, found), *more = usable
    why = misfit((found["width"], found["height"]), (record["width"], record["height"]))
    note = note or (f"{first.path.name} {why}" if why else "")
    return {"control": None if why else first, "other_shape": first if why else None, "control_note": note, "more_controls": tuple(one for one, _ in more)}


def _beside(folder: Folder, scan: Scan, name: str | None, record: dict) -> tuple[str, str, str]:
    """(its name, its sha256, "") of a file that must have its picture's shape; ("", "", why not) where it cannot be used, all empty for none."""
    if name is None:
        return "", "", ""
    found = memory_of(folder.meta, reread=False).fresh(name, scan.stat(name))
    if found is None:
        return "", "", f"{name} {UNSEEN}"
    why = found["note"] if not found["ok"] else misfit((found["width"], found["height"]), (record["width"], record["height"]))
    return ("", "", f"{name} {why}") if why else (name, found["sha256"], "")


def matches(picture: Picture, words: Sequence[str], only: str) -> bool:
    if only == "no caption" and (picture.caption or not (picture.usable or picture.verdict == "unchecked")):
        return False
    if only not in ("", "no caption") and picture.verdict != only:
        return False
    text = f"{picture.id} {picture.caption}".casefold()
    return all(word in text for word in words)
