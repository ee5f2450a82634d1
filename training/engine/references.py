"""What a picture is made from, in use: cut as it is or whole, encoded, and read by a text encoder together with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..config import TrainConfig
from ..data import editing
from ..data.controls import Control
from ..data.datasets import Picture
from ..data.treatment import Treatment
from ..family import References
from .buckets import Crop, crop_to
from .cache import key

GREY = (127, 127, 127)  # around a picture of another shape, where several are shown side by side


@dataclass(frozen=True)
class Reference:
    """One picture that another is made from.  crop: its picture's, whose shape it has; None: it is shown whole.  width, height: px at which it is encoded.

    cuts: whether it is cut around its middle where that size has another shape, as the family's pipeline does it; else it is stretched.
    """

    control: Control
    treatment: Treatment  # its picture's
    crop: Crop | None
    width: int
    height: int
    cuts: bool

    def seen(self, flip: bool) -> Image.Image:
        """RGB, as it is trained, but for the size at which it is encoded."""
        picture = self.treatment.apply(self.control.load())
        if c := self.crop:
            picture = picture.resize(c.scaled, Image.Resampling.LANCZOS).crop((c.left, c.top, c.left + c.width, c.top + c.height))
        return ImageOps.mirror(picture) if flip else picture

    def pixels(self, flip: bool) -> Tensor:
        """[3,H,W] in [-1, 1], of the size at which it is encoded, as the family's pipeline brings it there."""
        picture = self.seen(flip)
        if self.cuts:
            picture = _covering(picture, self.width, self.height)
        else:
            picture = picture.resize((self.width, self.height), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()

    def to_draw_from(self, width: int, height: int) -> Image.Image:
        """What the pipeline is given for a sample of this size, which has the shape of the training picture: the same part in full detail, or all of it."""
        picture = self.treatment.apply(self.control.load())
        if not (c := self.crop):
            return picture
        return part_of(picture, c, width, height)

    def key(self, encoder: str, flip: bool) -> str:
        """Where its latents are cached; depends on what it is and how it is cut, not on where the file lies."""
        return key("reference", encoder, *self.told(flip), *(() if self.cuts else ("stretched",)))

    def told(self, flip: bool) -> tuple:
        """What its pixels depend on."""
        c = self.crop
        cut = (c.scaled, c.left, c.top, c.width, c.height) if c else ()
        return self.control.sha256, cut, self.width, self.height, flip, self.treatment.view


class Said(NamedTuple):
    """A caption, and the pictures that a text encoder reads with it."""

    text: str
    shown: tuple[Reference, ...]
    flip: bool

    @property
    def key(self) -> tuple:
        """What the encoder's answer depends on, besides the encoder."""
        return self.text, *(reference.told(self.flip) for reference in self.shown)

    def pictures(self) -> list[Image.Image]:
        return [reference.seen(self.flip) for reference in self.shown]


Spoken = str | Said  # what a text encoder is asked


def text_of(asked: Spoken) -> str:
    """The words alone."""
    return asked if isinstance(asked, str) else asked.text


def spoken(takes: References | None, text: str, made_from: tuple[Reference, ...], flip: bool) -> Spoken:
    """What a text encoder is asked for a caption of a picture.  takes: how the family is shown references, None where no edits are learnt."""
    return Said(text, made_from, flip) if takes and takes.read and made_from else text


def all_spoken(config: TrainConfig, takes: References | None, captions: Sequence[str], made_from: tuple[Reference, ...], flips: Sequence[bool]) -> set[Spoken]:
    """All that may be asked for a picture while it is learnt."""
    if not (takes and takes.read and made_from):
        return set(captions)
    alone = set(captions) if config.edit.dropout and not takes.needed else set()
    return alone | {Said(text, made_from, flip) for text in (*captions, "") for flip in flips}


def of(picture: Picture, crop: Crop, family: ModuleType) -> tuple[Reference, ...]:
    """What a picture is made from, where it is trained at this crop."""
    sizes = editing.shown_sizes(picture, (crop.width, crop.height), family)
    cuts = [crop if editing.same_shape(control, picture) else None for control in picture.references]
    return tuple(Reference(control, picture.treatment, cut, *size, family.SPEC.references.cuts) for control, cut, size in zip(picture.references, cuts, sizes, strict=True))


def part_of(picture: Image.Image, crop: Crop, width: int, height: int) -> Image.Image:
    """What a crop leaves of a picture, at this size and in full detail."""
    across, down = picture.width / crop.scaled[0], picture.height / crop.scaled[1]
    box = (crop.left * across, crop.top * down, min((crop.left + crop.width) * across, picture.width), min((crop.top + crop.height) * down, picture.height))
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


def _covering(picture: Image.Image, width: int, height: int) -> Image.Image:
    """A picture scaled to cover this size, and cut around its middle."""
    cut = crop_to(*picture.size, (width, height))
    return picture.resize(cut.scaled, Image.Resampling.LANCZOS).crop((cut.left, cut.top, cut.left + cut.width, cut.top + cut.height))


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """All of a picture in the middle of this size."""
    return ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS, color=GREY)
