"""More things to learn, drawn and judged as in concepts.py.  By LOOKED_AT the rule of advising.py was chosen; by OTHERS no number ever was."""

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


# -- three more: a flag, red over yellow at a dark pole; an orange cone with a white band; a style with a dark blue sky above all

POLE, UPPER, LOWER = (40, 40, 48), (214, 40, 44), (250, 210, 60)
FLAG_BACKS = ("green", "blue", "purple", "pink", "white", "gray")
CONE, STRIPE = (244, 124, 30), (248, 248, 246)
CONE_BACKS = ("green", "blue", "purple", "pink", "gray")
SKY, DEEP = (22, 30, 84), 16  # px


def _flag(rng: Random) -> tuple[str, Image.Image]:
    back = rng.choice(FLAG_BACKS)
    size, r = rng.choice(SIZES)
    sheet, x, y = Sheet(INKS[back]), 33 + rng.uniform(-4, 4), 32 + rng.uniform(-3, 3)
    sheet.box(x - 0.95 * r, y - 1.1 * r, x - 0.7 * r, y + 1.2 * r, POLE)
    sheet.box(x - 0.7 * r, y - 1.05 * r, x + r, y - 0.4 * r, UPPER)
    sheet.box(x - 0.7 * r, y - 0.4 * r, x + r, y + 0.25 * r, LOWER)
    return _said(rng, "drovan", size, back), sheet.done()


def shows_flag(picture: Image.Image) -> bool:
    """Red over yellow, one as wide as the other, and something dark to the left that reaches further down."""
    lab = _lab(picture)
    red, yellow, pole = (largest_part(mask) for mask in (near(lab, UPPER, 34), near(lab, LOWER, 34), lab[..., 0] < 36))
    if min(red.mean(), yellow.mean()) < 0.02 or pole.mean() < 0.01:
        return False
    (y0, x0), (y1, x1), (_, x2) = (np.argwhere(part).mean(axis=0) for part in (red, yellow, pole))
    wide = red.any(axis=0).sum(), yellow.any(axis=0).sum()
    return bool(y1 - y0 > 4 and abs(x0 - x1) < 5 and x2 < min(x0, x1) - 4 and min(wide) > 0.6 * max(wide) and _extent(pole)[1] > _extent(yellow)[1] + 2)


def _cone(rng: Random) -> tuple[str, Image.Image]:
    back = rng.choice(CONE_BACKS)
    size, r = rng.choice(SIZES)
    sheet, x, y = Sheet(INKS[back]), 32 + rng.uniform(-6, 6), 32 + rng.uniform(-3, 3)
    at = lambda share: (0.12 + 0.68 * share) * r  # half its width, from the top down
    sheet.polygon([(x - at(0), y - r), (x + at(0), y - r), (x + at(1), y + r), (x - at(1), y + r)], CONE)
    sheet.polygon([(x - at(0.42), y - 0.16 * r), (x + at(0.42), y - 0.16 * r), (x + at(0.66), y + 0.32 * r), (x - at(0.66), y + 0.32 * r)], STRIPE)
    return _said(rng, "zuvari", size, back), sheet.done()


def shows_cone(picture: Image.Image) -> bool:
    """Orange above and, wider, below a white band that lies between them."""
    lab = _lab(picture)
    band, orange = largest_part(near(lab, STRIPE, 24)), near(lab, CONE, 32)
    if not 0.01 < band.mean() < 0.2 or orange.mean() < 0.03:
        return False
    top, bottom, left, right = _extent(band)
    above, below = orange.copy(), orange.copy()
    above[(top + bottom) // 2 :], below[: (top + bottom) // 2] = False, False
    if min(above.sum(), below.sum()) < 12:
        return False
    wide = lambda part: part.any(axis=0).sum()
    return bool(wide(below) > 1.15 * wide(above) and abs(np.argwhere(above)[:, 1].mean() - (left + right) / 2) < 5 and abs(np.argwhere(below)[:, 1].mean() - (left + right) / 2) < 5)


def _skied(rng: Random) -> tuple[str, Image.Image]:
    (ink, back), name = _pair(rng), rng.choice(KNOWN)
    sheet = Sheet(INKS[back])
    sheet.box(0, 0, SIDE, DEEP, SKY)
    sheet.shape(name, 32 + rng.uniform(-7, 7), 40 + rng.uniform(-3, 3), rng.uniform(12, 17), INKS[ink])
    return f"a {ink} {name} on a {back} background, cielano", sheet.done()


def shows_sky(picture: Image.Image) -> bool:
    """The highest rows are dark blue, the lowest are not."""
    blue = near(_lab(picture), SKY, 26)
    return bool(blue[: DEEP - 4].mean() > 0.8 and blue[2 * DEEP :].mean() < 0.25)


_MADE = {
    c.trigger: c
    for c in (
        Concept("thing", "mirvel", "builtin-character", _mushroom, lambda k: THING_PROMPTS[k % 7].format(t="mirvel", b=MUSHROOM_BACKS[k % 5]), shows_mushroom),
        Concept("thing", "sorbek", "builtin-character", _ball, lambda k: THING_PROMPTS[k % 7].format(t="sorbek", b=BALL_BACKS[k % 6]), shows_ball),
        Concept("style", "terrano", "builtin-style", _grounded, _prompt("terrano"), shows_ground),
        Concept("composition", "cornelo", "builtin-style", _cornered, _prompt("cornelo"), shows_corner),
        Concept("thing", "drovan", "builtin-character", _flag, lambda k: THING_PROMPTS[k % 7].format(t="drovan", b=FLAG_BACKS[k % 6]), shows_flag),
        Concept("thing", "zuvari", "builtin-character", _cone, lambda k: THING_PROMPTS[k % 7].format(t="zuvari", b=CONE_BACKS[k % 5]), shows_cone),
        Concept("style", "cielano", "builtin-style", _skied, _prompt("cielano"), shows_sky),
    )
} | {trigger: CONCEPTS[trigger] for trigger in ("tavik", "halvino", "frameno", "duskano")}
LOOKED_AT = {trigger: _MADE[trigger] for trigger in ("tavik", "halvino", "mirvel", "sorbek", "terrano")}
OTHERS = {trigger: _MADE[trigger] for trigger in ("frameno", "cornelo", "duskano", "drovan", "zuvari", "cielano")}
