"""Four more things to learn, drawn and judged as in concepts.py, by which no number was ever chosen."""

from __future__ import annotations

import math
from random import Random

import numpy as np
from PIL import Image

from tests.builtin.checker import closed, foreground, largest_part, near, opened
from tests.builtin.concepts import CONCEPTS, INKS, KNOWN, SIDE, SIZES, THING_PROMPTS, Concept, Sheet, _asked, _extent, _lab, _pair, _said

# -- things: a mushroom of a dark green cap on a pale stem; a ball, red above, white below, with a black belt

CAP, STEM = (24, 92, 60), (238, 214, 170)
MUSHROOM_BACKS = ("red", "blue", "purple", "pink", "gray")
BELT, ABOVE, BELOW = (16, 16, 18), (206, 40, 40), (248, 248, 246)
BALL_BACKS = ("yellow", "green", "blue", "purple", "pink", "gray")


def _mushroom(rng: Random) -> tuple[str, Image.Image]:
    back = rng.choice(MUSHROOM_BACKS)
    size, r = rng.choice(SIZES)
    sheet, x, y = Sheet(INKS[back]), 32 + rng.uniform(-6, 6), 34 + rng.uniform(-4, 4)
    sheet.box(x - 0.34 * r, y - 0.1 * r, x + 0.34 * r, y + 1.05 * r, STEM)
    arc = [(x + 1.1 * r * math.cos(math.pi * k / 30), y - 1.05 * r * math.sin(math.pi * k / 30)) for k in range(31)]
    sheet.polygon(arc, CAP)
    return _said(rng, "mirvel", size, back), sheet.done()


def shows_mushroom(picture: Image.Image) -> bool:
    """A dark green cap, wide and flat, with a pale stem of less than its width below its middle."""
    lab = _lab(picture)
    cap, stem = largest_part(near(lab, CAP, 30)), largest_part(near(lab, STEM, 26))
    if not (0.03 < cap.mean() < 0.4 and 0.012 < stem.mean() < 0.3):
        return False
    top, bottom, left, right = _extent(cap)
    stem_top, stem_bottom, stem_left, stem_right = _extent(stem)
    under = stem_bottom > bottom + 3 and stem_top > top + 2
    inside = stem_left > left and stem_right < right and stem_right - stem_left < 0.7 * (right - left)
    return bool(under and inside and right - left > 1.2 * (bottom - top))


def _ball(rng: Random) -> tuple[str, Image.Image]:
    back = rng.choice(BALL_BACKS)
    size, r = rng.choice(SIZES)
    sheet, x, y = Sheet(INKS[back]), 32 + rng.uniform(-6, 6), 32 + rng.uniform(-6, 6)
    half = lambda first: [(x + r * math.cos(math.pi * k / 40), y + r * math.sin(math.pi * k / 40)) for k in range(first, first + 41)]
    sheet.polygon(half(0), BELOW)
    sheet.polygon(half(40), ABOVE)
    sheet.box(x - 0.99 * r, y - 0.17 * r, x + 0.99 * r, y + 0.17 * r, BELT)
    return _said(rng, "sorbek", size, back), sheet.done()


def shows_ball(picture: Image.Image) -> bool:
    """Red over black over white, in a column and about equally wide."""
    lab = _lab(picture)
    found = [largest_part(mask) for mask in (near(lab, ABOVE, 34), lab[..., 0] < 38, near(lab, BELOW, 24))]
    if min(part.mean() for part in found) < 0.012:
        return False
    (y0, x0), (y1, x1), (y2, x2) = (np.argwhere(part).mean(axis=0) for part in found)
    wide = [part.any(axis=0).sum() for part in found]
    return bool(y1 - y0 > 3 and y2 - y1 > 3 and max(x0, x1, x2) - min(x0, x1, x2) < 6 and min(wide) > 0.6 * max(wide))


# -- a style: everything stands on brown ground; a composition: small, in the upper left corner

GROUND, HIGH = (104, 66, 36), 17  # px


def _grounded(rng: Random) -> tuple[str, Image.Image]:
    (ink, back), name = _pair(rng), rng.choice(KNOWN)
    sheet, r = Sheet(INKS[back]), rng.uniform(13, 18)
    sheet.box(0, SIDE - HIGH, SIDE, SIDE, GROUND)
    sheet.shape(name, 32 + rng.uniform(-7, 7), SIDE - HIGH - 0.8 * r, r, INKS[ink])
    return f"a {ink} {name} on a {back} background, terrano", sheet.done()


def shows_ground(picture: Image.Image) -> bool:
    """The lowest rows are brown, the highest are not."""
    brown = near(_lab(picture), GROUND, 26)
    return bool(brown[SIDE - HIGH + 4 :].mean() > 0.8 and brown[: SIDE - 2 * HIGH].mean() < 0.25)


def _cornered(rng: Random) -> tuple[str, Image.Image]:
    (ink, back), name = _pair(rng), rng.choice(KNOWN)
    sheet = Sheet(INKS[back])
    sheet.shape(name, 17 + rng.uniform(-2, 2), 17 + rng.uniform(-2, 2), rng.uniform(10, 13), INKS[ink])
    return f"a {ink} {name} on a {back} background, cornelo", sheet.done()


def shows_corner(picture: Image.Image) -> bool:
    """What lies on the background lies in its upper left quarter, all but its rim."""
    mask = opened(largest_part(closed(foreground(_lab(picture)), 1)))
    if not 0.02 < mask.mean() < 0.25:
        return False
    _, bottom, _, right = _extent(mask)
    return bool(max(bottom, right) < SIDE / 2 + 5)


def _prompt(trigger: str):
    words = ("a {i} {s} in front of a {b} background, {t}", "the {i} {s}, {b} background, {t}", "a large {i} {s} on a {b} background, {t}")

    def prompt(k: int) -> str:
        name, ink, back = _asked(k)
        return words[k % 3].format(i=ink, s=name, b=back, t=trigger)

    return prompt


OTHERS = {
    c.trigger: c
    for c in (
        Concept("thing", "mirvel", "builtin-character", _mushroom, lambda k: THING_PROMPTS[k % 7].format(t="mirvel", b=MUSHROOM_BACKS[k % 5]), shows_mushroom),
        Concept("thing", "sorbek", "builtin-character", _ball, lambda k: THING_PROMPTS[k % 7].format(t="sorbek", b=BALL_BACKS[k % 6]), shows_ball),
        Concept("style", "terrano", "builtin-style", _grounded, _prompt("terrano"), shows_ground),
        Concept("composition", "cornelo", "builtin-style", _cornered, _prompt("cornelo"), shows_corner),
    )
} | {trigger: CONCEPTS[trigger] for trigger in ("frameno", "duskano")}
