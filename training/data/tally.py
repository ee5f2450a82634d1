"""What there is to know of the captions of a dataset as a whole: numbers, and whom they are about.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .captions import TOKEN_LIMIT, about_tokens, has_place, longest
from .prose import counts as spoken
from .tags import Count, counts, holds, is_tags

EVERYWHERE = 0.98  # share of the captions that a tag is in, from which on it tells them apart no more


@dataclass(frozen=True)
class Tally:
    """Of the captions that are there.  Fields that hold ids: the pictures in question, in their order."""

    pictures: int
    bare: tuple[str, ...]  # without a caption
    words: int  # of the caption in the middle
    tokens: int  # about how many the longest has, start and end included
    long: tuple[str, ...]  # longer than CLIP's text encoder reads
    same: tuple[str, ...]  # word for word the caption of another picture
    lacking: tuple[str, ...]  # without the trigger word
    lists: int  # how many are lists of tags
    tags: tuple[Count, ...]  # the commonest first
    words_used: tuple[Count, ...] = ()  # of captions that are sentences, without those that every sentence has
    pairs_used: tuple[Count, ...] = ()  # two neighbouring words, in at least two pictures

    @property
    def captioned(self) -> int:
        return self.pictures - len(self.bare)

    @property
    def everywhere(self) -> list[Count]:
        """Tags in nearly all lists of tags; none where there is but one list."""
        return [tag for tag in self.tags if tag.pictures >= EVERYWHERE * self.lists] if self.lists > 1 else []

    @property
    def once(self) -> list[Count]:
        """Tags that a single picture has."""
        return [tag for tag in self.tags if tag.pictures == 1]


def tally(pictures: Mapping[str, Sequence[str]], trigger: str = "") -> Tally:
    """pictures: {id: its captions}, () for none.  trigger: the trigger word, "" where none was chosen."""
    had = {id: captions for id, captions in pictures.items() if captions}
    tokens = {id: about_tokens(longest(captions)) for id, captions in had.items()}
    times = Counter(tuple(captions) for captions in had.values())
    words_used, pairs_used = spoken(had.values())
    lacks = lambda caption: not (has_place(caption) or holds(caption, trigger))
    return Tally(
        pictures=len(pictures),
        bare=tuple(id for id, captions in pictures.items() if not captions),
        words=round(median(len(captions[0].split()) for captions in had.values())) if had else 0,
        tokens=max(tokens.values(), default=0),
        long=tuple(id for id, number in tokens.items() if number > TOKEN_LIMIT),
        same=tuple(id for id, captions in had.items() if times[tuple(captions)] > 1),
        lacking=tuple(id for id, captions in had.items() if trigger and any(map(lacks, captions))),
        lists=sum(is_tags(captions[0]) for captions in had.values()),
        tags=tuple(counts(had.values())),
        words_used=words_used,
        pairs_used=pairs_used,
    )
