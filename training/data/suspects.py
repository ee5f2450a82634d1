"""Why a picture may not teach: a guess from what is known of it already, its caption first."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from . import contradictions, health
from .datasets import Dataset, Picture
from .finding import some
from .health import Goal

# what a finding of the health check says of one picture
HARD = {
    "cut": "Much of it is cut away to fit its training size: drag the crop to what matters.", "blurred": "No part of it is sharp at its training size.",
    "small": "It is enlarged a lot to be learnt, and looks soft.", "compressed": "It is strongly compressed: its blocks are learnt too.", "framed": "A frame or bars lie around it.",
    "dark": "Hardly anything can be seen in it.", "grey": "Its caption says that there are no colours, and there are.",
}  # fmt: skip
EASY = {"plain": "It is almost one colour.", "bright": "More than half of it is pure white.", "framed": "A frame or bars lie around it."}
NO_CAPTION = "It has no caption, so nothing says what it shows."
HARD_ELSE = "Perhaps its caption says something that is not to be seen, or it shows what no other picture does."
EASY_ELSE = "Perhaps it is there more than once, or very plain: it has little left to teach."


def reasons(ds: Dataset, hard: Collection[str], easy: Collection[str], goal: Goal) -> dict[str, str]:
    """{picture: a sentence} for the pictures of a dataset that do not teach.  What was never measured by the health check is told from captions alone."""
    pictures = {p.id: p for p in ds.pictures(check=False)}
    known = health.remembered(ds)
    used = [p for p in pictures.values() if p.usable and p.sha256 in known]
    groups = health.near(used, {p.id: known[p.sha256] for p in used}) if easy else []
    found = {f.key: set(f.ids) for f in health.judge(used, known, goal.of(ds)).findings}
    said = {id: _hard(pictures[id], found) for id in hard if id in pictures}
    return said | {id: _easy(pictures[id], found, groups) for id in easy if id in pictures}


def copies(ds: Dataset, most: int) -> list[list[str]]:
    """Groups of pictures that are nearly the same, as far as the health check has measured them; none where it measured more than `most`."""
    known = health.remembered(ds)
    used = [p for p in ds.pictures(check=False) if p.usable and p.sha256 in known] if known else []
    return health.near(used, {p.id: known[p.sha256] for p in used}) if len(used) <= most else []


def copied(others: Sequence[str]) -> str:
    """What is said of a picture that is nearly the same as others."""
    return f"Nearly the same as {some(others, 2)}: what they show counts several times."


def _hard(picture: Picture, found: dict[str, set[str]]) -> str:
    if not any(caption.strip() for caption in picture.captions):
        return NO_CAPTION
    if pairs := contradictions.of(picture):
        (one, other), several = pairs[0], some(f"{a}” and “{b}" for a, b in pairs)
        return f"Its caption says “{one}” and “{other}”: one of the two is wrong." if len(pairs) == 1 else f"Its caption says {several}: one of the two is wrong."
    return next((text for key, text in HARD.items() if picture.id in found.get(key, ())), HARD_ELSE)


def _easy(picture: Picture, found: dict[str, set[str]], groups: Sequence[Sequence[str]]) -> str:
    for group in groups:
        if picture.id in group:
            return f"It is nearly the same as {some([id for id in group if id != picture.id], 2)}: what they show is learnt twice."
    return next((text for key, text in EASY.items() if picture.id in found.get(key, ())), EASY_ELSE)
