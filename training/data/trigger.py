"""Is a trigger word free: what it means already, as far as lists of words, the base model's tokenizers and the captions here can tell; and words that are.

What a text encoder makes of it cannot be told without loading one, and is not guessed.  A made-up word of several rare pieces is what guides
call for: its pieces have no meaning together yet, so that training can give them one.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import vocabulary
from .captions import has_place
from .tokens import Tokens, of_base

SHORT = 3  # letters, below which a word is a piece of half of all others
LONG = 16
COMMON = 8000  # places in the list of words that anybody would call ordinary
LIKE_FROM, LIKE_IN = 5, 3000  # letters from which a word that differs in one letter is told, and among how many of the commonest
MANY_PIECES = 5  # tokens; a prompt has 75
RARE_PLACE = 40_000  # of CLIP's 49,408 tokens: what is rarer may be a word that nobody would think of
MEANT = 0.8  # share of the letters that lie in pieces which are words of their own
OFFERED = 3
VERDICTS = {"bad": "taken", "warn": "look", "note": "free"}


@dataclass(frozen=True)
class Remark:
    """One thing to know of a word.  level: bad (it means something else), warn (it may), note."""

    level: str
    text: str


@dataclass(frozen=True)
class Judged:
    """What is known of a word.  verdict: free, look or taken.  tokens: of each tokenizer that could be asked.  unknown: what could not be, a sentence."""

    word: str
    verdict: str
    remarks: tuple[Remark, ...]
    tokens: tuple[Tokens, ...]
    unknown: str


def judge(word: str, captions: Iterable[Sequence[str]] = (), base: Path | None = None) -> Judged:
    """captions: of each picture here.  base: the folder of the chosen base model; None where it is not on this computer or in one file."""
    word = " ".join(word.split())
    cut, silent = of_base(base, word) if base else ([], [])
    found = [*_shape(word), *_meaning(word, cut), *_in_tokens(word, cut), *_here(word, captions)] if word else []
    remarks = tuple(sorted(dict.fromkeys(found), key=lambda r: list(VERDICTS).index(r.level)))
    verdict = VERDICTS[remarks[0].level] if remarks else "free"
    return Judged(word, verdict, remarks, tuple(cut), _unknown(base, cut, silent))


def _shape(word: str) -> Iterator[Remark]:
    """What its letters alone tell."""
    letters = sum(c.isalpha() for c in word)
    if not letters:
        yield Remark("bad", "It has no letters: digits and signs are tokens that every number and every sentence shares.")
        return
    if any(c.isdigit() for c in word):
        yield Remark("warn", "Digits are cut off, each a token of its own that all numbers share: what it learns leaks into every number. Leave them out.")
    if len(word) < SHORT:
        one, many = "It has a single letter, and is a piece of many other words. Four to eight are usual.", f"It has {len(word)} letters, and is a piece of many other words. Four to eight are usual."
        yield Remark("warn", one if len(word) == 1 else many)
    if len(word) > LONG:
        yield Remark("note", "It is long, and fills a good part of a prompt.")
    if re.search(r"[^\w\s]|_", word):
        yield Remark("warn", "Signs such as - and _ are tokens of their own that other words share; letters alone are enough.")
    if not word.isascii():
        yield Remark("note", "Letters outside a to z are cut into bytes by most text encoders; plain ones are shorter.")


def _meaning(word: str, cut: Sequence[Tokens]) -> Iterator[Remark]:
    """What it means to people, by lists: ordinary words, names, styles."""
    known = vocabulary.known_whole()
    parts = vocabulary.parts(word)
    whole = "".join(parts)
    if whole in vocabulary.KNOWN:
        bad = "cannot be told apart" not in vocabulary.KNOWN[whole]
        yield Remark("bad" if bad else "warn", f"“{whole}” {vocabulary.KNOWN[whole]}.")
        return
    several = len(parts) > 1 and " " in word
    for part in dict.fromkeys([whole, *parts]):
        if part in vocabulary.people():
            yield Remark("bad", f"“{part}” is somebody’s name whom base models draw: they would be mixed with what is learnt.")
        elif part in vocabulary.styles():
            yield Remark("warn" if len(parts) > 1 else "bad", f"“{part}” calls up a style by itself.")
        elif part in known and len(part) >= SHORT and (part == whole or len(part) > SHORT or several):
            common = known[part] < COMMON
            ordinary, other = f"“{part}” is an ordinary word: it means something already.", f"“{part}” is a word that CLIP’s vocabulary knows whole: it means something already."
            yield Remark("bad" if common and part == whole else "warn", ordinary if common else other)
    style = next((s for s in sorted(vocabulary.styles(), key=len, reverse=True) if len(s) >= LIKE_FROM and s in whole and s not in parts), "")
    if style:
        yield Remark("warn", f"It holds “{style}”, which calls up a style by itself.")
    somebody = next((s for s in sorted(vocabulary.people()) if len(s) > LIKE_FROM and s in whole and s not in parts), "")
    if somebody:
        yield Remark("warn", f"It holds “{somebody}”, the name of somebody whom base models draw.")
    if whole not in known and not style and not somebody and (two := _two_words(whole)):
        yield Remark("warn", f"It is made of “{two[0]}” and “{two[1]}”, and a text encoder may see both.")
    if len(whole) >= LIKE_FROM and whole not in known and len(parts) == 1 and (like := _alike(whole)):
        yield Remark("note", f"It is one letter away from “{like}”; a slip of the finger would mean that.")


def _two_words(whole: str) -> tuple[str, str] | None:
    """The two ordinary words that it is put together of, each of three letters or more and one of four."""
    known = vocabulary.known_whole()
    for at in range(SHORT, len(whole) - SHORT + 1):
        first, second = whole[:at], whole[at:]
        if max(len(first), len(second)) > SHORT and known.get(first, COMMON) < LIKE_IN and known.get(second, COMMON) < LIKE_IN:
            return first, second
    return None


def _alike(whole: str) -> str:
    """The commonest ordinary word that differs in one letter, put in, left out or changed; "" for none."""
    for word, place in vocabulary.known_whole().items():
        if place >= LIKE_IN:
            return ""
        if len(word) >= LIKE_FROM and abs(len(word) - len(whole)) < 2 and _one_apart(word, whole):
            return word
    return ""


def _one_apart(a: str, b: str) -> bool:
    same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[same:], b[same:]
    return a != b and (rest_a[1:] == rest_b[1:] or rest_a[1:] == rest_b or rest_a == rest_b[1:])


def _in_tokens(word: str, cut: Sequence[Tokens]) -> Iterator[Remark]:
    """What the base model's tokenizers tell."""
    known = vocabulary.known_whole()
    for t in cut:
        if t.whole and vocabulary.plain(word) not in known:
            said = f"{t.encoder} has a token for it alone: it was common enough in what that encoder learnt from to mean something."
            if t.encoder == "CLIP" and t.place >= RARE_PLACE:
                said = f"{t.encoder} has a token for it alone (a rare one, number {t.place:,}): it was common enough in what that encoder learnt from to mean something."
            yield Remark("warn", said)
        elif not t.whole:
            told = [p for p in t.pieces if len(p) > SHORT and known.get(vocabulary.plain(p), COMMON) < COMMON]
            if sum(map(len, told)) > MEANT * len(word.replace(" ", "")):
                yield Remark("warn", f"{t.encoder} reads it as {_listed(t.pieces)}: words of their own.")
        if len(t.pieces) > MANY_PIECES:
            yield Remark("note", f"{t.encoder} needs {len(t.pieces)} tokens for it, in every prompt.")


