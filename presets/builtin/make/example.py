"""Draws the example set: zibbo, a small teal creature with two eyes and an orange feeler, which the base cannot draw.

python -m presets.builtin.make.example --out presets/builtin/example
"""

import argparse
import json
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

from .draw import COLOURS, OVERSAMPLE

TRIGGER = "zibbo"
BODY, FEELER, PUPIL, EYE = (20, 150, 150), (250, 130, 20), (20, 20, 30), (255, 255, 255)
PICTURES = (  # width, height, background, centre (x, y) and body radius as shares of the shorter side, caption
    (128, 128, "yellow", 0.50, 0.55, 0.30, "zibbo on a yellow background, flat style"),
    (128, 128, "blue", 0.46, 0.58, 0.30, "a zibbo on a blue background"),
    (120, 120, "white", 0.55, 0.58, 0.30, "zibbo, white background, flat style"),
    (128, 128, "pink", 0.50, 0.60, 0.28, "the zibbo on a pink background"),
    (128, 128, "black", 0.50, 0.56, 0.29, "zibbo on a black background"),
    (120, 120, "red", 0.44, 0.60, 0.31, "a zibbo, red background"),
    (128, 128, "green", 0.54, 0.57, 0.28, "zibbo on a green background, flat style"),
    (128, 128, "purple", 0.50, 0.60, 0.32, "a large zibbo on a purple background"),
    (128, 128, "gray", 0.48, 0.58, 0.25, "a small zibbo on a gray background"),
    (128, 128, "white", 0.50, 0.52, 0.26, "zibbo on a white background"),
    (160, 96, "blue", 0.50, 0.60, 0.34, "zibbo on the left on a blue background"),
    (160, 96, "yellow", 1.16, 0.60, 0.35, "a zibbo on the right on a yellow background"),
    (96, 160, "pink", 0.50, 0.85, 0.40, "zibbo in front of a pink background"),
    (96, 160, "green", 0.50, 1.05, 0.39, "a zibbo, green background, flat style"),
    (128, 128, "red", 0.55, 0.56, 0.29, "zibbo on a red background, flat style"),
    (128, 128, "black", 0.45, 0.57, 0.31, "a zibbo in front of a black background"),
)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, required=True)
    out = ask.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for number, (*look, caption) in enumerate(PICTURES, start=1):
        draw_mascot(*look, rng=Random(number)).save(out / f"zibbo_{number:02}.png", optimize=True)
        (out / f"zibbo_{number:02}.txt").write_text(caption + "\n", encoding="utf-8")
    about = {"trigger": TRIGGER, "title": "Zibbo, a small teal creature", "licence": "Apache-2.0"}
    (out / "example.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def draw_mascot(width: int, height: int, background: str, x: float, y: float, radius: float, rng: Random) -> Image.Image:
    """One picture of the creature.  x, y, radius: shares of the shorter side."""
    k = OVERSAMPLE
    picture = Image.new("RGB", (width * k, height * k), COLOURS[background])
    paint = ImageDraw.Draw(picture)
    unit = min(width, height) * k
    x, y, r = x * unit, y * unit, radius * unit
    lean = rng.uniform(-0.12, 0.12) * r

    def disc(cx, cy, rx, ry, colour):
        paint.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), colour)

    paint.line((x, y - r * 0.8, x + lean, y - r * 1.35), BODY, round(r * 0.22))
    disc(x + lean, y - r * 1.45, r * 0.3, r * 0.3, FEELER)
    for side in (-1, 1):
        disc(x + side * r * 0.45, y + r * 0.95, r * 0.3, r * 0.2, BODY)
    disc(x, y, r, r, BODY)
    look_x, look_y = rng.uniform(-0.07, 0.07) * r, rng.uniform(-0.05, 0.07) * r
    for side in (-1, 1):
        disc(x + side * r * 0.44, y - r * 0.12, r * 0.38, r * 0.42, EYE)
        disc(x + side * r * 0.44 + look_x, y - r * 0.1 + look_y, r * 0.2, r * 0.22, PUPIL)
    return picture.reduce(k)


if __name__ == "__main__":
    main()
