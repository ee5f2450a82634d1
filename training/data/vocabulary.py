"""Words that mean something already: those that CLIP's tokenizer knows whole (presets/vocabulary), names of people and of styles."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from ..home import REPO
from ..outside import read_text

FOLDER = REPO / "presets" / "vocabulary"
MAX_BYTES = 4_000_000

# What guides name as trigger words, and what it is to know of each.
KNOWN = {
    "sks": "is a rifle to every base model (the SKS), and weapons leak into what it draws",
    "ohwx": "is the word of many guides: two LoRAs that have it cannot be told apart",
    "zwx": "is the word of many guides: two LoRAs that have it cannot be told apart",
    "shs": "is the word of many guides: two LoRAs that have it cannot be told apart",
    "xyz": "stands for anything in the captions that base models learnt from",
    "txcl": "is the word of an example that many copy: two LoRAs that have it cannot be told apart",
    "tok": "is the word of many online trainers: two LoRAs that have it cannot be told apart",
}


@lru_cache(maxsize=1)
def known_whole() -> dict[str, int]:
    """{word: its place}, the commonest first, of the words that CLIP's tokenizer has a token of their own for, as far as the list goes."""
    return {word: place for place, word in enumerate(_words("clip"))}


@lru_cache(maxsize=1)
def people() -> frozenset[str]:
    """Names that base models draw as somebody; a short list."""
    return frozenset(_words("people"))


@lru_cache(maxsize=1)
def styles() -> frozenset[str]:
    """Words that call up a style or a medium."""
    return frozenset(_words("styles"))


def _words(name: str) -> list[str]:
    lines = [line for line in read_text(FOLDER / f"{name}.txt", MAX_BYTES).splitlines() if not line.startswith("#")]
    return " ".join(lines).split()


def plain(word: str) -> str:
    """The word without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))


def parts(word: str) -> list[str]:
    """The runs of letters in it: 'zib_bo2' has two.  Capitals begin a part where small letters stand before them: 'MyCat'."""
    return [plain(part) for part in re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word))]

