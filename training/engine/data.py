"""Pictures and captions made ready: planned, encoded once, and handed out as batches that depend only on the step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import registry
from ..config import TrainConfig
from ..data import concepts, datasets, editing, heldout, kinds, pairs, parts
from ..data.captions import SEPARATOR, has_place, kept_apart, trained, with_trigger, without_trigger
from ..data.clips import frames_at
from ..data.controls import Control
from ..data.frames import STILL, Segment, captions_of, left_out, segments
from ..data.masks import Mask
from ..data.treatment import PLAIN, Treatment
from ..family import CONTROL, GEOMETRY, PICTURE, REFERENCE, Cond, FamilySpec, References
from ..formats.beside import needs_control
from ..home import Home
from ..plan.shots import variant, variants
from ..runs.ranks import ALONE, Alone
from . import references
from .ahead import Ahead, moved, pinned
from .buckets import Crop, bucket_sizes, choose, crop_to, plan_epoch
from .cache import Cache, key
from .experts import Turns
from .imageprompts import ImagePrompts
from .lessons import Asked
from .losses import differing
from .noise import draw_noise
from .randomness import generator, number, permutation, unit
from .references import Reference, Spoken
from .texts import Texts

TAG_ORDERS = 8  # shuffled versions of a caption that are encoded; the encoders are gone once training starts


@dataclass(frozen=True)
class Item:
    """One picture, or one piece of a clip, at one size."""

    id: str  # dataset/picture
    path: str
    sha256: str
    captions: tuple[str, ...]  # as trained: with the trigger word; several when the picture has several, or tags are shuffled
    size: tuple[int, int]  # width, height of the picture before it is scaled, px
    crop: Crop
    flips: tuple[bool, ...]  # (False,) or (False, True)
    weight: float = 1.0  # of its loss
    prior: bool = False  # shows what must stay as it is
    named: bool = False  # has a trigger word
    mask: Mask | None = None
    segment: Segment = STILL
    low: Item | None = None  # the low end of a pair whose high end this is
    places: tuple[tuple[int, str], ...] = ()  # (number of a target, context) that it may be trained with, where words are changed
    control: Control | None = None
    treatment: Treatment = PLAIN  # done to the file's picture, and to what lies beside it, before anything else
    references: tuple[Reference, ...] = ()  # what it is made from, where edits are learnt

    @property
    def bucket(self) -> tuple:
        """Width, height, frames, and (width, height) of each thing that it is made from: items of one bucket may share a batch."""
        return self.crop.width, self.crop.height, self.segment.frames, *((r.width, r.height) for r in self.references)

    def latent_key(self, encoder: str, flip: bool) -> str:
        """Where its latents are cached; depends on what the pixels are, not on where the file lies."""
        c, s = self.crop, self.segment
        piece = () if s == STILL else (s.start, s.frames, s.fps)
        return key("latents", encoder, self.sha256, c.scaled, c.left, c.top, c.width, c.height, flip, *piece, *self.turned)

    def first_key(self, encoder: str, flip: bool) -> str:
        """Where what is told of its first frame is cached."""
        return key("first", self.latent_key(encoder, flip))

    def first_frame(self, flip: bool):
        """The first frame of a clip as it is trained, a PIL picture."""
        from PIL import Image

        values = self.pixels(flip)
        first = values[:, 0] if values.ndim == 4 else values
        return Image.fromarray(((first + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())

    @property
    def turned(self) -> tuple[str, ...]:
        """What a cache's key says of the treatment: nothing for a picture that is as its file."""
        return ("turned", self.treatment.view) if self.treatment.view else ()

    def geometry(self, flip: bool) -> dict[str, Tensor]:
        """GEOMETRY of this picture, [6]; mirrored, the crop's left edge is what was its right one."""
        c = self.crop
        left = c.scaled[0] - c.left - c.width if flip else c.left
        return {GEOMETRY: torch.tensor([self.size[1], self.size[0], c.top, left, c.height, c.width])}

    def pixels(self, flip: bool) -> Tensor:
        """[3,H,W] in [-1, 1]; of a clip [3,F,H,W]."""
        s = self.segment
        if s == STILL:
            values = self._cropped(datasets.load_pixels(self.path))
        else:
            values = torch.stack([self._cropped(frame) for frame in frames_at(self.path, s.start, s.frames, s.fps)], dim=1)
        return values.flip(-1).contiguous() if flip else values.contiguous()

    def _cropped(self, picture) -> Tensor:
        from PIL import Image

        picture = self._cut(picture, Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)

    def mask_key(self, stride: int, flip: bool) -> str:
        """Where its mask is cached; depends on what the mask is, not on where its file lies."""
        c = self.crop
        return key("mask", self.mask.sha256, self.mask.kind, stride, c.scaled, c.left, c.top, c.width, c.height, flip, *self.turned)

    def mask_cells(self, stride: int, flip: bool) -> Tensor:
        """How much of each latent cell its mask shows, [1,h,w] in [0, 1]: scaled and cut like the picture, then averaged."""
        from PIL import Image

        shown = self._cut(self.mask.load(), Image.Resampling.BOX)
        values = torch.from_numpy(np.asarray(shown, dtype=np.float32) / 255)[None]
        cells = torch.nn.functional.avg_pool2d(values, stride)
        return cells.flip(-1).contiguous() if flip else cells

    def control_key(self, encoder: str, flip: bool) -> str:
        """Where its control picture is cached; depends on what it is, not on where its file lies.  encoder: "" for pixels."""
        c = self.crop
        return key("control", encoder, self.control.sha256, c.scaled, c.left, c.top, c.width, c.height, flip, *self.turned)

    def control_pixels(self, flip: bool) -> Tensor:
        """Its control picture, [3,H,W] bytes: scaled, cut and mirrored like the picture."""
        from PIL import Image

        values = torch.from_numpy(np.array(self._cut(self.control.load(), Image.Resampling.LANCZOS))).permute(2, 0, 1)
        return (values.flip(-1) if flip else values).contiguous()

    def _cut(self, picture, resampling):
        c = self.crop
        return self.treatment.apply(picture).resize(c.scaled, resampling).crop((c.left, c.top, c.left + c.width, c.top + c.height))


