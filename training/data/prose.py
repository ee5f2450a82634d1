"""What captions of sentences speak of: their words and pairs of neighbouring words, by how many pictures have them.  Pure; text in, numbers out.

Words that stand in every sentence say nothing and are left out: articles, pronouns, prepositions, forms of be and have, of the languages
that captions are mostly written in.  Writing without blanks between words (Chinese, Japanese, Thai) has no words to count here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from .captions import SEPARATOR
from .tags import Count, is_tags

MOST = 400  # rows of either
LEAST = 2  # pictures that a pair of words is in; of a single one every pair would be a row
LONGEST = 40  # letters of a word

_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_UNPARTED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
# none that means something in English captions: no "hat", no "den", no "war", although German has them in every sentence
_EVERYWHERE = """
    a an the this that these those there here it its it's he him his she her hers they them their theirs we us our you your i me my one ones some any all both each every no not none
    and or but nor so yet if then than as while when where which who whom whose what how why because although though
    of in on at by to from with without within into onto over under above below behind beside besides between among across through around near next off out up down along against toward towards
    about after before during for like per via upon
    is are was were be been being am has have had having do does did doing can could will would shall should may might must
    very more most much many few several other another such same own only just also too even again once either neither
    image picture photo photograph depicts shows showing shown features featuring appears seems seen visible
    der das dem des ein eine einen einem einer eines und oder aber mit von vom zu zum zur im in auf an am aus bei für über unter vor hinter neben zwischen ist sind haben wird sich es er sie ihr sein seine
    le la les l un une des du de d et ou mais avec sans dans sur sous est sont était a ont qui que se ce cette ces sa ses il elle au aux en
    el los una unos unas y o pero con del al por para es que su sus se lo como más muy
    il lo gli uno di da nel nella su tra per è che si ed
    um uma os as e ou mas com sem do da dos das no na nos nas ao à é são seu sua
"""
_STOP = frozenset(_EVERYWHERE.split())


@lru_cache(maxsize=50_000)
def words_of(caption: str) -> tuple[frozenset[str], frozenset[str]]:
    """(words, pairs of words that follow each other with nothing but a blank between them) of a caption of sentences; none of a list of tags."""
    if is_tags(caption):
        return frozenset(), frozenset()
    found = [(m[0].casefold().replace("’", "'"), m.start(), m.end()) for m in _WORD.finditer(caption.replace(SEPARATOR, "."))]
    singles = frozenset(word for word, _, _ in found if _says(word))
    pairs = frozenset(f"{a} {b}" for (a, _, end), (b, begin, _) in pairwise(found) if _says(a) and _says(b) and a != b and caption[end:begin] == " ")
    return singles, pairs


def counts(pictures: Iterable[Sequence[str]]) -> tuple[tuple[Count, ...], tuple[Count, ...]]:
    """(words, pairs of words) with the number of pictures that have them, the commonest first."""
    words: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for captions in pictures:
        both = [words_of(caption) for caption in captions]
        words.update(frozenset().union(*(one for one, _ in both)))
        pairs.update(frozenset().union(*(two for _, two in both)))
    return _rows(words, 1), _rows(pairs, LEAST)


def _rows(found: Counter[str], least: int) -> tuple[Count, ...]:
    rows = sorted((row for row in found.items() if row[1] >= least), key=lambda row: (-row[1], row[0]))
    return tuple(Count(*row) for row in rows[:MOST])


def _says(word: str) -> bool:
    return 1 < len(word) <= LONGEST and word not in _STOP and not _UNPARTED.search(word)
