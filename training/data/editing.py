"""Edits, before the start: what each picture is made from, at which size that is shown, and what cannot be learnt so.  No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from types import ModuleType

from .. import registry
from ..config import DatasetUse, EditPart, TrainConfig
from ..family import FamilySpec
from ..formats.beside import is_beside
from ..home import Home
from . import concepts, parts
from .controls import Control
from .datasets import Picture
from .listing import UNSEEN

SHAPE_ERROR = 0.01  # of width / height, between a result and what it is made from: a scaled picture is rounded to whole px
NAMED = 5  # pictures in a sentence

Row = tuple[DatasetUse, str, Picture]  # a picture with its dataset's place in the run, and that dataset's name


def edits(objective: ModuleType | None) -> bool:
    """Whether this objective shows the denoiser what each picture is made from."""
    return getattr(objective, "EDITS", False)


def needed(spec: FamilySpec) -> bool:
    """Whether a family draws nothing without a picture that the result is made from."""
    return spec.references is not None and spec.references.needed


def same_shape(reference: Control, picture: Picture) -> bool:
    """Whether what a picture is made from has its shape, so that it is cut as the picture is."""
    return abs(reference.width * picture.height / (reference.height * picture.width) - 1) <= SHAPE_ERROR


def shown_sizes(picture: Picture, size: tuple[int, int], family: ModuleType) -> list[tuple[int, int]]:
    """(width, height) px at which what a picture is made from is encoded, one by one.  size: of the training picture.

    What has the picture's shape is cut as the picture is, so it has its size; the others are shown whole.
    """
    return [family.reference_size(*(size if same_shape(r, picture) else (r.width, r.height))) for r in picture.references]


def shown_share(config: TrainConfig, home: Home, family: ModuleType) -> tuple[float, float]:
    """(mean, most) px that a picture is made from, as multiples of its own as it is trained; (0, 0) where no edits are learnt, one of its size where no pair can be read yet."""
    if not edits(concepts.known(config, home.plugins)) or family.SPEC.references is None:
        return 0.0, 0.0
    found = []
    try:
        for use, _, picture in rows(config, home, check=False):
            for side in config.data.sides(use):
                scale = side / math.sqrt(picture.width * picture.height)
                sizes = shown_sizes(picture, (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), family)
                found.append(sum(width * height for width, height in sizes) / side**2)
    except (ValueError, OSError):
        pass  # the start says what is wrong
    return (sum(found) / len(found), max(found)) if any(found) else (1.0, 1.0)


def shown_count(config: TrainConfig, home: Home, family: ModuleType) -> float:
    """How many pictures one is made from, on average; 0 where no edits are learnt, 1 where no pair can be read yet."""
    if not edits(concepts.known(config, home.plugins)) or family.SPEC.references is None:
        return 0.0
    try:
        found = [len(picture.references) for _, _, picture in rows(config, home, check=False)]
    except (ValueError, OSError):
        return 1.0  # the start says what is wrong
    return sum(found) / len(found) if any(found) else 1.0


def problems(config: TrainConfig, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of settings that edits cannot be learnt with, and of a family that learns nothing else."""
    spec: FamilySpec = registry.get("families", config.model.family, plugins).SPEC
    if not edits(concepts.known(config, plugins)):
        return [("loss.objective", f"is {config.loss.objective!r}, but {spec.title} draws nothing without a picture that it is made from, so it learns edits alone; choose 'edit'")] * needed(spec)
    if spec.references is None:
        able = [p.module.SPEC.title for p in registry.find("families", plugins).values() if p.ok and p.module.SPEC.references]
        return [("model.family", f"is {spec.id!r}, but {spec.title} cannot be shown what a picture is made from, so it learns no edits; choose one that can: {', '.join(able)}")]
    found, keep = [], config.keep
    if is_beside(registry.get("adapters", config.adapter.type, plugins)):
        found.append(("adapter.type", f"is {config.adapter.type!r}, which hangs beside the denoiser and is shown pictures of its own; an edit is learnt by the denoiser itself: choose 'lora'"))
    if config.adapter.text_encoder and spec.references.read:
        found.append(("adapter.text_encoder", f"is on, but the text encoder of {spec.title} reads the pictures too, which is done before the first step; switch it off"))
    if config.data.frames > 1:
        found.append(("data.frames", f"is {config.data.frames}, but edits are learnt from still pictures; set it to 1"))
    if keep.on and spec.references.read:
        found.append(("keep.on", f"is on, but the text encoder of {spec.title} reads the pictures with each sentence, so other sentences cannot hold the base model; switch it off"))
    elif keep.on and keep.drawn:
        found.append(("keep.drawn", f"is {keep.drawn}, but what the base model draws by itself is made from nothing; set it to 0, which holds your own pairs with other sentences"))
    return found


def idle(config: TrainConfig, plugins: Path | None = None) -> list[str]:
    """A sentence for each setting of `edit` that was changed and has no effect."""
    usual = EditPart()
    changed = [name for name in EditPart.model_fields if getattr(config.edit, name) != getattr(usual, name)]
    if not edits(concepts.known(config, plugins)):
        return [f"edit.{name} has no effect: the objective is {config.loss.objective!r}" for name in changed]
    spec: FamilySpec = registry.get("families", config.model.family, plugins).SPEC
    return [f"edit.{name} has no effect: {spec.title} draws nothing without a picture that it is made from" for name in changed if needed(spec) and name != "same_shape"]


