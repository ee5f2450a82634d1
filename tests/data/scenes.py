"""Pictures that behave like photographs and drawings under a health check: good ones, and what goes wrong with them."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def photo(seed: int, size: tuple[int, int] = (1152, 896)) -> Image.Image:
    """Noise on all scales with hard edges in it and a little grain, as a lens and a sensor leave a scene; another seed, another scene."""
    dice, (w, h) = np.random.default_rng(seed), size
    out = np.zeros((h, w, 3), np.float32)
    for cells in (4, 16, 64):
        rough = dice.normal(size=(max(2, h * cells // 1024), max(2, w * cells // 1024), 3)).astype(np.float32)
        for c in range(3):
            out[..., c] += np.asarray(Image.fromarray(rough[..., c]).resize(size, Image.Resampling.BICUBIC)) / cells**0.5
    picture = Image.fromarray(((out - out.mean()) / out.std() * 45 + 120).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, reach = dice.integers(0, w), dice.integers(0, h), dice.integers(w // 30, w // 4)
        draw.polygon([tuple(int(v) for v in (x, y) + dice.integers(-reach, reach, 2)) for _ in range(5)], tuple(int(v) for v in dice.integers(0, 255, 3)))
    grain = dice.normal(0, 3, (h, w, 1)).astype(np.float32)
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))


def drawing(seed: int, size: tuple[int, int] = (896, 896)) -> Image.Image:
    """Flat colours on one ground, hard outlines."""
    dice, (w, h) = np.random.default_rng(seed), size
    picture = Image.new("RGB", size, tuple(int(v) for v in dice.integers(150, 256, 3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y = int(dice.integers(0, w * 3 // 4)), int(dice.integers(0, h * 3 // 4))
        box = (x, y, x + int(dice.integers(w // 10, w // 3)), y + int(dice.integers(h // 10, h // 3)))
        shape = draw.ellipse if dice.random() < 0.5 else draw.rectangle
        shape(box, tuple(int(v) for v in dice.integers(0, 256, 3)), outline=(20, 20, 20), width=max(1, w // 200))
    return picture


def blurred(picture: Image.Image, px: float) -> Image.Image:
    """Out of focus."""
    return picture.filter(ImageFilter.GaussianBlur(px))


def framed(picture: Image.Image, px: int, colour: str = "white") -> Image.Image:
    """With a plain frame around it."""
    made = Image.new("RGB", (picture.width + 2 * px, picture.height + 2 * px), colour)
    made.paste(picture, (px, px))
    return made
