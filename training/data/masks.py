"""Masks: which part of a picture is to be learnt.  White is learnt, black is hidden, grey counts in between.

A mask is a PNG beside its picture, `name.mask.png` for `name.jpg`, or called as other trainers call theirs; a picture without one whose own pixels are transparent in
places is masked by its transparency: what is opaque is learnt.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .pictures import load_alpha, load_pixels

if TYPE_CHECKING:
    from PIL import Image

SUFFIX = ".mask.png"
MAX_SHAPE_ERROR = 0.02  # of width / height between a mask and its picture: a scaled mask is rounded to whole px


@dataclass(frozen=True)
class Mask:
    """The mask of one picture.  path: the mask's file, or for "alpha" the picture's own; sha256: of that file."""

    path: Path
    sha256: str
    kind: Literal["file", "alpha"]

    def load(self) -> Image.Image:
        """8 bit grey, upright, 255 is learnt.  Raises Refused or OSError."""
        from PIL import ImageChops

        alpha = load_alpha(self.path)  # of a mask's file too: what is transparent there is hidden
        return alpha if self.kind == "alpha" else ImageChops.multiply(load_pixels(self.path).convert("L"), alpha)


def is_mask(name: str) -> bool:
    """Whether a file is by its name alone a mask and no picture; see roles.py for names that need a picture beside them."""
    return name.lower().endswith(SUFFIX)


def masked_stem(name: str) -> str:
    """The stem of the picture that a mask's file belongs to."""
    return unicodedata.normalize("NFC", name[: -len(SUFFIX)])


def misfit(mask: tuple[int, int], picture: tuple[int, int]) -> str:
    """Why a mask of this size cannot belong to a picture of that size (width, height in px); "" where it can."""
    if abs(mask[0] * picture[1] / (mask[1] * picture[0]) - 1) <= MAX_SHAPE_ERROR:
        return ""
    return f"is {mask[0]}x{mask[1]} px, which is another shape than its picture's {picture[0]}x{picture[1]} px"
