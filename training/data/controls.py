"""Control pictures: what a network beside the denoiser is shown of a picture while it learns to draw it, its outlines for example.

A control picture is a PNG beside its picture, `name.control.png` for `name.jpg`, or called as other trainers call theirs (roles.py).  It has
its picture's shape, and is scaled, cut and mirrored with it.

What an edit is made from lies there under the same names: `name.control.png` is the picture before, `name.control2.png` and so on are further
ones.  Those may be of any shape.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .pictures import load_pixels

if TYPE_CHECKING:
    from PIL import Image

SUFFIX = ".control.png"
_NAME = re.compile(r"^(.+)\.control(\d{0,2})\.png$", re.IGNORECASE)


@dataclass(frozen=True)
class Control:
    """The control picture of one picture, or another one that it is made from.  sha256: of its file.

    width, height: px, upright and turned as its picture is learnt.  name: what it is called beside its picture, wherever its file lies.
    """

    path: Path
    sha256: str
    width: int = 0
    height: int = 0
    name: str = ""

    def load(self) -> Image.Image:
        """RGB, upright, transparency on white.  Raises Refused or OSError."""
        return load_pixels(self.path)


def is_control(name: str) -> bool:
    """Whether a file carries the name that Easel itself gives a control picture; it is one only where its picture lies beside it."""
    return _NAME.match(name) is not None


def called(stem: str, number: int) -> str:
    """The name of the control picture of a picture with this stem, counted from 1."""
    return f"{stem}{SUFFIX}" if number < 2 else f"{stem}.control{number}.png"


def number_of(name: str) -> int:
    """Which of its picture's control pictures a file is by its name, from 1; 1 for a name that does not count."""
    found = _NAME.match(name)
    return max(1, int(found[2] or 1)) if found else 1


def controlled_stem(name: str) -> str:
    """The stem of the picture that a file of such a name belongs to; "" for another name."""
    found = _NAME.match(name)
    return unicodedata.normalize("NFC", found[1]) if found else ""


# What can be made of a picture without any model: kind -> (title, one sentence).
KINDS = {
    "edges": ("Edges", "Thin white outlines on black, by Canny's method: what a canny ControlNet is shown."),
    "lines": ("Lines", "Soft white lines on black, thicker where the contrast is stronger, as of a drawing."),
    "grey": ("Grey", "The picture without its colours: what is learnt is to colour it."),
    "blur": ("Blurred", "The picture without its detail: what is learnt is to make it sharp."),
}
SIGMA_PX, LOW, HIGH = 1.4, 50.0, 100.0  # of Canny: blur, and steepness (of Sobel's sums, 0 to 1020) from which an edge goes on, and begins
FINE_PX, COARSE_PX = 1.0, 1.6  # the two blurs whose difference makes lines
BLUR_SHARE = 1 / 32  # of the shorter side


def made(picture: Image.Image, kind: str) -> Image.Image:
    """A control picture of one of KINDS, of the picture's size, RGB.  Raises ValueError for another kind."""
    from PIL import ImageFilter

    if kind not in KINDS:
        raise ValueError(f"control pictures cannot be made as {kind!r}; they can be: {', '.join(KINDS)}")
    if kind == "blur":
        return picture.filter(ImageFilter.GaussianBlur(BLUR_SHARE * min(picture.size)))
    if kind == "edges":
        return _edges(picture).convert("RGB")
    grey = picture.convert("L")
    return (_lines(grey) if kind == "lines" else grey).convert("RGB")


def _edges(picture: Image.Image) -> Image.Image:
    """White where one of the colours changes fastest along its direction of change, if steeply, or if joined to where it does (Canny 1986)."""
    import numpy as np
    from PIL import Image, ImageFilter

    smooth = np.pad(np.asarray(picture.filter(ImageFilter.GaussianBlur(SIGMA_PX)), np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    right, below = smooth[:, 2:] - smooth[:, :-2], smooth[2:] - smooth[:-2]
    across = right[:-2] + 2 * right[1:-1] + right[2:]  # Sobel's sums, [H,W,3]
    down = below[:, :-2] + 2 * below[:, 1:-1] + below[:, 2:]
    strongest = np.hypot(across, down).argmax(axis=-1)[..., None]
    across, down = (np.take_along_axis(sums, strongest, axis=-1)[..., 0] for sums in (across, down))
    steep = np.hypot(across, down)
    sector = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4  # the direction of change, as one of the four pairs of neighbours
    around = np.pad(steep, 1)
    h, w = steep.shape
    shifted = lambda y, x: around[1 + y : 1 + y + h, 1 + x : 1 + x + w]
    ridge = np.zeros_like(steep, bool)
    for number, (y, x) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ridge |= (sector == number) & (steep > shifted(y, x)) & (steep >= shifted(-y, -x))
    weak = ridge & (steep >= LOW)
    found = ridge & (steep >= HIGH)
    while True:  # along an edge that began steeply, a step a time
        wide = np.pad(found, 1)
        near = np.any([wide[y : y + h, x : x + w] for y in range(3) for x in range(3)], axis=0) & weak
        if (near == found).all():
            return Image.fromarray((found * 255).astype(np.uint8))
        found = near


def _lines(grey: Image.Image) -> Image.Image:
    """The difference of two blurs, darker than around shown white: as of a pen's line."""
    import numpy as np
    from PIL import Image, ImageFilter

    fine, coarse = (np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), np.float32) for radius in (FINE_PX, COARSE_PX))
    apart = np.abs(fine - coarse)
    return Image.fromarray((255 * np.clip(apart / max(float(np.quantile(apart, 0.995)), 4.0), 0, 1)).astype(np.uint8))
