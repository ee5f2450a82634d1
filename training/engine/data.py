"""Pictures and captions made ready: planned, encoded once, and handed out as batches that depend only on the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import datasets
from ..captions import with_trigger
from ..config import TrainConfig
from ..family import GEOMETRY, Cond
from ..home import Home
from .buckets import Crop, bucket_sizes, choose, crop_to, plan_epoch
from .cache import Cache, key
from .randomness import generator, number, permutation, unit
from .texts import Texts

TAG_ORDERS = 8  # shuffled versions of a caption that are encoded; the encoders are gone once training starts


@dataclass(frozen=True)
class Item:
    """One picture at one size."""

    id: str  # dataset/picture
    path: str
    sha256: str
    captions: tuple[str, ...]  # as trained: trigger in front; several when tags are shuffled
    size: tuple[int, int]  # width, height of the file's picture, px
    crop: Crop
    flips: tuple[bool, ...]  # (False,) or (False, True)
    weight: float = 1.0  # of its loss
    prior: bool = False  # shows what must stay as it is

    def latent_key(self, encoder: str, flip: bool) -> str:
        """Where its latents are cached; depends on what the pixels are, not on where the file lies."""
        c = self.crop
        return key("latents", encoder, self.sha256, c.scaled, c.left, c.top, c.width, c.height, flip)

    def geometry(self, flip: bool) -> dict[str, Tensor]:
        """GEOMETRY of this picture, [6]; mirrored, the crop's left edge is what was its right one."""
        c = self.crop
        left = c.scaled[0] - c.left - c.width if flip else c.left
        return {GEOMETRY: torch.tensor([self.size[1], self.size[0], c.top, left, c.height, c.width])}

    def pixels(self, flip: bool) -> Tensor:
        """[3,H,W] in [-1, 1]."""
        from PIL import Image

        c = self.crop
        picture = datasets.load_pixels(self.path).resize(c.scaled, Image.Resampling.LANCZOS)
        picture = picture.crop((c.left, c.top, c.left + c.width, c.top + c.height))
        values = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)
        return values.flip(-1).contiguous() if flip else values.contiguous()


@dataclass(frozen=True)
class Plan:
    """What a run trains on and what it holds back."""

    items: tuple[Item, ...]
    held_out: tuple[Item, ...]
    fingerprint: str  # of the datasets: pictures and captions

    @property
    def everything(self) -> tuple[Item, ...]:
        return self.items + self.held_out


def plan(config: TrainConfig, home: Home, divisor: int, warn: Callable[[str], None]) -> Plan:
    """All items of a run, in a fixed order.  Raises ValueError when nothing is left to train on."""
    pictures = []
    prints = []
    for use in config.data.datasets:
        dataset = datasets.resolve(home, use.name)
        prints.append([dataset.fingerprint(), use.repeats])
        pictures += [(use, dataset.name, p) for p in dataset.pictures() if p.usable]
    if not pictures:
        raise ValueError(f"the dataset {config.data.datasets[0].name!r} has no usable picture; add some on the Dataset tab")
    new = [at for at, (use, _, _) in enumerate(pictures) if not use.prior]
    if not new:
        raise ValueError("the only usable pictures are those that are kept as they are; add pictures to learn from on the Dataset tab")
    held = {new[at] for at in _held_out(config, len(new))}
    silent = [pictures[at][2].id for at in new if not pictures[at][2].caption.strip()]
    if silent and not config.trigger:
        warn(f"{len(silent)} of {len(new)} pictures have no caption and there is no trigger word: they are learnt without words")

    items: list[Item] = []
    kept_back: list[Item] = []
    small = []
    for number_, (use, name, picture) in enumerate(pictures):
        for side in config.data.resolutions:
            sizes = bucket_sizes(side, divisor, config.data.max_aspect if config.data.aspect_buckets else 1.0)
            crop = crop_to(picture.width, picture.height, choose(picture.width, picture.height, sizes))
            if not config.data.upscale and (crop.scaled[0] > picture.width or crop.scaled[1] > picture.height):
                small.append(picture.id)
                continue
            item = Item(
                f"{name}/{picture.id}", str(picture.path), picture.sha256,
                _captions(config, picture.caption, "" if use.prior else config.trigger), (picture.width, picture.height), crop,
                (False, True) if config.data.flip else (False,), use.weight, use.prior,
            )  # fmt: skip
            if number_ in held:
                kept_back.append(item)
            else:
                items += [item] * use.repeats
    if small:
        warn(f"{len(set(small))} pictures are smaller than their training size and are left out: {', '.join(sorted(set(small))[:5])}")
    if all(item.prior for item in items):
        raise ValueError("every picture is smaller than its training size; lower data.resolutions, or switch data.upscale on")
    return Plan(tuple(items), tuple(kept_back), key(*prints))


def _held_out(config: TrainConfig, count: int) -> set[int]:
    wanted = config.data.held_out
    if wanted and wanted > count - 1:
        raise ValueError(f"data.held_out is {wanted}, but there are only {count} pictures; at least one must be left to train on")
    return set(permutation(count, config.seed, "held out")[:wanted])


