"""Control pictures: what a network beside the denoiser is shown of a picture while it learns to draw it, its outlines for example.

A control picture is a PNG beside its picture, `name.control.png` for `name.jpg`, or called as other trainers call theirs (roles.py).  It has
its picture's shape, and is scaled, cut and mirrored with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .pictures import load_pixels

if TYPE_CHECKING:
    from PIL import Image

SUFFIX = ".control.png"


@dataclass(frozen=True)
class Control:
    """The control picture of one picture.  sha256: of its file."""

    path: Path
    sha256: str

    def load(self) -> Image.Image:
        """RGB, upright, transparency on white.  Raises Refused or OSError."""
        return load_pixels(self.path)


def is_control(name: str) -> bool:
    """Whether a file carries the name that Easel itself gives a control picture; it is one only where its picture lies beside it."""
    return name.lower().endswith(SUFFIX)