@dataclass(frozen=True)
class Drawn(Item):
    """A picture that the base model drew, to be held (prior) or to be changed by words: path is empty, sha256 says by what it was drawn, and its latents lie in the cache."""

    def latent_key(self, encoder: str, flip: bool) -> str:
        return key("drawn", encoder, self.sha256)


@dataclass(frozen=True)
class Plan:
    """What a run trains on and what it holds back."""

    items: tuple[Item, ...]
    held_out: tuple[Item, ...]
    fingerprint: str  # of the datasets: pictures and captions
    drawn: tuple[tuple[Drawn, ...], ...] = ()  # items that the base model draws before the first step, those of one call together

    @property
    def everything(self) -> tuple[Item, ...]:
        return self.items + self.held_out

    @property
    def encoded(self) -> tuple[Item, ...]:
        """Whose pixels are read, both ends of a pair."""
        return tuple(dict.fromkeys(end for item in self.everything if not isinstance(item, Drawn) for end in (item, item.low) if end))


def plan(config: TrainConfig, home: Home, spec: FamilySpec, divisor: int, warn: Callable[[str], None], before: frozenset[str] = frozenset()) -> Plan:
    """All items of a run that has datasets, in a fixed order.  before: ids of what an earlier attempt held out, which stays so.  Raises ValueError when nothing is left to train on."""
    objective, family = concepts.objective_of(config, home.plugins), registry.get("families", spec.id, home.plugins)
    words, paired, edits = concepts.by_words(objective), concepts.in_pairs(objective), editing.edits(objective)
    controlled = needs_control(registry.get("adapters", config.adapter.type, home.plugins))
    pictures = []
    prints = []
    sources = {}
    for use in config.data.datasets:
        taken = parts.taken(home, use)
        sources[taken.ds.name] = taken.ds
        prints.append([taken.fingerprint(config.loss.masked, controlled), use.repeats, *([_made_from(taken.pictures())] if edits else [])])
        pictures += [(use, taken.ds.name, p) for p in taken.pictures() if p.usable]
    if not pictures:
        raise ValueError(f"the dataset {config.data.datasets[0].name!r} has no usable picture; add some on the Dataset tab")
    others = _low_ends(config, home, pictures, prints, warn) if paired else {}
    pictures = [(use, name, p) for use, name, p in pictures if not paired or (name, p.id) in others]
    said = left_out(((use, p) for use, _, p in pictures), config.data, spec)
    pictures = [row for row in pictures if segments(row[2], row[0], config.data, spec)]
    if not pictures:
        raise ValueError(f"nothing is left to train on: {'; '.join(said)}")
    for text in said:
        warn(text)
    if controlled:
        pictures = _with_control(pictures, warn)
    for text in editing.faults(config, spec, pictures) if edits else ():
        raise ValueError(text)
    new = [at for at, (use, _, _) in enumerate(pictures) if not use.prior]
    if not new:
        raise ValueError("the only usable pictures are those that are kept as they are; add pictures to learn from on the Dataset tab")
    held = _held_out(config, pictures, new, sources, before, warn)
    changing = config.data.shuffle_tags or config.data.tag_dropout > 0
    about = [] if words else kinds.remarks([pictures[at][2].captions for at in new], config.data.caption_kinds, changing)
    for text in (*_without_word(config, [pictures[at] for at in new], words), *_idle_words(config, words), *about):
        warn(text)
    _say_masks(config, [pictures[at][2] for at in new], warn)

    items: list[Item] = []
    kept_back: list[Item] = []
    small = []
    for number_, (use, name, picture) in enumerate(pictures):
        word = use.word(config.trigger)
        for side in config.data.sides(use):
            sizes = bucket_sizes(side, divisor, config.data.max_aspect if config.data.aspect_buckets else 1.0)
            crop = crop_to(picture.width, picture.height, choose(picture.width, picture.height, sizes), picture.focus)
            if not config.data.upscale and (crop.scaled[0] > picture.width or crop.scaled[1] > picture.height):
                small.append(picture.id)
                continue
            for segment in segments(picture, use, config.data, spec):
                other = others.get((name, picture.id))
                places = _places(config, picture.captions) if words else ()
                shape = {"size": (picture.width, picture.height), "crop": crop, "flips": (False, True) if config.data.flip else (False,), "segment": segment}
                item = Item(
                    f"{name}/{picture.id}", str(picture.path), picture.sha256,
                    _targets_said(config, places) if words else _captions(config, captions_of(picture, segment, sources[name].lines) or (other.captions if other else ()), word),
                    weight=use.weight, prior=use.prior, named=bool(word), mask=picture.mask if config.loss.masked and not use.prior else None, places=places, control=picture.control if controlled else None,
                    references=references.of(picture, crop, family) if edits else (),
                    low=Item(f"{name}/{other.id}", str(other.path), other.sha256, (), treatment=other.treatment, **shape) if other else None, treatment=picture.treatment, **shape,
                )  # fmt: skip
                if number_ in held:
                    kept_back.append(item)
                else:
                    items += [item] * (use.repeats * picture.repeats)
    if small:
        warn(f"{len(set(small))} pictures are smaller than their training size and are left out: {', '.join(sorted(set(small))[:5])}")
    if all(item.prior for item in items):
        raise ValueError("every picture is smaller than its training size; lower data.resolutions, or switch data.upscale on")
    for text in editing.apart([item.bucket for item in items], config.data.batch_size * config.optimizer.accumulation) if edits else ():
        warn(text)
    return Plan(tuple(items), tuple(kept_back), key(*prints))


