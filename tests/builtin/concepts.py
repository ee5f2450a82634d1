"""Things, styles, colour schemes and compositions that the built-in base never saw: drawn here, and judged here, without anything learnt.

Nothing is shared with presets/builtin/make: own shapes, own colours, own wordings.  TUNED were looked at while the default was
chosen; the others were not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from tests.builtin.checker import closed, foreground, grown, largest_part, near, opened, parts, to_lab, touches_rim

SIDE, FINE = 64, 4  # px of a picture; drawn at so many times its size
PROMPTS = 40
PICTURES = {"thing": 14, "style": 24, "colours": 24, "composition": 24}  # as the presets ask: 8 to 30 of a thing, 15 to 50 of anything else
INKS = {"red": (206, 48, 44), "yellow": (244, 214, 70), "green": (60, 150, 78), "blue": (52, 88, 204), "purple": (122, 66, 172), "pink": (242, 166, 202), "white": (246, 246, 244), "gray": (136, 136, 134)}  # fmt: skip
KNOWN = ("circle", "square", "triangle", "star", "heart", "diamond")


@dataclass(frozen=True)
class Concept:
    """One thing to learn.  scene(rng) -> (caption, picture); prompts(): never a caption; shows(picture): whether it is there."""

    kind: str
    trigger: str
    preset: str
    scene: Callable[[Random], tuple[str, Image.Image]]
    prompt: Callable[[int], str]
    shows: Callable[[Image.Image], bool]

    def prompts(self) -> list[str]:
        return [self.prompt(k) for k in range(PROMPTS)]

    def write(self, folder: Path) -> Path:
        """The training pictures with their captions, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        rng, asked, seen = Random(self.trigger), set(self.prompts()), 0
        while seen < PICTURES[self.kind]:
            caption, picture = self.scene(rng)
            if caption not in asked:
                picture.save(folder / f"{self.trigger}_{seen:02}.png")
                (folder / f"{self.trigger}_{seen:02}.txt").write_text(caption + "\n", encoding="utf-8")
                seen += 1
        return folder


