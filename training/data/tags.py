"""Captions as lists of tags: told from sentences, taken apart, changed, put together again.  Pure; text in, text out.

A tag stands between commas (also 、 and ，).  What stands before and behind kohya's `|||` is a list of its own; a weight, `(tag:1.2)`, belongs to
its tag.  Whatever changes nothing gives back the very text it was given, blanks and all.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from . import timed
from .captions import SEPARATOR, split

Change = Callable[[str], str]

SHORT_WORDS = 4  # a tag has no more words; "hand on own hip" is one
SHORT_LETTERS = 9  # in scripts without blanks between words
TAGS_SHARE = 0.7  # of the pieces of a caption that is a list of tags
EMOTICON_LETTERS = 9

_PIECE = re.compile(r"(?:\([^()]*:-?\d+(?:\.\d+)?\)|(?<=\d),(?=\d{3}(?!\w))|[^,，、])+")
_WEIGHTED = re.compile(r"\((.+):(-?\d+(?:\.\d+)?)\)")
_SENTENCE = re.compile(r"[.!?]\s|[。！？]")
_ENDED = (".", "!", "?", "。", "！", "？")
_ARTICLES = {"a", "an", "the", "is", "are", "was", "his", "her", "their", "its", "this", "there"}  # sentences have them, tags do not
_UNLIKE = {"6_9", "9_6", "d_b", "o_0", "0_o"}  # emoticons of two letters that differ; in all others they are the same: o_o, x_x
_AS_IT_IS = re.compile(r"__[\w/-]+__|<[^<>]*>|\S*://\S*")  # wildcards, <lora:a_b:1>, addresses


class Line(NamedTuple):
    """One caption taken apart.  groups: tags, those between two ||| each; comma: what stands between tags."""

    groups: tuple[tuple[str, ...], ...]
    comma: str

    @property
    def tags(self) -> list[str]:
        return [tag for group in self.groups for tag in group]


@lru_cache(maxsize=50_000)
def parse(caption: str) -> Line:
    """A caption taken apart."""
    parts = caption.split(SEPARATOR) if SEPARATOR in caption else (caption,)
    comma = next((shown for mark, shown in ((",", ", "), ("、", "、"), ("，", "，")) if mark in caption), ", ")
    return Line(tuple(tuple(p for piece in _PIECE.findall(part) if (p := piece.strip())) for part in parts), comma)


def written(line: Line) -> str:
    """The caption again."""
    return f" {SEPARATOR} ".join(line.comma.join(group) for group in line.groups).strip()


def each_caption(text: str, lines: str, change: Change) -> str:
    """`text` with `change` made to each caption that its lines are.  lines: a key of captions.LINES."""
    if timed.is_timed(text):
        whole, scenes = timed.parted(text)
        return timed.joined(each_caption(whole, lines, change) if whole else "", [line._replace(text=after) for line in scenes if (after := change(line.text))])
    if "\n" not in text:
        return change(text)
    found = split(text, lines)
    if len(found) == 1:
        after = change(found[0])
        return text if after == found[0] else after
    return "\n".join(after for line in text.split("\n") if line.strip() and (after := change(line)))


def each_scene(change: Change) -> Change:
    """The same change, made behind the time of each line that speaks of one scene of a clip, and in the rest as a whole."""

    def made(text: str) -> str:
        if not timed.is_timed(text):
            return change(text)
        whole, scenes = timed.parted(text)
        return timed.joined(change(whole) if whole else "", [line._replace(text=change(line.text)) for line in scenes])

    return made


# -- what a tag is


@lru_cache(maxsize=100_000)  # people have ten thousand captions, and a few thousand tags
def name_of(tag: str) -> str:
    """The tag without its weight."""
    found = _WEIGHTED.fullmatch(tag)
    return found[1].strip() if found else tag


@lru_cache(maxsize=100_000)
def key_of(tag: str) -> str:
    """What two spellings of one tag have in common: no weight, no case, no backslash before a bracket."""
    return name_of(tag).replace("\\", "").casefold()


def is_emoticon(text: str) -> bool:
    """Whether it is one of the faces that boorus have as tags: ^_^, >_<, o_o, :3, (o)_(o), 0_0."""
    if not text or len(text) > EMOTICON_LETTERS or re.search(r"\w[^\W_]|[^\W_]\w", text.replace("_", " ")):
        return False
    if any(unicodedata.category(c) == "Lo" for c in text):
        return False
    sides = re.fullmatch(r"([^\W_])_([^\W_])", text.casefold())
    return sides[1] == sides[2] or text.casefold() in _UNLIKE if sides else any(not c.isalnum() for c in text)


@lru_cache(maxsize=100_000)
def is_short(piece: str) -> bool:
    """Whether a piece between commas can be a tag, and is no part of a sentence."""
    if is_emoticon(piece):
        return True
    if _SENTENCE.search(piece):
        return False
    words = name_of(piece).casefold().split()
    if len(words) > SHORT_WORDS or _ARTICLES & set(words):
        return False
    return all(w.isascii() or _letters_without_blanks(w) <= SHORT_LETTERS for w in words)


def _letters_without_blanks(word: str) -> int:
    return sum(unicodedata.category(c) == "Lo" for c in word)


@lru_cache(maxsize=50_000)
def is_tags(caption: str) -> bool:
    """Whether a caption is a list of tags.  A few sentences among them do not matter; a text of sentences is none."""
    pieces = parse(caption).tags
    if len(pieces) < 2:
        return bool(pieces) and is_short(pieces[0]) and len(pieces[0].split()) <= 2
    pieces = [*pieces[:-1], pieces[-1].removesuffix(".")]
    return sum(map(is_short, pieces)) >= TAGS_SHARE * len(pieces)


@lru_cache(maxsize=50_000)
def tags_of(caption: str) -> dict[str, str]:
    """{key: as it is written} of the tags of a caption; none for sentences."""
    return {key_of(tag): name_of(tag) for tag in parse(caption).tags if is_short(tag)} if is_tags(caption) else {}


def holds(caption: str, tag: str) -> bool:
    """Whether a caption has this tag; a text of sentences has it where it stands there as a word of its own."""
    if not is_tags(caption):
        return _stands_in(tag, caption)
    key = key_of(tag)
    return any(key_of(piece) == key or (not is_short(piece) and _stands_in(tag, piece)) for piece in parse(caption).tags)


def _stands_in(word: str, text: str) -> bool:
    return word.casefold() in text.casefold() and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


# -- counting


class Count(NamedTuple):
    """How many pictures have a tag.  tag: as it is written most often."""

    tag: str
    pictures: int


def counts(pictures: Iterable[Sequence[str]]) -> list[Count]:
    """The tags of all pictures, each with its captions, the commonest first.  A tag counts once a picture."""
    spelt: Counter[str] = Counter()
    for captions in pictures:
        spelt.update(tags_of(captions[0]).values() if len(captions) == 1 else _together(captions).values())
    found: dict[str, list[tuple[int, str]]] = {}
    for tag, number in spelt.items():
        found.setdefault(key_of(tag), []).append((number, tag))
    rows = sorted(found.items(), key=lambda row: (-sum(n for n, _ in row[1]), row[0]))
    return [Count(max(ways)[1], sum(n for n, _ in ways)) for _, ways in rows]


def _together(captions: Sequence[str]) -> dict[str, str]:
    return {key: tag for caption in captions for key, tag in tags_of(caption).items()}


# -- changing: each of one caption


def add(caption: str, tag: str, front: bool = False) -> str:
    """With the tag, unless it is there: in front of all, or behind what may be shuffled."""
    if holds(caption, tag):
        return caption
    line = parse(caption)
    at = 0 if front else min(1, len(line.groups) - 1)
    group = line.groups[at]
    if front:
        group = (tag, *group)
    elif group and group[-1].endswith(_ENDED) and not is_emoticon(group[-1]):
        group = (*group[:-1], f"{group[-1]} {tag}")  # behind a sentence a comma would be odd
    else:
        group = (*group, tag)
    return written(line._replace(groups=(*line.groups[:at], group, *line.groups[at + 1 :])))


def remove(caption: str, tags: Collection[str]) -> str:
    """Without these tags."""
    keys = set(map(key_of, tags))
    return _edited(caption, lambda group: tuple(tag for tag in group if key_of(tag) not in keys))


def rename(caption: str, tags: Collection[str], new: str) -> str:
    """With `new` in place of the first of these tags, and without the others; a weight stays.  `new` never stands there twice."""
    keys, done = set(map(key_of, tags)), False
    line = parse(caption)
    if not any(key_of(tag) in keys for tag in line.tags):
        return caption

    def of(group: tuple[str, ...]) -> tuple[str, ...]:
        nonlocal done
        made = []
        for tag in group:
            if key_of(tag) not in keys | {key_of(new)}:
                made.append(tag)
            elif not done:
                made.append(_with_weight(new, tag))
                done = True
        return tuple(made)

    return _edited(caption, of)


def sort(caption: str, order: Sequence[str] = (), keep: int = 0) -> str:
    """Tags in this order, those that are not in it behind, by the alphabet; the first `keep` stay where they are.

    What stands in front of and behind ||| stays there, and so do sentences, at the end.  A text of sentences stays as it is.
    """
    if not is_tags(caption):
        return caption
    place = {key_of(tag): at for at, tag in enumerate(order)}
    line = parse(caption)
    at = min(1, len(line.groups) - 1)
    group = line.groups[at]
    rank = lambda tag: (not is_short(tag), place.get(key_of(tag), len(place)), key_of(tag) if is_short(tag) else "")
    made = (*group[:keep], *sorted(group[keep:], key=rank))
    return caption if made == group else written(line._replace(groups=(*line.groups[:at], made, *line.groups[at + 1 :])))


def drop_duplicates(caption: str) -> str:
    """Each tag once, in any case and with _ or a blank; the first of them stays.  A text of sentences stays as it is."""
    if not is_tags(caption):
        return caption
    seen: set[str] = set()

    def of(group: tuple[str, ...]) -> tuple[str, ...]:
        made = []
        for tag in group:
            key = spaced(key_of(tag))
            if key not in seen:
                made.append(tag)
            seen.add(key)
        return tuple(made)

    return _edited(caption, of)


def spaced(text: str, kept: Collection[str] = ()) -> str:
    """With blanks in place of _, but in emoticons, wildcards, addresses and the words that are to be kept."""
    if "_" not in text:
        return text
    whole = {w.casefold() for w in kept}
    return re.sub(r"[^\s,，、]+", lambda word: word[0] if _stays(word[0], whole) else word[0].replace("_", " "), text)


def underscored(caption: str, kept: Collection[str] = ()) -> str:
    """With _ in place of the blanks inside tags.  Sentences, and the words that are to be kept, stay as they are."""
    if not is_tags(caption):
        return caption
    whole = set(map(key_of, kept))
    return _edited(caption, lambda group: tuple(t if not is_short(t) or key_of(t) in whole else t.replace(" ", "_") for t in group))


def _stays(word: str, kept: set[str]) -> bool:
    bare = word.strip(".;!?")
    weighted = _WEIGHTED.fullmatch(bare)
    name = weighted[1] if weighted else bare
    return is_emoticon(word) or is_emoticon(name) or name.casefold() in kept or _AS_IT_IS.fullmatch(name) is not None


def _edited(caption: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> str:
    line = parse(caption)
    made = line._replace(groups=tuple(map(change, line.groups)))
    if made == line:
        return caption
    return written(made) if made.tags else ""


def _with_weight(new: str, old: str) -> str:
    found = _WEIGHTED.fullmatch(old)
    return f"({new}:{found[2]})" if found and not _WEIGHTED.fullmatch(new) else new
