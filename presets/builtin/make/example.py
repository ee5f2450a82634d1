"""Draws the example set: zibbo, a small teal creature with one big eye and an orange feeler, which the base cannot draw.

python -m presets.builtin.make.example --out presets/builtin/example
"""

import argparse
import json
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

from .draw import COLOURS, OVERSAMPLE

TRIGGER = "zibbo"
SIDE_PX = 128
BODY, FEELER, PUPIL, EYE = (20, 150, 150), (250, 130, 20), (20, 20, 30), (255, 255, 255)
PICTURES = (  # background, centre (x, y) and body radius as shares of the side, caption
    ("yellow", 0.50, 0.58, 0.30, "zibbo on a yellow background, flat style"),
    ("blue", 0.46, 0.60, 0.30, "a zibbo on a blue background"),
    ("white", 0.50, 0.59, 0.31, "zibbo, white background, flat style"),
    ("pink", 0.47, 0.58, 0.25, "a small zibbo, pink background"),
    ("black", 0.50, 0.58, 0.29, "zibbo on a black background"),
    ("red", 0.47, 0.60, 0.34, "a large zibbo in front of a red background"),
    ("green", 0.54, 0.58, 0.30, "zibbo on a green background, flat style"),
    ("purple", 0.50, 0.60, 0.34, "a large zibbo on a purple background"),
    ("gray", 0.48, 0.58, 0.25, "a small zibbo on a gray background"),
    ("white", 0.55, 0.56, 0.25, "a small zibbo in front of a white background"),
    ("blue", 0.50, 0.60, 0.30, "a blue background with a zibbo, flat style"),
    ("yellow", 0.50, 0.68, 0.28, "the zibbo at the bottom on a yellow background"),
    ("pink", 0.50, 0.59, 0.30, "zibbo in front of a pink background"),
    ("gray", 0.50, 0.61, 0.34, "a large zibbo, gray background, flat style"),
    ("red", 0.55, 0.59, 0.29, "the zibbo on a red background, flat style"),
    ("black", 0.45, 0.58, 0.25, "a small zibbo on a black background"),
)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, required=True)
    out = ask.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for number, (*look, words) in enumerate(PICTURES, start=1):
        _save(draw_mascot(*look, rng=Random(number)), words, out / f"zibbo_{number:02}")
    about = {"trigger": TRIGGER, "title": "Zibbo, a small teal creature", "licence": "Apache-2.0"}
    (out / "example.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _save(picture: Image.Image, words: str, stem: Path) -> None:
    picture.save(stem.with_name(f"{stem.name}.png"), optimize=True)
    stem.with_name(f"{stem.name}.txt").write_text(words + "\n", encoding="utf-8")


def draw_mascot(background: str, x: float, y: float, radius: float, rng: Random) -> Image.Image:
    """One picture of the creature.  x, y, radius: shares of the side."""
    k = OVERSAMPLE
    unit = SIDE_PX * k
    picture = Image.new("RGB", (unit, unit), COLOURS[background])
    paint = ImageDraw.Draw(picture)
    x, y, r = x * unit, y * unit, radius * unit
    lean = rng.uniform(-0.12, 0.12) * r

    def disc(cx, cy, rx, ry, colour):
        paint.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), colour)

    paint.line((x, y - r * 0.8, x + lean, y - r * 1.3), BODY, round(r * 0.3))
    disc(x + lean, y - r * 1.4, r * 0.36, r * 0.36, FEELER)
    for side in (-1, 1):
        disc(x + side * r * 0.45, y + r * 0.95, r * 0.3, r * 0.2, BODY)
    disc(x, y, r, r, BODY)
    look_x, look_y = rng.uniform(-0.07, 0.07) * r, rng.uniform(-0.05, 0.07) * r
    disc(x, y - r * 0.06, r * 0.6, r * 0.6, EYE)  # smaller parts would be lost in the base's 16 x 16 latents
    disc(x + look_x, y - r * 0.06 + look_y, r * 0.3, r * 0.3, PUPIL)
    return picture.reduce(k)


if __name__ == "__main__":
    main()
