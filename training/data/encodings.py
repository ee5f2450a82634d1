"""The encoding of a caption file: said by its byte order mark, UTF-8 where it can be, UTF-16 by its pattern, else guessed."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

# codec -> what a person calls it; also what may be guessed, and what can be chosen
CHOICES = {
    "cp1252": "Western European (Windows-1252)", "cp1250": "Central European (Windows-1250)", "cp1251": "Cyrillic (Windows-1251)",
    "koi8-r": "Cyrillic (KOI8-R)", "cp866": "Cyrillic (DOS 866)", "cp1253": "Greek (Windows-1253)", "cp1254": "Turkish (Windows-1254)",
    "cp1257": "Baltic (Windows-1257)", "cp1258": "Vietnamese (Windows-1258)", "cp1255": "Hebrew (Windows-1255)", "cp1256": "Arabic (Windows-1256)",
    "cp874": "Thai (Windows-874)", "gb18030": "Chinese, simplified (GBK)", "big5": "Chinese, traditional (Big5)", "cp932": "Japanese (Shift-JIS)",
    "euc_jp": "Japanese (EUC)", "cp949": "Korean (CP949)", "utf-16-le": "UTF-16, little endian", "utf-16-be": "UTF-16, big endian", "utf-8": "UTF-8",
}  # fmt: skip
SAMPLE_BYTES = 100_000  # more text makes no guess better
MOST_ODD = 0.1  # share of characters that no text holds, above which it is none
MOST_ACCENTS = 0.4  # share of accents and dashes in a short caption of any language of western Europe

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
         (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip
_GUESSED = [name.replace("_", "-") for name in CHOICES if not name.startswith("utf") and name != "cp866"]  # as chardet spells them
_BREAKS = dict.fromkeys(map(ord, "\r\n\t\f\v"))
_FRAMES = re.compile("[\u2500-\u259f]")
_WESTERN = frozenset("äöüÄÖÜßáàâãåéèêëíîïñóôõúùûçæœøÉÀÇ–—‘’“”„«»…°·¡¿")


def said(data: bytes) -> tuple[str, int]:
    """(encoding, bytes of its mark) by the byte order mark; ("", 0) where there is none."""
    return next(((encoding, len(bom)) for bom, encoding in _BOMS if data.startswith(bom)), ("", 0))


def certain(data: bytes) -> str:
    """The encoding of bytes without a mark where there is no doubt: UTF-8, else UTF-16 by where its small bytes lie; "" where a guess is needed."""
    try:
        if odd_share(data.decode("utf-8")) <= MOST_ODD:
            return "utf-8"
    except UnicodeDecodeError:
        pass
    # the letters of an alphabet share a small upper byte, and a blank or comma has 0: in UTF-16 these fill every second place
    small = [at for at, value in enumerate(data) if value < 9]
    if small and len(data) % 2 == 0 and len({at % 2 for at in small}) == 1:
        encoding = "utf-16-le" if small[0] % 2 else "utf-16-be"
        try:
            if odd_share(data.decode(encoding)) == 0:
                return encoding
        except UnicodeDecodeError:
            pass
    return ""


def guess(samples: Iterable[bytes]) -> str:
    """The codec that captions of one source are most likely in: together they tell more than each alone."""
    import chardet

    data = b"\n".join(samples)[:SAMPLE_BYTES]
    if _reads_western(data):
        return "cp1252"
    found = chardet.detect(data, include_encodings=_GUESSED, no_match_encoding="cp1252")["encoding"]
    return codecs.lookup(found or "cp1252").name


def odd_share(text: str) -> float:
    """How much of a text is what no text holds: control characters, unassigned and private ones, frames drawn of letters."""
    if text.translate(_BREAKS).isprintable() and not _FRAMES.search(text):
        return 0.0  # the usual case, without a look at each letter
    odd = sum((c not in "\r\n\t\f\v" and unicodedata.category(c) in ("Cc", "Cn", "Co")) or "\u2500" <= c <= "\u259f" for c in text)
    return odd / len(text) if text else 0.0


def _reads_western(data: bytes) -> bool:
    """Whether what is not ASCII stands alone among ASCII, and is usual in the west of Europe: an é or a ü, a dash.  Statistics err on so little."""
    high = [at for at, value in enumerate(data) if value > 127]
    apart = all(b - a > 1 for a, b in pairwise(high)) and len(high) <= MOST_ACCENTS * len(data)
    return apart and all(data[at : at + 1].decode("cp1252", "replace") in _WESTERN for at in high)
