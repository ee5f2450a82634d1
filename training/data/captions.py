"""Caption text: read from whatever a .txt file holds, cleaned, joined with a trigger word, measured in tokens."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable

MAX_BYTES = 1_000_000
SUFFIXES = (".txt", ".caption")  # kohya writes either; .txt wins
TOKEN_LIMIT = 77  # CLIP's context, start and end included

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
         (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip


def decode_caption(data: bytes) -> tuple[str, str]:
    """(caption, note).  By byte order mark, else UTF-8, else Windows-1252 with a note.  Raises ValueError for what is no text."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"the caption is {len(data) / 1e6:.1f} MB large; {MAX_BYTES // 10**6} MB is the most")
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            try:
                text = data[len(bom) :].decode(encoding)
            except UnicodeDecodeError:
                raise ValueError(f"the caption says that it is {encoding.upper()}, but it is not; save it as UTF-8") from None
            return clean_caption(text), "" if encoding == "utf-8" else f"the caption was {encoding.upper()}"
    if b"\0" in data:
        raise ValueError("the caption is a binary file, not text")
    try:
        text, note = data.decode("utf-8"), ""
    except UnicodeDecodeError:
        try:
            text, note = data.decode("cp1252"), "the caption is not UTF-8 and was read as Windows-1252; check its special letters"
        except UnicodeDecodeError:
            raise ValueError("the caption is in an unknown encoding or no text; save it as UTF-8") from None
    controls = sum(unicodedata.category(c) == "Cc" and c not in "\r\n\t\f\v" for c in text)
    if controls > 0.1 * len(text):
        raise ValueError("the caption is a binary file, not text")
    return clean_caption(text), note


def clean_caption(text: str) -> str:
    """One line: NFC, without control characters and lone surrogates, white space single, none at the ends."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if c.isspace() else c for c in text if c != "\ufeff" and (c.isspace() or unicodedata.category(c) not in ("Cc", "Cs")))
    return re.sub(" +", " ", text).strip()


def with_trigger(caption: str, trigger: str) -> str:
    """`caption` with the trigger word in front, unless it already holds it as a word of its own (in any case)."""
    if not trigger or re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption, re.IGNORECASE):
        return caption
    return f"{trigger}, {caption}" if caption else trigger


def about_tokens(caption: str) -> int:
    """About how many tokens CLIP's text encoder makes of it, start and end included.  No tokenizer is loaded for it.

    CLIP splits off each digit and each run of punctuation; a common English word is one token, a long or rare one more;
    other scripts are spelt in bytes.
    """
    count = 2
    for part in re.findall(r"[^\W\d_]+|\d|(?:[^\w\s]|_)+", caption):
        if not part[0].isalpha():
            count += 1 if part.isascii() else len(part.encode()) // 2
        elif part.isascii():
            count += 1 + (len(part) - 1) // 10
        else:
            count += max(1, len(part.encode()) // 2)
    return count


def cut_captions(captions: Iterable[str], limit: int = TOKEN_LIMIT) -> list[tuple[int, int]]:
    """[(index, about how many tokens)] of the captions that are longer than `limit`, whose end the text encoder cuts off."""
    return [(i, n) for i, n in enumerate(map(about_tokens, captions)) if n > limit]


def remarks(captions: Collection[str], trigger: str = "") -> list[str]:
    """What captions that are there, but tell a model little, are told about: a sentence each.  trigger: the trigger word, where one was typed.

    A picture is learnt as what its caption says; where that is nothing but one word, or the same everywhere, whatever else
    is to be seen in the picture is learnt along with it.
    """
    bare = [re.sub(rf"(?<!\w){re.escape(trigger)}(?!\w)", "", c, flags=re.IGNORECASE).strip(" ,.") if trigger else c for c in captions]
    written = [c for c in captions if c]
    alone = sum(not rest for c, rest in zip(captions, bare, strict=True) if c)
    single = sum(len(rest.split()) == 1 for c, rest in zip(captions, bare, strict=True) if c and rest)
    same = max(Counter(written).values(), default=0)
    lacking = sum(bool(rest) and rest == c.strip(" ,.") for c, rest in zip(captions, bare, strict=True)) if trigger else 0
    of = len(written)
    said = [_of(alone, of, f"holds only the trigger word {trigger!r}", f"hold only the trigger word {trigger!r}")] if alone else []
    said += [_of(single, of, "is a single word", "are a single word")] if single else []
    said += [f"{same} of {of} captions are the same"] if same > 1 and same > alone and same > single else []
    said += [_of(lacking, of, "lacks the trigger word, which is put in front of it", "lack the trigger word, which is put in front of them")] if 0 < lacking < of else []
    return said


def _of(number: int, of: int, one: str, many: str) -> str:
    return f"{number} of {of} captions {one if number == 1 else many}"
