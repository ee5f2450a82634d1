"""What the health check says of pairs: pictures that are learnt as edits of others, which lie beside them as their control pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from .controls import Control
from .editing import same_shape
from .finding import Finding
from .listing import Picture
from .measuring import Measured

SAME_LEVELS = 1.5  # levels by which no part of two pictures differs that may be the same; JPEG of quality 90 strays by 1
SAME_BLUR_PX = 0.1  # px by which its edges are as sharp: JPEG changes them by 0.01, a blur of half a px by 0.15
SAME_SPREAD = 0.45  # levels by which its contrast is the same: JPEG changes it by up to 0.43, sharpening and strong noise by more
SMALLER = 0.8  # of the picture's side: a picture before with less has less detail than what is to be drawn of it
MOSTLY = 0.5  # share of pairs from which a dataset is one of edits, in which the rest has a part missing


def of_edits(pictures: Sequence[Picture]) -> bool:
    """Whether a dataset holds edits: pictures that others beside them are made into."""
    return any(p.references for p in pictures)


def found(used: Sequence[Picture], seen: Mapping[str, Measured], side_px: int) -> list[Finding]:
    """The findings on the pairs among these pictures; none where there are none.  seen: what is measured, by sha256, of what they are made from too."""
    pairs = [(p, p.references[0]) for p in used if p.references and not p.seconds]
    if not pairs:
        return []
    broken = tuple(p.id for p in used if p.control_note and not p.other_shape)
    alone = tuple(p.id for p in used if not p.references and p.id not in broken)
    bare = tuple(p.id for p, _ in pairs if not any(c.strip() for c in p.captions))
    level = "warn" if len(pairs) >= MOSTLY * len(used) else "note"
    rows = [
        ("alone", level, "No picture before", "Others here are made from a picture beside them, but these are not: no edit is learnt from them.", "Select one and add the picture that it is made from, or leave these out.", alone),
        ("unread", "warn", "The picture before can’t be used", "It is damaged or cannot be read; the reason stands on each.", "Take it away and add a good copy.", broken),
        ("unchanged", "bad", "The same before and after", "The picture is what it is made from: to change nothing is what is learnt.", "Put the right picture before each, or take them out.", tuple(p.id for p, c in pairs if p.sha256 == c.sha256)),
        ("alike", "note", "Perhaps the same before and after", "No difference could be measured between them; a small one may be there all the same.", "Look at both on the large view, and put the right picture before each.", tuple(p.id for p, c in pairs if p.sha256 != c.sha256 and alike(p, c, seen))),
        ("reshaped", "warn", "Before and after differ in shape", "What stands in one place before stands in another after, and shifts in results.", "Cut both to one shape in an image editor, or allow other shapes on the Train tab.", tuple(p.id for p, c in pairs if reshaped(p, c))),
        ("coarse", "note", "A small picture before", f"It is smaller than the picture after, and enlarged to be seen at {side_px} px.", "Use a larger one, unless adding detail is what should be learnt.", tuple(p.id for p, c in pairs if coarse(p, c, side_px))),
        ("uninstructed", "warn", "No instruction", "The caption says what is done to the picture before: without one, no words bring this edit about.", "Write it on the Captions tab; one for all is enough where the edit is the same.", bare),
    ]  # fmt: skip
    return [Finding(*row) for row in rows if row[-1]]


def alike(picture: Picture, before: Control, seen: Mapping[str, Measured]) -> bool:
    """Whether nothing that is measured tells a picture from what it is made from: its size, its sharpness, its contrast, its parts."""
    if before.sha256 not in seen or picture.sha256 not in seen or (picture.width, picture.height) != (before.width, before.height):
        return False
    one, other = seen[picture.sha256], seen[before.sha256]
    if abs(one.blur_px - other.blur_px) > SAME_BLUR_PX or abs(one.spread - other.spread) > SAME_SPREAD:
        return False
    first, second = (base64.b64decode(measured.tiny) for measured in (one, other))
    return max(abs(a - b) for a, b in zip(first, second, strict=True)) <= SAME_LEVELS


def reshaped(picture: Picture, before: Control) -> bool:
    """Whether it has another shape than the picture that it is made from."""
    return bool(picture.height and before.height) and not same_shape(before, picture)


def coarse(picture: Picture, before: Control, side_px: int) -> bool:
    """Whether the picture before has less detail than what is learnt of the picture after."""
    area = before.width * before.height
    return bool(area) and area < side_px**2 and area < SMALLER**2 * picture.width * picture.height