def _made_from(pictures: Sequence[datasets.Picture]) -> list[list[str]]:
    """What each picture is made from, by hashes, whatever the files are called."""
    return sorted([p.sha256, *(r.sha256 for r in p.references)] for p in pictures if p.usable)


def _low_ends(config: TrainConfig, home: Home, pictures: list, prints: list, warn: Callable[[str], None]) -> dict[tuple[str, str], datasets.Picture]:
    """{(dataset, high end): its low end}.  Raises ValueError where the pairs are not whole."""
    lows = None
    if config.concept.low:
        other = datasets.resolve(home, config.concept.low)
        prints.append([other.fingerprint(config.loss.masked), "low"])
        lows = [p for p in other.pictures() if p.usable]
    found = {}
    for name in dict.fromkeys(name for _, name, _ in pictures):
        mine = list({p.id: p for _, of, p in pictures if of == name}.values())
        found |= {(name, id): low for id, low in pairs.partners(mine, lows).items()}
    told = {(name, p.id): p.caption.strip() for _, name, p in pictures}
    differ = [id for (name, id), low in found.items() if told[name, id] and low.caption.strip() and told[name, id] != low.caption.strip()]
    if differ:
        warn(f"the two ends of {len(differ)} pairs have different captions; those of the high ends are used, as both ends are trained with the same words: {', '.join(differ[:5])}")
    return found