def _listed(pieces: Sequence[str]) -> str:
    return " + ".join(f"“{p}”" for p in pieces)


def _here(word: str, captions: Iterable[Sequence[str]]) -> Iterator[Remark]:
    """What the captions here say."""
    told = [c for c in captions if c]
    own = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)  # as with_trigger() looks for it
    having = sum(any(map(own.search, mine)) for mine in told)
    placed = sum(any(map(has_place, mine)) for mine in told)
    if having and having + placed < len(told):
        said = f"1 caption says it already, of {len(told)}." if having == 1 else f"{having} captions say it already, of {len(told)}."
        yield Remark("note", f"{said} It is put in front of the others by itself; where it means something else there, choose another.")
    elif not having and (near := _nearly(word, told)):
        yield Remark("warn", f"The captions say “{near}”, but not “{word}”: is it the same word?")


def _nearly(word: str, told: Sequence[Sequence[str]]) -> str:
    """A word that most captions begin with and that is this one but for a letter; "" for none."""
    firsts = Counter(first for mine in told for c in mine[:1] if (first := re.split(r"[\s,]", c.strip(), maxsplit=1)[0]))
    often, number = firsts.most_common(1)[0] if firsts else ("", 0)
    many = number >= max(3, len(told) / 2)
    close = difflib.SequenceMatcher(None, vocabulary.plain(often), vocabulary.plain(word)).ratio() >= 0.75
    return often if many and close and len(often) >= SHORT else ""


def _unknown(base: Path | None, cut: Sequence[Tokens], silent: Sequence[str]) -> str:
    meaning = "What a text encoder makes of it is not looked at: that would load the base model."
    if base is None:
        return f"How the base model cuts it into tokens cannot be said: its tokenizer’s files are not on this computer, or lie inside one file. {meaning}"
    if silent or not cut:
        return f"How {' and '.join(silent) or 'its text encoder'} cuts it cannot be said from these files. {meaning}"
    return meaning


# -- words that are free

PLAIN_WORDS = frozenset(["my", "the", "our", "your", "a", "an", "of", "and", "in", "on", "with", "photos", "photo", "pictures", "picture", "images", "image", "dataset", "data", "set", "lora", "style", "training", "train", "new", "old", "final", "test"])  # fmt: skip
SHAPES = ("{a}o{b}ix", "z{a}i{b}u", "{a}u{b}zo", "v{a}y{b}o", "{a}i{b}qua", "k{b}o{a}ix", "{b}yz{a}o", "x{a}e{b}u", "{a}{b}ovi", "qui{a}{b}o", "{b}uv{a}i", "zy{b}{a}o")


def offered(title: str, captions: Iterable[Sequence[str]] = (), base: Path | None = None) -> list[str]:
    """Free words that sound like the title of a dataset, the same each time; three of them."""
    here = " ".join(caption.casefold() for mine in captions for caption in mine)
    words = [w for w in vocabulary.parts(title) if w not in PLAIN_WORDS and w.isascii()]
    letters = [c for w in sorted(words, key=len, reverse=True) for c in w if c not in "aeiouyhwqxz"] or list("mbl")
    first, second = letters[0], next((c for c in letters[1:] if c != letters[0]), "b")
    made: list[str] = []
    for shape in SHAPES:
        word = shape.format(a=first, b=second)
        if word not in made and word not in here and not judge(word, (), base).remarks:
            made.append(word)
        if len(made) == OFFERED:
            break
    return made

