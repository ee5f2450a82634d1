"""Pairs of pictures that differ in one thing, its low and its high end: told by their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from .datasets import Picture

_END = re.compile(r"^(.+)[-_. ](low|high)$", re.IGNORECASE)


def end_of(id: str) -> tuple[str, str]:
    """(the name that both ends share, "low", "high" or "") of a picture's file name."""
    stem = unicodedata.normalize("NFC", id.rpartition(".")[0] or id)
    match = _END.match(stem)
    return (match[1].casefold(), match[2].lower()) if match else (stem.casefold(), "")


def highs(pictures: Sequence[Picture], low: str) -> list[Picture]:
    """Those that are the high end of a pair.  low: ConceptPart's; where it names a dataset, all of these are."""
    return [p for p in pictures if low or end_of(p.id)[1] == "high"]


def partners(pictures: Sequence[Picture], lows: Sequence[Picture] | None) -> dict[str, Picture]:
    """{id of a high end: its low end}.  lows: the other dataset, None where both ends lie in `pictures`.

    Raises ValueError where a picture has no partner, several, or one of another size or length, and names them.
    """
    mine = [p for p in pictures if lows is not None or end_of(p.id)[1] == "high"]
    others = [p for p in pictures if end_of(p.id)[1] == "low"] if lows is None else list(lows)
    loose = [p.id for p in pictures if lows is None and not end_of(p.id)[1]]
    if loose:
        raise ValueError(f"{_some(loose)} is neither a low nor a high end: a pair is name.low.jpg and name.high.jpg, or two folders with equal names (concept.low)")
    by_name: dict[str, list[Picture]] = {}
    for picture in others:
        by_name.setdefault(end_of(picture.id)[0], []).append(picture)
    alone = [p.id for p in mine if len(by_name.get(end_of(p.id)[0], ())) != 1]
    alone += [p.id for p in others if end_of(p.id)[0] not in {end_of(m.id)[0] for m in mine}]
    if not mine:
        raise ValueError("there is no pair: each is two pictures, name.low.jpg and name.high.jpg, or two of equal names in two datasets (concept.low)")
    if alone:
        raise ValueError(f"without its other end, or with several, is {_some(alone)}: each high end needs one low end of the same name")
    found = {p.id: by_name[end_of(p.id)[0]][0] for p in mine}
    odd = [f"{p.id} ({p.width}x{p.height}) and {o.id} ({o.width}x{o.height})" for p in mine if (o := found[p.id]) and (p.width, p.height, p.seconds) != (o.width, o.height, o.seconds)]
    if odd:
        raise ValueError(f"the two ends of a pair must be of one size and length: {_some(odd)}")
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