def _captions(config: TrainConfig, caption: str, trigger: str) -> tuple[str, ...]:
    """The caption as it is trained: with the trigger word, and in several tag orders when they are shuffled."""
    caption = with_trigger(" ".join(caption.split()), trigger)
    if not config.data.shuffle_tags:
        return (caption,)
    tags = [t.strip() for t in caption.split(",") if t.strip()]
    front, rest = tags[: config.data.keep_tags], tags[config.data.keep_tags :]
    orders = [[rest[i] for i in permutation(len(rest), config.seed, "tags", caption, n)] for n in range(TAG_ORDERS)]
    return tuple(dict.fromkeys(", ".join(front + order) for order in orders))


@dataclass
class Batch:
    """One micro-batch.  latents, noise: [B,C,h,w] (video: [B,C,f,h,w]) fp32; t: [B]; weight: its share of the optimizer step.

    captions: as the pictures are trained with.  weights: [B], of each picture's loss.  prior: rows that must stay as they are; base: what the base model says of them.
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
    base: Tensor | None = None


class Feed:
    """Batches by step number: the same step gives the same batch, whatever happened before."""

    def __init__(self, config: TrainConfig, plan: Plan, cache: Cache, latent_print: str, texts: Texts, schedule, device: str):
        self.config, self.plan, self.cache, self.schedule, self.device = config, plan, cache, schedule, device
        self.latent_print, self.texts = latent_print, texts
        self._sizes = [(i.crop.width, i.crop.height) for i in plan.items]
        self._epochs: dict[int, list[list[int]]] = {}
        self.per_step = config.data.batch_size * config.optimizer.accumulation
        self.steps_per_epoch = len(self._epoch(0))

    def _epoch(self, epoch: int) -> list[list[int]]:
        if epoch not in self._epochs:
            self._epochs = {epoch: plan_epoch(self._sizes, self.per_step, self.config.seed, epoch)}
        return self._epochs[epoch]

    def at(self, step: int) -> list[Batch]:
        """The micro-batches of optimizer step `step` (from 0): together one batch of batch_size * accumulation."""
        # every epoch has as many batches: it holds the same items, and so the same number in each bucket
        numbers = self._epoch(step // self.steps_per_epoch)[step % self.steps_per_epoch]
        size = self.config.data.batch_size
        return [self._batch(step, at, numbers[at : at + size], len(numbers)) for at in range(0, len(numbers), size)]

    def _batch(self, step: int, at: int, numbers: list[int], whole: int) -> Batch:
        latents, noise, times, captions, geometry, items = [], [], [], [], [], []
        for place, n in enumerate(numbers, start=at):
            item, where = self.plan.items[n], (self.config.seed, step, place)
            flip = item.flips[number("flip", *where) % len(item.flips)]
            clean = self.cache.get(item.latent_key(self.latent_print, flip))["latents"]
            draw = generator("noise", *where)
            times.append(self.schedule.pick(draw, clean.shape))
            noise.append(torch.randn(clean.shape, generator=draw))
            dropout = self.config.data.prior_caption_dropout if item.prior else self.config.data.caption_dropout
            dropped = unit("caption", *where) < dropout
            caption = "" if dropped else item.captions[number("order", *where) % len(item.captions)]
            latents.append(clean)
            captions.append(caption)
            geometry.append(item.geometry(flip))
            items.append(item)
        conds = [row | where for row, where in zip(self.texts.rows(captions), geometry, strict=True)]
        return self._to_device(latents, noise, times, conds, items, len(numbers) / whole, captions)

    def validation(self, per_picture: int) -> list[Batch]:
        """Each held-out picture at `per_picture` fixed timesteps with fixed noise; the same at every call."""
        batches = []
        for index, item in enumerate(self.plan.held_out):
            clean = self.cache.get(item.latent_key(self.latent_print, False))["latents"]
            cond = self.texts.row(item.captions[0]) | item.geometry(False)
            for n in range(per_picture):
                noise = torch.randn(clean.shape, generator=generator("validation", self.config.seed, index, n))
                batches.append(self._to_device([clean], [noise], [self.schedule.at((n + 0.5) / per_picture)], [cond], [item], 1.0, [item.captions[0]]))
        return batches

    def _to_device(self, latents, noise, times, conds, items, weight, captions) -> Batch:
        move = lambda t: t.to(self.device, non_blocking=True)
        return Batch(
            move(torch.stack(latents)), move(torch.stack(noise)), move(torch.tensor(times)), Cond.of(conds).to(self.device), [i.id for i in items],
            weight, move(torch.tensor([i.weight for i in items])), [row for row, i in enumerate(items) if i.prior], captions,
        )  # fmt: skip


def caption_record(plan: Plan) -> list[dict]:
    """What is trained on, for the run's record: each item with the caption, size and crop it is trained with."""
    rows = {}
    for item in plan.everything:
        c = item.crop
        rows[item.id, c.width, c.height] = {
            "id": item.id, "captions": list(item.captions), "bucket": [c.width, c.height], "scaled": list(c.scaled),
            "crop": [c.left, c.top], "held_out": item in plan.held_out, "prior": item.prior,
        }  # fmt: skip
    return list(rows.values())