def rows(config: TrainConfig, home: Home, check: bool = True) -> list[Row]:
    """The still pictures of a run's datasets.  check: look at those that nobody has looked at yet.  Raises ValueError for a dataset that is not there."""
    found = [(use, parts.taken(home, use)) for use in config.data.datasets]
    return [(use, taken.ds.name, p) for use, taken in found for p in taken.pictures(check) if p.usable and not p.seconds]


def check(config: TrainConfig, home: Home, spec: FamilySpec) -> None:
    """Raises ValueError, with the pictures' names, for the first thing that the datasets of an edit lack."""
    for text in faults(config, spec, rows(config, home)):
        raise ValueError(text)


def seen(found: Sequence[Row]) -> list[Row]:
    """Those of which all that they are made from was looked at; the start looks at the others."""
    return [row for row in found if not row[2].control_note.endswith(UNSEEN)]


def likely_faults(config: TrainConfig, spec: FamilySpec, found: Sequence[Row]) -> list[str]:
    """faults() as far as they can be told of rows that nobody may have looked at yet."""
    known = seen(found)
    if len(known) < len(found) and not any(p.references for _, _, p in known):
        return _without_partner(config, spec, [p for _, _, p in known])
    return faults(config, spec, known)


def faults(config: TrainConfig, spec: FamilySpec, pictures: Sequence[Row]) -> list[str]:
    """What the pictures of an edit lack, a sentence each that names them; [] where each can be learnt."""
    takes = spec.references
    made = [p for _, _, p in pictures if p.references]
    if pictures and not made:
        return [f"no picture has one that it is made from; put name.control.png beside name.jpg: the picture before the edit{_why(p for _, _, p in pictures)}"]
    return [
        *_without_partner(config, spec, [p for _, _, p in pictures if not p.references]),
        *_incomplete(config, spec, [p for _, _, p in pictures]),
        *_silent(config, pictures),
        *_of_another_shape(config, made),
        *_too_many(spec, [p for p in made if takes and len(p.references) > takes.most]),
    ]


def _without_partner(config: TrainConfig, spec: FamilySpec, bare: list[Picture]) -> list[str]:
    if not bare or (config.edit.plain and not spec.references.needed):  # type: ignore[union-attr]
        return []
    said = f"Without a picture that it is made from: {named(bare)}{_why(bare)}. Put name.control.png beside name.jpg, or leave these out"
    if spec.references.needed:  # type: ignore[union-attr]
        return [f"{said}: {spec.title} draws nothing without one"]
    return [f"{said}; edit.plain learns them as plain pictures, by their captions alone"]


def _incomplete(config: TrainConfig, spec: FamilySpec, pictures: list[Picture]) -> list[str]:
    """Of those that are not refused already for having nothing that they are made from."""
    plain = config.edit.plain and not needed(spec)
    broken = [p for p in pictures if p.control_note and (p.references or plain) and not (p.other_shape and p.control_note.startswith(f"{p.other_shape.path.name} "))]
    return [f"Not all that it is made from can be used: {named(broken)}{_why(broken)}. Add a good copy of what is damaged or missing, or take its files away"] * bool(broken)


def _silent(config: TrainConfig, pictures: Sequence[Row]) -> list[str]:
    silent = [p for use, _, p in pictures if not p.caption.strip() and not use.prior and not use.word(config.trigger)]
    return [f"Without a caption, which is what an edit is asked for with: {named(silent)}. Write what is to be done to the picture before, for example: make it night"] * bool(silent)


def _of_another_shape(config: TrainConfig, made: list[Picture]) -> list[str]:
    odd = [p for p in made if not same_shape(p.references[0], p)] if config.edit.same_shape else []
    said = [f"{p.id} ({p.width}x{p.height} px) and {p.references[0].path.name} ({p.references[0].width}x{p.references[0].height} px)" for p in odd[:NAMED]]
    more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
    return [f"Of another shape than the picture before: {', '.join(said)}{more}. Crop one of the two, or switch edit.same_shape off, which shows it whole"] * bool(odd)


def _too_many(spec: FamilySpec, over: list[Picture]) -> list[str]:
    most = spec.references.most if spec.references else 0
    said = f"Made from more pictures than {spec.title} takes, which is {most}: {named(over)}. Leave some of them out"
    return [said] * bool(over)


def apart(buckets: Sequence[Hashable], per_step: int) -> list[str]:
    """A sentence where what pictures are made from has so many sizes that most of them fill no batch.  buckets: of each item of an epoch, engine.data.Item.bucket."""
    whole = [b for b in buckets if isinstance(b, tuple)]
    alike, size = Counter(whole), Counter(b[:3] for b in whole)
    few = sum(alike[b] < per_step <= size[b[:3]] for b in whole)
    if per_step < 2 or few <= len(whole) / 2:
        return []
    many = f"{few} of {len(whole)} pictures share their shape with too few others to fill a batch of {per_step}: what they are made from has many sizes"
    return [f"{many}; crop it to the shape of its picture, or set data.batch_size and optimizer.accumulation to 1"]


def named(pictures: Sequence[Picture]) -> str:
    """The names of the first of them, and how many more there are."""
    names = [p.id for p in pictures]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _why(bare: Iterable[Picture]) -> str:
    """What is wrong with files that could be what a picture is made from, in brackets."""
    broken = [p.control_note for p in bare if p.control_note]
    return f" ({'; '.join(broken[:3])})" if broken else ""