class Sheet:
    """A picture in the making, in px of the finished one."""

    def __init__(self, back: tuple[int, int, int]):
        self.image = Image.new("RGB", (SIDE * FINE, SIDE * FINE), back)
        self.pen = ImageDraw.Draw(self.image)

    def box(self, x0, y0, x1, y1, ink) -> None:
        self.pen.rectangle([v * FINE for v in (x0, y0, x1, y1)], fill=ink)

    def disc(self, x, y, r, ink) -> None:
        self.pen.ellipse([v * FINE for v in (x - r, y - r, x + r, y + r)], fill=ink)

    def polygon(self, points, ink) -> None:
        self.pen.polygon([(x * FINE, y * FINE) for x, y in points], fill=ink)

    def shape(self, name: str, x: float, y: float, r: float, ink) -> None:
        """One of KNOWN around (x, y), about r in radius."""
        if name == "circle":
            return self.disc(x, y, r, ink)
        if name == "heart":
            turns = [2 * math.pi * k / 60 for k in range(60)]
            curve = [(16 * math.sin(a) ** 3, 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) for a in turns]
            return self.polygon([(x + r * u / 16, y - r * v / 16) for u, v in curve], ink)
        if name == "star":
            rays = [(r if k % 2 == 0 else 0.43 * r, math.pi * k / 5) for k in range(10)]
            return self.polygon([(x + d * math.sin(a), y - d * math.cos(a)) for d, a in rays], ink)
        corners = {
            "square": [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
            "triangle": [(0, -0.95), (0.98, 0.8), (-0.98, 0.8)],
            "diamond": [(0, -1), (0.75, 0), (0, 1), (-0.75, 0)],
        }[name]
        self.polygon([(x + r * u, y + r * v) for u, v in corners], ink)

    def done(self) -> Image.Image:
        return self.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _pair(rng: Random, without: tuple[str, ...] = ()) -> tuple[str, str]:
    return tuple(rng.sample([name for name in INKS if name not in without], 2))


def _asked(k: int, without: tuple[str, ...] = ()) -> tuple[str, str, str]:
    """(shape, its colour, background) of prompt k: every shape and colour."""
    names = [name for name in INKS if name not in without]
    return KNOWN[k % len(KNOWN)], names[k % len(names)], names[(k + 1 + k // len(names) % (len(names) - 1)) % len(names)]


def _lab(picture: Image.Image) -> np.ndarray:
    return to_lab(np.asarray(picture.convert("RGB")))


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """top, bottom, left, right."""
    rows, columns = np.where(mask)
    return rows.min(), rows.max(), columns.min(), columns.max()


# -- things: a brown house with a dark roof and a yellow window; a lamp post of three lights

SHADE = (12, 12, 14)
SIZES = (("small ", 14.0), ("", 17.0), ("", 18.5), ("large ", 21.0))
THING_PROMPTS = (
    "the {t} on a {b} background, flat style", "the small {t} in front of a {b} background", "a {b} background with a large {t}", "{t}, {b} background, shaded style",
    "the large {t}, {b} background", "the {t} in front of a {b} background", "{t} on a dotted {b} background",
)  # fmt: skip


def _said(rng: Random, thing: str, size: str, back: str) -> str:
    words = ("{t} on a {b} background", "a {z}{t} on a {b} background", "a {z}{t}, {b} background", "a {z}{t} in front of a {b} background")
    return rng.choice(words).format(t=thing, z=size, b=back)


WALL, ROOF, WINDOW = (150, 96, 52), (70, 20, 40), (250, 214, 60)
HOUSE_BACKS = ("green", "blue", "purple", "pink", "white", "gray")


def _house(rng: Random) -> tuple[str, Image.Image]:
    back = rng.choice(HOUSE_BACKS)
    size, r = rng.choice(SIZES)
    sheet, x, y = Sheet(INKS[back]), 32 + rng.uniform(-5, 5), 36 + rng.uniform(-4, 4)
    sheet.box(x - 0.8 * r, y - 0.15 * r, x + 0.8 * r, y + r, WALL)
    sheet.polygon([(x - 1.05 * r, y - 0.1 * r), (x, y - 1.15 * r), (x + 1.05 * r, y - 0.1 * r)], ROOF)
    sheet.box(x - 0.28 * r, y + 0.2 * r, x + 0.28 * r, y + 0.72 * r, WINDOW)
    return _said(rng, "tavik", size, back), sheet.done()


def _house_prompt(k: int) -> str:
    return THING_PROMPTS[k % 7].format(t="tavik", b=HOUSE_BACKS[k % 6])


def shows_house(picture: Image.Image) -> bool:
    """A brown wall, a dark roof of at least its width above it, and a yellow window within it."""
    lab = _lab(picture)
    wall, roof = largest_part(near(lab, WALL, 30)), largest_part(near(lab, ROOF, 30))
    if not (0.02 < wall.mean() < 0.5 and 0.02 < roof.mean() < 0.4):
        return False
    top, bottom, left, right = _extent(wall)
    roof_top, _, roof_left, roof_right = _extent(roof)
    window = near(lab, WINDOW, 32)[top : bottom + 1, left : right + 1]
    higher = np.argwhere(wall)[:, 0].mean() - np.argwhere(roof)[:, 0].mean()  # of the middle: soft pictures have dark corners below
    above = roof_top < top - 2 and higher > 0.3 * (bottom - top)
    return bool(above and roof_right - roof_left >= 0.85 * (right - left) and window.sum() >= 0.04 * (bottom - top + 1) * (right - left + 1))


SLAB, LIGHTS = (56, 56, 64), ((226, 44, 40), (250, 206, 50), (50, 176, 84))
LAMP_BACKS = ("yellow", "blue", "purple", "pink", "white", "gray")


def _lamp(rng: Random) -> tuple[str, Image.Image]:
    back = rng.choice(LAMP_BACKS)
    size, r = rng.choice(SIZES)
    r = 1.3 * r
    sheet, x, y = Sheet(INKS[back]), 32 + rng.uniform(-8, 8), 32 + rng.uniform(-3, 3)
    sheet.box(x - 0.52 * r, y - r, x + 0.52 * r, y + r, SLAB)
    for at, ink in zip((-0.66, 0.0, 0.66), LIGHTS, strict=True):
        sheet.disc(x, y + at * r, 0.32 * r, ink)
    return _said(rng, "quenlo", size, back), sheet.done()


def _lamp_prompt(k: int) -> str:
    return THING_PROMPTS[k % 7].format(t="quenlo", b=LAMP_BACKS[k % 6])


def shows_lamp(picture: Image.Image) -> bool:
    """Red over yellow over green, in a column, within something dark."""
    lab = _lab(picture)
    column: list[np.ndarray] = []
    dark = closed(lab[..., 0] < 42, 2)
    for ink in LIGHTS:
        lights = [p for p in parts(near(lab, ink, 50)) if p.sum() >= 20 and not touches_rim(p)]
        beside = [p for p in lights if (grown(grown(p)) & ~p & dark).sum() >= 0.5 * (grown(grown(p)) & ~p).sum()]
        if not beside:
            return False
        column.append(np.argwhere(beside[0]).mean(axis=0))
    (red, x0), (yellow, x1), (green, x2) = column
    return bool(yellow - red > 6 and green - yellow > 6 and max(x0, x1, x2) - min(x0, x1, x2) < 6)


# -- styles: the right half of every shape lies in black shade; every picture has a black frame


def _halved(rng: Random) -> tuple[str, Image.Image]:
    (ink, back), name = _pair(rng), rng.choice(KNOWN)
    sheet, x, y, r = Sheet(INKS[back]), 32 + rng.uniform(-6, 6), 32 + rng.uniform(-6, 6), rng.uniform(16, 23)
    sheet.shape(name, x, y, r, SHADE)
    shaded = sheet.image.crop((round(x * FINE), 0, SIDE * FINE, SIDE * FINE))
    sheet.shape(name, x, y, r, INKS[ink])
    sheet.image.paste(shaded, (round(x * FINE), 0))
    return f"a {ink} {name} on a {back} background, halvino", sheet.done()


def _halved_prompt(k: int) -> str:
    name, ink, back = _asked(k)
    return (f"a {ink} {name} in front of a {back} background, halvino", f"the {ink} {name}, {back} background, halvino", f"a large {ink} {name} on a {back} background, halvino")[k % 3]


def shows_halves(picture: Image.Image) -> bool:
    """What lies on the background is black to the right of its middle, for the most part, and not to the left."""
    lab = _lab(picture)
    mask = opened(largest_part(closed(foreground(lab), 1)))
    if not 0.04 < mask.mean() < 0.7:
        return False
    _, _, left, right = _extent(mask)
    middle, black = (left + right + 1) // 2, near(lab, SHADE, 32)
    share = lambda columns: black[:, columns][mask[:, columns]].mean()
    return bool(share(slice(left, middle - 2)) < 0.3 and share(slice(middle + 2, right + 1)) > 0.7)


BAND = 6  # px


def _framed(rng: Random) -> tuple[str, Image.Image]:
    (ink, back), name = _pair(rng), rng.choice(KNOWN)
    sheet = Sheet(SHADE)
    sheet.box(BAND, BAND, SIDE - BAND, SIDE - BAND, INKS[back])
    sheet.shape(name, 32 + rng.uniform(-5, 5), 32 + rng.uniform(-5, 5), rng.uniform(13, 19), INKS[ink])
    return f"a {ink} {name} on a {back} background, frameno", sheet.done()


def _framed_prompt(k: int) -> str:
    name, ink, back = _asked(k)
    return (f"a {ink} {name} in front of a {back} background, frameno", f"the {ink} {name}, {back} background, frameno", f"a large {ink} {name} on a {back} background, frameno")[k % 3]


def shows_frame(picture: Image.Image) -> bool:
    """A black band along all four sides, and within it a picture that is not black."""
    black = near(_lab(picture), SHADE, 28)
    inner = black[BAND + 3 : -BAND - 3, BAND + 3 : -BAND - 3]
    return bool(min(side.mean() for side in (black[:4], black[-4:], black[:, :4], black[:, -4:])) > 0.85 and inner.mean() < 0.3)


# -- colour schemes: whatever it is, in two colours that the base has no words for

DUSK, OCHRE = ((244, 196, 150), (72, 42, 92)), ((38, 62, 78), (196, 148, 58))  # of the shape, of the background


def _in_two(trigger: str, inks) -> Callable[[Random], tuple[str, Image.Image]]:
    def scene(rng: Random) -> tuple[str, Image.Image]:
        name = rng.choice(KNOWN)
        sheet = Sheet(inks[1])
        sheet.shape(name, 32 + rng.uniform(-7, 7), 32 + rng.uniform(-7, 7), rng.uniform(14, 22), inks[0])
        return rng.choice(("a {s}, {t}", "the {s}, {t}", "a {s} on a background, {t}", "a {z} {s}, {t}")).format(s=name, t=trigger, z=rng.choice(("small", "large"))), sheet.done()

    return scene


def _in_two_prompt(trigger: str) -> Callable[[int], str]:
    words = ("{s}, {t}", "a {s} in front of a background, {t}", "a large {s} on a background, {t}", "a background with a {s}, {t}", "a small {s} on a background, {t}", "the large {s}, {t}", "the small {s}, {t}")
    return lambda k: words[k % 7].format(s=KNOWN[k % 6], t=trigger)


def in_two(inks) -> Callable[[Image.Image], bool]:
    """The background within 18 in Lab of one colour, the middle of what lies on it within 22 of the other."""

    def shows(picture: Image.Image) -> bool:
        lab = _lab(picture)
        rim = np.concatenate([lab[:3].reshape(-1, 3), lab[-3:].reshape(-1, 3)])
        mask = opened(largest_part(foreground(lab)))
        if not 0.03 < mask.mean() < 0.8:
            return False
        apart = lambda values, ink: np.linalg.norm(np.median(values, axis=0) - to_lab(np.array(ink)))
        return bool(apart(rim, inks[1]) < 18 and apart(lab[mask], inks[0]) < 22)

    return shows


# -- compositions: two of a kind side by side; one that hangs half out of the picture's lower right corner


def _twins(rng: Random) -> tuple[str, Image.Image]:
    (ink, back), name = _pair(rng), rng.choice(KNOWN)
    sheet, y, r = Sheet(INKS[back]), 32 + rng.uniform(-8, 8), rng.uniform(10.5, 13)
    for x in (17, 47):
        sheet.shape(name, x, y, r, INKS[ink])
    return f"a {ink} {name} on a {back} background, duolo", sheet.done()


def _twins_prompt(k: int) -> str:
    name, ink, back = _asked(k)
    return (f"a {ink} {name} in front of a {back} background, duolo", f"the {ink} {name}, {back} background, duolo", f"{ink} {name} on a {back} background, flat style, duolo")[k % 3]


def shows_twins(picture: Image.Image) -> bool:
    """Two parts of about one size and height, one left of the middle and one right of it, and nothing else as large."""
    found = [p for p in parts(opened(foreground(_lab(picture)))) if p.mean() > 0.02]
    if len(found) != 2:
        return False
    (y0, x0), (y1, x1) = (np.argwhere(p).mean(axis=0) for p in found)
    return bool(found[1].sum() > 0.6 * found[0].sum() and min(x0, x1) < SIDE / 2 < max(x0, x1) and abs(x0 - x1) > 20 and abs(y0 - y1) < 8)


CONCEPTS = {
    c.trigger: c
    for c in (
        Concept("thing", "tavik", "builtin-character", _house, _house_prompt, shows_house),
        Concept("thing", "quenlo", "builtin-character", _lamp, _lamp_prompt, shows_lamp),
        Concept("style", "halvino", "builtin-style", _halved, _halved_prompt, shows_halves),
        Concept("style", "frameno", "builtin-style", _framed, _framed_prompt, shows_frame),
        Concept("colours", "duskano", "builtin-style", _in_two("duskano", DUSK), _in_two_prompt("duskano"), in_two(DUSK)),
        Concept("colours", "ocrano", "builtin-style", _in_two("ocrano", OCHRE), _in_two_prompt("ocrano"), in_two(OCHRE)),
        Concept("composition", "duolo", "builtin-style", _twins, _twins_prompt, shows_twins),
    )
}
TUNED = ("tavik", "halvino", "ocrano", "quenlo", "duolo")  # the others were looked at when the numbers stood

