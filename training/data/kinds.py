"""Tags and prose: captions of two kinds that one picture may have, a line each, and which of them a run trains on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .captions import SEPARATOR, clean_caption, split
from .tags import is_tags

ALL, TAGS, PROSE, EVENLY, JOINED = "all", "tags", "prose", "evenly", "joined"


class Wording(NamedTuple):
    """One caption that is trained.  loose: its parts between commas are tags, which may be shuffled and left out."""

    text: str
    loose: bool = True


def chosen(captions: Sequence[str], kinds: str) -> list[list[Wording]]:
    """The captions of a picture that are trained, in groups that are drawn equally often.  kinds: as data.caption_kinds says.

    Where all are trained, kinds are not told apart.  A picture that has none of the kind that is asked for keeps those that it has.
    """
    if kinds == ALL or not captions:
        return [[Wording(text)] for text in captions or ("",)]
    tags, prose = _sorted(captions)
    if kinds == JOINED and tags and prose:
        return [[Wording(_joined(prose[n % len(prose)], tags[n % len(tags)]))] for n in range(max(len(tags), len(prose)))]
    groups = {TAGS: [tags], PROSE: [prose]}.get(kinds, [tags, prose])
    groups = [group for group in groups if group] or [tags or prose]
    made = [[Wording(text, group is tags) for text in group] for group in groups]
    return made if kinds == EVENLY else [[wording] for group in made for wording in group]


def _sorted(captions: Iterable[str]) -> tuple[list[str], list[str]]:
    tags, prose = [], []
    for text in captions:
        (tags if is_tags(text) else prose).append(text)
    return tags, prose


def _joined(prose: str, tags: str) -> str:
    """Both in one caption: the sentences stay in front, and so does what the tags keep there."""
    front = ", ".join(part for part in (piece.strip(" ,.") for piece in prose.split(SEPARATOR)) if part)
    return f"{front}, {tags}" if SEPARATOR in tags else f"{front} {SEPARATOR} {tags}"


def lacks(captions: Sequence[str], kinds: str) -> bool:
    """Whether a picture with captions has not what is asked for."""
    if kinds == ALL or not captions:
        return False
    tags, prose = _sorted(captions)
    return not {TAGS: tags, PROSE: prose}.get(kinds, tags and prose)


def together(before: str, after: str) -> str:
    """What two files say of one picture: both, a line each, where one is tags and the other is prose; else the later one."""
    one, other = (clean_caption(text).rstrip(" ,") for text in (after, before))
    if not (one and other) or is_tags(one) == is_tags(other):
        return after
    if len(split(made := f"{one}\n{other}")) > 1:
        return made
    prose, tags = (other, one) if is_tags(one) else (one, other)
    return f"{prose}.\n{tags}"  # else the lines would be read as one text that was wrapped


def _as_all(groups: list[list[Wording]], captions: Sequence[str]) -> bool:
    """Whether each of the captions is drawn, and as often as the others."""
    return len({len(group) for group in groups}) == 1 and sorted(w.text for group in groups for w in group) == sorted(captions)


def remarks(captions: Sequence[Sequence[str]], kinds: str, tags_change: bool) -> list[str]:
    """What to know of data.caption_kinds and the captions of each picture, a sentence each.  tags_change: tags are shuffled or left out."""
    if kinds == ALL:
        return []
    told = [c for c in captions if c]
    lacking = sum(lacks(c, kinds) for c in told)
    if not tags_change and all(_as_all(chosen(c, kinds), c) for c in told):
        return [f"data.caption_kinds has no effect: with {kinds!r} every picture is learnt with the same captions as with 'all'"]
    what = {TAGS: "tags", PROSE: "sentences"}.get(kinds, "both tags and sentences")
    return [f"{lacking} of {len(told)} pictures do not have {what} as data.caption_kinds asks, and are learnt with what they have"] if lacking else []