def _places(config: TrainConfig, captions: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """(number of a target, context) that a picture is trained with: its captions around the targets that they name, else every context around every target."""
    c = config.concept
    own = [(at, context) for at, t in enumerate(c.targets) for caption in captions if (context := concepts.context_of(" ".join(caption.split()), t.target))]
    return tuple(dict.fromkeys(own)) or tuple((at, context) for at in range(len(c.targets)) for context in c.contexts)


def _targets_said(config: TrainConfig, places: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(concepts.in_context(context, config.concept.targets[at].target) for at, context in places))


def taught(config: TrainConfig, objective, items: Sequence[Item]) -> set[str]:
    """Every sentence that is asked for where words are changed."""
    c = config.concept
    places = {place for item in items for place in item.places}
    lessons = [objective.lesson(c.targets[at], context, (*c.anchors, "")[0], c) for at, context in places]
    return {s for lesson in lessons for s in lesson.sentences} | set(c.anchors)


def _with_control(pictures: list[tuple], warn: Callable[[str], None]) -> list[tuple]:
    """Those (use, name, picture) that have a control picture.  Raises ValueError where none has; says which are left out."""
    bare = [picture for _, _, picture in pictures if picture.control is None]
    broken = [p.control_note for p in bare if p.control_note]
    why = f"; {'; '.join(broken[:3])}" if broken else ""
    if len(bare) == len(pictures):
        raise ValueError(f"no picture has a control picture to learn from; put name.control.png beside name.jpg, or make them on the Dataset tab{why}")
    if bare:
        warn(f"{len(bare)} of {len(pictures)} pictures have no control picture and are left out: {', '.join(p.id for p in bare[:5])}{why}")
    return [row for row in pictures if row[2].control]


def _say_masks(config: TrainConfig, pictures: list[datasets.Picture], warn: Callable[[str], None]) -> None:
    files = sum(p.mask is not None and p.mask.kind == "file" for p in pictures)
    if not config.loss.masked and files:
        warn(f"{files} of {len(pictures)} pictures have a mask, but loss.masked is off: they are learnt whole")
    if config.loss.masked and not any(p.mask for p in pictures):
        warn("loss.masked has no effect: no picture has a mask; put name.mask.png beside name.jpg, or use pictures with transparent parts")
    broken = [p.mask_note for p in pictures if config.loss.masked and p.mask_note]
    if broken:
        warn(f"{len(broken)} masks cannot be used, and their pictures are learnt whole: {'; '.join(broken[:5])}")


def _held_out(config: TrainConfig, pictures: list[tuple], new: list[int], sources: dict[str, datasets.Dataset], before: frozenset[str], warn: Callable[[str], None]) -> set[int]:
    """Which of the (use, name, picture) are kept out of training.  new: those that are learnt; one that several datasets have is held out of all of them."""
    wanted = config.data.held_out
    first = list({pictures[at][2].sha256: at for at in reversed(new)}.values())[::-1]  # each picture where it stands first
    if wanted and wanted > len(first) - 1:
        raise ValueError(f"data.held_out is {wanted}, but there are only {len(first)} pictures; at least one must be left to train on")
    if not wanted:
        return set()
    digests = {pictures[at][2].sha256 for at in first if f"{pictures[at][1]}/{pictures[at][2].id}" in before}
    if len(digests) != wanted:
        by_source: dict[str, list[datasets.Picture]] = {}
        for at in sorted(first):
            by_source.setdefault(pictures[at][1], []).append(pictures[at][2])
        known = [one for name, mine in by_source.items() for one in heldout.candidates(sources[name], mine)]
        digests = heldout.chosen(known, wanted, permutation(len(known), config.seed, "held out"))
    if len(digests) < wanted:
        warn(f"{len(digests)} pictures are held out instead of {wanted}: the others have twins, and a picture whose twin is learnt measures nothing")
    return {at for at in new if pictures[at][2].sha256 in digests}


def _without_word(config: TrainConfig, learnt: list[tuple], words: bool) -> list[str]:
    """What to know of (use, name, picture) that have no trigger word."""
    bare = [] if words else [picture for use, _, picture in learnt if not use.word(config.trigger)]
    silent, nameless = sum(not p.caption.strip() for p in bare), sum(has_place(p.caption) for p in bare)
    said = [f"{silent} of {len(learnt)} pictures have no caption and there is no trigger word: they are learnt without words"] if silent else []
    return said + [f"{nameless} captions have a place for the trigger word, [trigger] or [name], but there is none: it is left out of them"] * bool(nameless)


def _idle_words(config: TrainConfig, words: bool) -> list[str]:
    """A sentence on each trigger word that is set and not used."""
    uses = config.data.datasets
    why = {use.name: "words say what changes" if words else "it is kept as it is, without one" for use in uses if use.trigger and (words or use.prior)}
    said = [f"data.datasets has a trigger word of its own for {name!r}, which has no effect: {text}" for name, text in why.items()]
    unused = not words and config.trigger and config.trigger not in config.triggers
    return said + ["trigger has no effect on what is learnt: every dataset has a trigger word of its own, or none"] * bool(unused)


def _captions(config: TrainConfig, captions: tuple[str, ...], trigger: str) -> tuple[str, ...]:
    """The picture's captions as they are trained, each as often as the others: one of the tuple is drawn at each use."""
    groups = kinds.chosen(captions, config.data.caption_kinds)
    return _evenly([_evenly([_worded(config, wording, trigger) for wording in group]) for group in groups])


def _evenly(made: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """All of them by turns, those of a short one again as often as those of the longest."""
    if len(made) == 1:
        return made[0]
    most = max(map(len, made))
    return tuple(orders[n % len(orders)] for n in range(most) for orders in made)


def _worded(config: TrainConfig, wording: kinds.Wording, trigger: str) -> tuple[str, ...]:
    """All that is trained of one caption."""
    texts = _wordings(config, " ".join(wording.text.split()))
    return tuple(o for text in texts for o in (_orders(config, text, trigger) if wording.loose else (trained(text, trigger),)))


def _wordings(config: TrainConfig, caption: str) -> tuple[str, ...]:
    """What a caption with {a|b} stands for: all of it, or TAG_ORDERS of more."""
    count = variants(caption)
    if count == 1:
        return (caption,)
    chosen = range(count) if count <= TAG_ORDERS else (number("wording", config.seed, caption, n) % count for n in range(TAG_ORDERS))
    return tuple(dict.fromkeys(variant(caption, n) for n in chosen))


def _orders(config: TrainConfig, caption: str, trigger: str) -> tuple[str, ...]:
    """One caption as it is trained: with the trigger word; where tags are shuffled or dropped, in several orders, each without some of them."""
    if not config.data.shuffle_tags and not config.data.tag_dropout:
        return (trained(caption, trigger),)
    caption = with_trigger(caption, trigger)
    front, middle, back = (_tags(part) for part in kept_apart(caption))
    if SEPARATOR not in caption:
        front, middle = middle[: config.data.keep_tags], middle[config.data.keep_tags :]
    orders = [permutation(len(middle), config.seed, "tags", caption, n) if config.data.shuffle_tags else range(len(middle)) for n in range(TAG_ORDERS)]
    stays = lambda n, i: (trigger and concepts.mentions(middle[i], trigger)) or unit("tag dropout", config.seed, caption, n, i) >= config.data.tag_dropout
    kept = [[middle[i] for i in order if stays(n, i)] or [middle[i] for i in order if not front and not back] for n, order in enumerate(orders)]
    return tuple(dict.fromkeys(", ".join([*front, *order, *back]) for order in kept))


def _tags(text: str) -> list[str]:
    return [t.strip() for t in text.split(",") if t.strip()]


def bare_captions(item: Item, triggers: Sequence[str]) -> list[str]:
    """An item's captions without any of the trigger words, as far as something is left; none of one that holds no trigger word: they are what is learnt."""
    if not item.named:
        return []
    made = item.captions
    for trigger in triggers:
        made = [without_trigger(caption, trigger) for caption in made]
    return [bare for bare in made if bare]


@dataclass
class Batch:
    """One micro-batch.  latents, noise: [B,C,h,w] (video: [B,C,f,h,w]) fp32; t: [B]; weight: its share of the optimizer step.

    captions: as the pictures are trained with.  weights: [B], of each picture's loss.  prior: rows that must give what the base model makes
    of them; base: what that is.  keeps: those of them that are there to keep what it knows, see KeepPart.  mask: how much of each cell is to be learnt, [B,1,h,w] (video: [B,1,1,h,w]) in [0, 1]; None where no loss is masked.
    """

    latents: Tensor
    noise: Tensor
    t: Tensor
    cond: Cond
    ids: list[str]
    weight: float
    weights: Tensor
    prior: list[int]
    captions: list[str]
    keeps: list[int] = field(default_factory=list)
    base: Tensor | None = None
    mask: Tensor | None = None
    low: Tensor | None = None  # latents of the low ends, where pairs are learnt
    cells: Tensor | None = None  # how much each cell counts there, losses.differing()
    asked: Asked | None = None  # where words are changed


class Weighed(NamedTuple):
    """From `step` on (steps done) every item of this picture counts so much; 0: others take its turns."""

    step: int
    sha256: str
    weight: float


class Row(NamedTuple):
    """A picture in a step.  place: its number there, by which everything about it is drawn.  keeps: it is there to keep what the base model knows."""

    item: Item
    place: int
    keeps: bool = False
    counts: float = 1.0  # of its loss, beside the item's own weight


class Feed:
    """Batches by step number: the same step gives the same batch, whatever happened before."""

    def __init__(self, config: TrainConfig, plan: Plan, cache: Cache, latent_print: str, texts: Texts, schedule, device: str, sentences: Sequence[str] = (), objective=None, shown: str = "", prompts: ImagePrompts | None = None, takes: References | None = None, turns: Turns | None = None, first_print: str = ""):
        self.takes = takes  # how the family is shown what pictures are made from; None where no edits are learnt
        self.objective, self.words = objective, concepts.by_words(objective)
        self.sentences = sentences  # that hold what the base model knows
        self.drawn: dict[tuple, list[Drawn]] = {}  # {bucket: what the base model drew of them}; the loop fills it where keep.drawn asks for it
        self.config, self.plan, self.cache, self.schedule, self.device = config, plan, cache, schedule, device
        self.built_on = device  # where batches are put together; RAM where that is done ahead
        self._ahead: Ahead | None = None
        self.latent_print, self.texts = latent_print, texts
        self.shown = shown  # what the network beside the denoiser is shown: Beside.shown; "" where there is none
        self.weighed = [Weighed(row.step, row.picture, row.weight) for row in config.data.weighed]  # in the order in which it was asked for; the loop adds what is asked for during the run
        self.first_print = first_print  # by which what is told of first frames is cached; "" where nothing is
        self.turns = turns  # of two denoisers: which of them a step trains
        self.prompts = prompts  # of the pictures, where it is shown those
        self._sizes = [i.bucket for i in plan.items]
        self._epochs: dict[int, list[list[int]]] = {}
        self.per_step = config.data.batch_size * config.optimizer.accumulation
        self.steps_per_epoch = len(self._epoch(0))

    def _epoch(self, epoch: int) -> list[list[int]]:
        found = self._epochs.get(epoch)
        if found is None:
            found = plan_epoch(self._sizes, self.per_step, self.config.seed, epoch)
            self._epochs = {epoch: found}  # whole, for who prepares the next step may ask at the same moment
        return found

    def look_ahead(self, ranks: Alone) -> None:
        """From now on each step's batches are made while the one before is computed."""
        self.built_on = "cpu"
        carded = self.device == "cuda"
        self._ahead = Ahead(lambda step: [pinned(batch) if carded else batch for batch in self._made(step, ranks)], self.config.steps)

    def weigh(self, step: int, sha256: str, weight: float) -> None:
        """From `step` on (steps done) a picture counts so much; what was made ahead is made again."""
        self.weighed.append(Weighed(step, sha256, weight))
        if self._ahead:
            self._ahead.drop()

    def close(self) -> None:
        """Nothing is made ahead any more."""
        if self._ahead:
            self._ahead.close()
        self._ahead, self.built_on = None, self.device

    def at(self, step: int) -> list[Batch]:
        """All micro-batches of a step, at once."""
        return list(self.shared(step, ALONE))

    def shared(self, step: int, ranks: Alone) -> Iterator[Batch]:
        """The micro-batches of optimizer step `step` (from 0): together one batch of batch_size * accumulation, and what keeps the base.

        Of several ranks each has its share: micro-batch m is made by number m modulo their count, so that a step may leave some without any.
        Lazily: torch's own generator, from which dropout draws, is seeded for each before its words are encoded, and whoever asks has learnt from one
        before asking for the next.
        """
        parts, whole = self._parts(step)
        mine = ranks.share(list(enumerate(parts)))
        ready = self._ahead.at(step) if self._ahead else None
        for at, (m, part) in enumerate(mine):
            torch.manual_seed(number("dropout", self.config.seed, step, *([m] if m else [])))
            yield moved(ready[at], self.device) if ready else self._batch(step, part, whole)

    def _made(self, step: int, ranks: Alone) -> list[Batch]:
        """The same at once, without seeding: for whoever prepares a step while another one is computed."""
        parts, whole = self._parts(step)
        return [self._batch(step, part, whole) for part in ranks.share(parts)]

    def _parts(self, step: int) -> tuple[list[list[Row]], float]:
        """(the rows of each micro-batch of a step, what a picture's share is of)."""
        # every epoch has as many batches: it holds the same items, and so the same number in each bucket
        numbers = self._numbers(step)
        counts = self.weights_at(step)
        size, keep = self.config.data.batch_size, self.config.keep
        whole = len(numbers) * (1 + keep.share * keep.on)  # the same at every step, so that a picture counts alike whether one more holds the base or not
        learnt = [Row(item := self.plan.items[n], place, counts=counts.get(item.sha256, 1.0)) for place, n in enumerate(numbers)]
        held = [Row(row.item, row.place, keeps=True) for row in learnt if keep.on and self._held(step, row)]
        parts = [learnt[at : at + size] for at in range(0, len(learnt), size)]
        if keep.together:
            parts = [part + [row for row in held if part[0].place <= row.place <= part[-1].place] for part in parts]
        else:
            parts += [held[at : at + size] for at in range(0, len(held), size)]
        return parts, whole

    def learnt(self, step: int) -> list[str]:
        """The ids of all pictures that are learnt in a step, whoever learns them."""
        return [self.plan.items[n].id for n in self._numbers(step)]

    def weights_at(self, step: int) -> dict[str, float]:
        """{sha256 of a picture: how much it counts at a step}, of those that were weighed by then."""
        return {row.sha256: row.weight for row in self.weighed if row.step <= step}

    def _numbers(self, step: int) -> list[int]:
        """Which items a step learns: those whose turn it is, and in the place of one that was set aside another of its size, drawn by counter."""
        numbers = self._epoch(step // self.steps_per_epoch)[step % self.steps_per_epoch]
        aside = {sha256 for sha256, weight in self.weights_at(step).items() if not weight}
        if not aside:
            return numbers
        return [self._instead(n, aside, step, place) if self.plan.items[n].sha256 in aside else n for place, n in enumerate(numbers)]

    def _instead(self, n: int, aside: set[str], step: int, place: int) -> int:
        """An item of the same size and the same kind; itself, which then counts nothing, where all of these were set aside."""
        gone = self.plan.items[n]
        others = [m for m, item in enumerate(self.plan.items) if item.sha256 not in aside and (item.bucket, item.prior) == (gone.bucket, gone.prior)]
        return others[number("instead", self.config.seed, step, place) % len(others)] if others else n

    def _held(self, step: int, row: Row) -> bool:
        """Whether this picture is noised once more to hold the base: keep.share of those that are learnt, evenly spread."""
        count, share = step * self.per_step + row.place, self.config.keep.share
        return not row.item.prior and int((count + 1) * share) > int(count * share)

    def _other_words(self, item: Item, where: tuple) -> str:
        """What a picture is called where it holds the base: nothing, its own caption without the trigger word, or somebody else's sentence."""
        keep, chance = self.config.keep, unit("words", *where)
        if chance < keep.empty:
            return ""
        if isinstance(item, Drawn) and item.prior:
            return item.captions[0]
        own = [] if self.words else bare_captions(item, self.config.triggers)
        if chance < keep.empty + keep.own and own:
            return own[number("order", *where) % len(own)]
        return self.sentences[number("sentence", *where) % len(self.sentences)]

    def _drawn_for(self, step: int, row: Row) -> Row:
        """What is held in the place of a learnt picture: one of its size that the base model drew."""
        made = self.drawn[row.item.bucket]
        return row._replace(item=made[number("drawn", self.config.seed, step, row.place) % len(made)])

    def _batch(self, step: int, rows: list[Row], whole: float) -> Batch:
        rows = [self._drawn_for(step, row) if row.keeps and self.drawn else row for row in rows]
        latents, noise, times, captions, geometry, masks, lows, lessons = [], [], [], [], [], [], [], []
        alone = self._without_references(step, rows[0])
        said: list[Spoken] = []
        levels = self.turns.schedule(step) if self.turns else self.schedule
        for item, place, keeps, _ in rows:
            where = ("keep",) * keeps + (self.config.seed, step, place)
            flip = item.flips[number("flip", *where) % len(item.flips)]
            clean = self.cache.get(item.latent_key(self.latent_print, flip))["latents"]
            draw = generator("noise", *where)
            times.append(levels.pick(draw, clean.shape))
            noise.append(draw_noise(clean.shape, draw, self.config.loss))
            masks.append(self._mask(item, flip, clean, keeps))
            if self.words and not keeps:
                lessons.append(self._lesson(item, where))
            captions.append(self._other_words(item, where) if keeps else lessons[-1].sentences[0] if self.words else self._words(item, where))
            latents.append(clean)
            geometry.append(item.geometry(flip) | self._shown(item, flip, self._unshown(where)) | ({} if alone else self._made_from(item, flip)))
            said.append(captions[-1] if alone else self.said(captions[-1], item, flip))
            if item.low and not keeps:
                lows.append(self.cache.get(item.low.latent_key(self.latent_print, flip))["latents"])
        conds = [row | where for row, where in zip(self.texts.rows(said), geometry, strict=True)]
        batch = self._together(latents, noise, times, conds, rows, masks, len(rows) / whole, captions)
        if lows:
            batch.low = torch.stack(lows).to(self.built_on)
            batch.cells = differing(batch.latents, batch.low, self.config.concept.focus)
        batch.asked = self._asked(lessons, geometry) if lessons else None
        return batch

    def _lesson(self, item: Item, where: tuple) -> concepts.Lesson:
        """What one use of a picture teaches, where words are changed."""
        c = self.config.concept
        at, context = item.places[number("place", *where) % len(item.places)]
        anchor = c.anchors[number("anchor", *where) % len(c.anchors)] if c.anchors else ""
        return self.objective.lesson(c.targets[at], context, anchor, c)

    def _asked(self, lessons: list[concepts.Lesson], geometry: list[dict]) -> Spoken:
        said = [self.texts.rows(list(sentences)) for sentences in zip(*(lesson.sentences for lesson in lessons), strict=True)]  # [sentence][row]
        conds = [Cond.of([row | where for row, where in zip(rows, geometry, strict=True)]).to(self.built_on) for rows in said]
        return Asked.of(lessons, conds, self.built_on)

    def told(self, item: Item, flip: bool) -> dict[str, Tensor]:
        """All that the denoiser is told of an item under its first caption, without a batch dimension."""
        return self.texts.row(self.said(item.captions[0], item, flip)) | item.geometry(flip) | self._shown(item, flip) | self._made_from(item, flip)

    def said(self, text: str, item: Item, flip: bool) -> Spoken:
        """What a text encoder is asked for a caption of an item: the caption alone, or together with what the item is made from."""
        return references.spoken(self.takes, text, item.references, flip)

    def _made_from(self, item: Item, flip: bool) -> dict[str, Tensor]:
        """REFERENCE 0, 1, ... of an item, each [C,h,w]; none where it is a plain picture."""
        return {REFERENCE.format(n=n): self.cache.get(r.key(self.latent_print, flip))["reference"] for n, r in enumerate(item.references)}

    def _without_references(self, step: int, first: Row) -> bool:
        """Whether a micro-batch is learnt from its captions alone: all of its rows alike, as they share their shapes.  first: its first row."""
        if not self.takes or self.takes.needed:
            return False
        return unit("references", *("keep",) * first.keeps, self.config.seed, step, first.place) < self.config.edit.dropout

    def _unshown(self, where: tuple) -> bool:
        """Whether what hangs beside the denoiser is shown nothing of this picture.

        Caption and picture as prompts are dropped by one draw, as in IP-Adapter's paper: a share each alone, and a share together.
        """
        adapter = self.config.adapter
        if not self.prompts:
            return unit("control", *where) < adapter.control_dropout
        return 0 <= unit("caption", *where) - self.config.data.caption_dropout < adapter.both_dropout + adapter.picture_dropout

    def _shown(self, item: Item, flip: bool, dropped: bool = False) -> dict[str, Tensor]:
        """CONTROL or PICTURE of this picture, what stands for nothing where it is dropped, or what encode_first said of its first frame; else nothing."""
        if self.first_print:
            return self.cache.get(item.first_key(self.first_print, flip))
        if not self.shown:
            return {}
        if self.prompts:
            return {PICTURE: self.prompts.nothing() if dropped else self.prompts.of(item, flip)}
        control = self.cache.get(item.control_key(self.latent_print if self.shown == "latents" else "", flip))["control"]
        control = control.float() / 255 if self.shown == "pixels" else control
        return {CONTROL: torch.zeros_like(control) if dropped else control}

    def _words(self, item: Item, where: tuple) -> str:
        dropout = self.config.data.prior_caption_dropout if item.prior else self.config.data.caption_dropout
        dropout += self.config.adapter.both_dropout if self.prompts else 0.0
        dropped = unit("caption", *where) < dropout
        return "" if dropped else item.captions[number("order", *where) % len(item.captions)]

    def _mask(self, item: Item, flip: bool, clean: Tensor, keeps: bool = False) -> Tensor | None:
        """[1,h,w], for video [1,1,h,w]; a picture without a mask is shown whole, and so is one that keeps the base.  None where the loss is not masked."""
        if not self.config.loss.masked:
            return None
        cells = clean.new_ones(1, *clean.shape[-2:])
        if item.mask and not keeps:
            cells = self.cache.get(item.mask_key(item.crop.height // clean.shape[-2], flip))["mask"]
        return cells[:, None] if clean.ndim == 4 else cells

    def validation(self, per_picture: int, most: int) -> list[tuple[list[int], Batch]]:
        """(places, batch): each held-out picture at `per_picture` fixed timesteps with fixed plain noise, the same at every call; at most `most` of one size together.

        places: of each of its rows among all, picture by picture and level by level.
        """
        groups: dict[tuple, list[tuple[int, int]]] = {}
        for index, item in enumerate(self.plan.held_out):
            groups.setdefault(item.bucket, []).extend((index, n) for n in range(per_picture))
        parts = [rows[at : at + most] for rows in groups.values() for at in range(0, len(rows), most)]
        return [([index * per_picture + n for index, n in part], self._validation(part, per_picture)) for part in parts]

    def _validation(self, part: list[tuple[int, int]], per_picture: int) -> Batch:
        """part: (held-out picture, level)."""
        items = [self.plan.held_out[index] for index, _ in part]
        clean = [self.clean(item) for item in items]
        noise = [torch.randn(c.shape, generator=generator("validation", self.config.seed, *at)) for c, at in zip(clean, part, strict=True)]
        times = [self.schedule.at((n + 0.5) / per_picture) for _, n in part]
        masks = [self._mask(item, False, c) for item, c in zip(items, clean, strict=True)]
        return moved(self._together(clean, noise, times, [self.told(item, False) for item in items], [Row(item, 0) for item in items], masks, 1.0, [item.captions[0] for item in items]), self.device)

    def clean(self, item: Item) -> Tensor:
        """An item's latents as they were encoded, not mirrored, [C,...]."""
        return self.cache.get(item.latent_key(self.latent_print, False))["latents"]

    def unshown(self, item: Item) -> dict[str, Tensor]:
        """All that the denoiser is told besides words, of a picture of an item's shape, where nothing is shown to what hangs beside it, nor what it is made from unless that is needed."""
        return item.geometry(False) | self._shown(item, False, dropped=True) | (self._made_from(item, False) if self._needs else {})

    def unshown_words(self, text: str, item: Item) -> Spoken:
        """What a text encoder is asked for a sentence beside that."""
        return self.said(text, item, False) if self._needs else text

    @property
    def _needs(self) -> bool:
        return bool(self.takes and self.takes.needed)

    def _together(self, latents, noise, times, conds, rows: list[Row], masks, weight, captions) -> Batch:
        move = lambda t: t.to(self.built_on, non_blocking=True)
        to_base = self.config.loss.prior_target == "base"
        return Batch(
            move(torch.stack(latents)), move(torch.stack(noise)), move(torch.tensor(times)), Cond.of(conds).to(self.built_on), [row.item.id for row in rows],
            weight, move(torch.tensor([self.config.keep.weight if row.keeps else row.item.weight * row.counts for row in rows])),
            [at for at, row in enumerate(rows) if row.keeps or (row.item.prior and to_base)], captions, [at for at, row in enumerate(rows) if row.keeps],
            mask=None if masks[0] is None else move(torch.stack(masks)),
        )  # fmt: skip


def caption_record(plan: Plan) -> list[dict]:
    """What is trained on, for the run's record: each item with the caption, size and crop it is trained with, and how many times it is seen in an epoch."""
    rows, times = {}, Counter(plan.items)
    for item in plan.everything:
        c, s = item.crop, item.segment
        piece = {} if s == STILL else {"start": s.start, "frames": s.frames, "fps": s.fps}
        piece |= {"weight": item.weight} if item.weight != 1 else {}
        rows[item.id, c.width, c.height, s, item.captions, item.weight] = {
            "id": item.id, "captions": list(dict.fromkeys(item.captions)), "bucket": [c.width, c.height], "scaled": list(c.scaled),
            "crop": [c.left, c.top], "times": times[item], "held_out": item in plan.held_out, "prior": item.prior, **piece, **({"low": item.low.id} if item.low else {}), **_edit_record(item), **({"turned": item.treatment.view} if item.turned else {}),
        }  # fmt: skip
    return list(rows.values())


def _edit_record(item: Item) -> dict:
    return {"made_from": [{"file": r.control.path.name, "size": [r.width, r.height], "whole": r.crop is None} for r in item.references]} if item.references else {}
