"""A captioner's words put together with those that are there: behind, in front, or as a caption more.  Pure; text in, text out.

A list of tags and sentences do not mix well: shuffled, sentences fall to pieces.  So kohya's `|||` can be put between them: what stands before
it stays in front, what stands behind a second one stays behind, and only the tags in the middle are shuffled.  It is never trained itself.
"""

from __future__ import annotations

import re

from . import tags
from .captions import SEPARATOR, split, with_trigger

PLACES = ("behind", "front", "line")
ONE_LINE = "the lines of this dataset are read as one caption, so a line more is no caption more; choose 'Each line is a caption' above the captions, or put the words behind"
_ENDED = (".", "!", "?", "。", "！", "？")


def combined(now: str, new: str, place: str, apart: bool = True, trigger: str = "", lines: str = "") -> str:
    """The whole text of a picture's captions with `new` in it.  place: one of PLACES.  apart: put ||| between tags and sentences.

    lines: a key of captions.LINES, how the dataset reads lines.  The trigger word is put in where it is missing.
    """
    if not now:
        return with_trigger(new, trigger)
    if place == "line":
        return _one_more(now, with_trigger(new, trigger), lines)
    return tags.each_caption(now, lines, lambda caption: with_trigger(joined(with_trigger(caption, trigger), new, place == "front", apart, trigger), trigger))


def joined(now: str, new: str, front: bool, apart: bool = True, trigger: str = "") -> str:
    """One caption with `new` in front of it or behind it.  What is there already is not put in twice; of a list of tags only those are added that are missing."""
    if re.search(rf"(?<!\w){re.escape(new)}(?!\w)", now, re.IGNORECASE):
        return now
    if tags.is_tags(new):
        new = ", ".join(tag for tag in tags.parse(new).tags if not tags.holds(now, tag))
    if not new:
        return now
    if SEPARATOR in now:
        return _into(now, new, front, trigger)
    if not (apart and (_is_list(now) and not tags.is_tags(new) or _is_list(new) and not tags.is_tags(now))):
        lead, rest = _led(now, trigger)
        return _beside(lead, _beside(new, rest)) if front else _beside(now, new)
    lead, rest = _led(now, trigger)
    if _is_list(new):
        return _written(lead, new, rest) if front else _written(now, new, "")
    return _written(_beside(lead, new), rest, "") if front else _written(lead, rest, new)


def _into(now: str, new: str, front: bool, trigger: str) -> str:
    """`new` in the group of a kept-apart caption where it belongs: tags among tags, sentences at the end that is asked for."""
    first, middle, *last = [group.strip(" ,") for group in now.split(SEPARATOR)]
    behind = ", ".join(filter(None, last))
    if tags.is_tags(new):
        return _written(first, _beside(new, middle) if front else _beside(middle, new), behind)
    if front:
        lead, rest = _led(first, trigger)
        return _written(_beside(lead, _beside(new, rest)), middle, behind)
    return _written(first, middle, _beside(behind, new))


def _one_more(now: str, new: str, lines: str) -> str:
    """Another line, which is a caption of its own; the line before it is ended, so that none of the two is taken for a part of the other."""
    if lines == "one":
        raise ValueError(ONE_LINE)
    if new in split(now, lines):
        return now
    before = now.rstrip(" ,;:-")
    made = f"{before}\n{new}"
    return made if len(split(made, lines)) > 1 or before.endswith(_ENDED) else f"{before}.\n{new}"


def _is_list(text: str) -> bool:
    """Whether it is a list of tags; a single one goes with anything."""
    return tags.is_tags(text) and len(tags.parse(text).tags) > 1


def _led(text: str, trigger: str) -> tuple[str, str]:
    """(the trigger word where the text begins with it, the rest)."""
    first, _, rest = text.partition(",")
    return (trigger, rest.strip()) if trigger and first.strip().casefold() == trigger.casefold() else ("", text)


def _beside(one: str, other: str) -> str:
    """Two pieces of one kind, with what belongs between them."""
    if not one or not other:
        return one or other
    return f"{one} {other}" if one.endswith(_ENDED) and not tags.is_emoticon(one.rpartition(" ")[2]) else f"{one.rstrip(' ,')}, {other}"


def _written(first: str, middle: str, last: str) -> str:
    groups = [first, middle, last] if last else [first, middle]
    return f" {SEPARATOR} ".join(groups).strip() if any(groups[:-1]) else groups[-1]
