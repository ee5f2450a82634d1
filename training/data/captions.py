"""Caption text: read from whatever a .txt file holds, cleaned, given its trigger word, measured in tokens."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from . import encodings, timed
from .pictures import open_regular

MAX_BYTES = 1_000_000
SUFFIXES = (".txt", ".caption")  # kohya writes either; .txt wins
TOKEN_LIMIT = 77  # CLIP's context, start and end included
SEPARATOR = "|||"  # kohya's: what stands before it stays in front when tags are shuffled, what stands behind a second one stays behind
LINES = {"": "Decide by how they look", "several": "Each line is a caption", "one": "The lines are one caption"}
TAG_LINES = 3  # from which lines of a word each are tags; where some have more words, twice as many
TAG_WORDS = 2.2  # on average: the shortest captions that people write by the line have more
WRAP_FROM = 50  # letters: programs wrap at 60 to 120

_BEGINS = {"a", "an", "the", "photo", "portrait", "picture", "image"}  # what captions begin with, and lines in the middle of one seldom do
_PLACE = re.compile(r"\[(?:trigger|name)\]", re.IGNORECASE)  # ai-toolkit knows both


class Decoded(NamedTuple):
    """A caption as read.  note: what to know of it.  guessed: the codec where nothing in the file says which it is."""

    text: str
    note: str = ""
    guessed: str = ""


def decode_caption(data: bytes, encoding: str = "") -> Decoded:
    """A caption, its lines kept.  encoding: what others beside it are in, for where the file itself does not say.  ValueError for what is no text."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"the caption is {len(data) / 1e6:.1f} MB large; {MAX_BYTES // 10**6} MB is the most")
    said, mark_bytes = encodings.said(data)
    if said:
        try:
            text = data[mark_bytes:].decode(said)
        except UnicodeDecodeError:
            raise ValueError(f"the caption says that it is {said.upper()}, but it is not; save it as UTF-8") from None
        return Decoded(clean_lines(text), "" if said == "utf-8" else f"the caption was {said.upper()}")
    certain = encodings.certain(data)
    if certain:
        return Decoded(clean_lines(data.decode(certain)), "" if certain == "utf-8" else f"the caption was {certain.upper()}")
    for codec in (encoding, encodings.guess([data])):
        try:
            text = data.decode(codec or "ascii")
        except UnicodeDecodeError:
            continue
        if encodings.odd_share(text) <= encodings.MOST_ODD:
            return Decoded(clean_lines(text), f"is not UTF-8 and was read as {encodings.CHOICES[codec]}; check its letters", codec)
    raise ValueError("the caption is a binary file, or in an encoding that is not known here; save it as UTF-8")


def read_file(path: Path) -> bytes:
    """The bytes of a caption file, b"" for an empty one.  Raises Refused for what is no plain file, OSError."""
    if not os.lstat(path).st_size and stat.S_ISREG(os.lstat(path).st_mode):
        return b""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(MAX_BYTES + 1)


def says_encoding(data: bytes) -> bool:
    """Whether there is no doubt about the encoding of these bytes."""
    return bool(encodings.said(data)[0] or encodings.certain(data))


def says_utf8(text: str) -> bool:
    """Whether this clean text, written as UTF-8, is read as that again without a doubt."""
    data = text.encode("utf-8")
    return not encodings.said(data)[0] and encodings.certain(data) == "utf-8"


def clean_caption(text: str) -> str:
    """One line: NFC, without control characters and lone surrogates, white space single, none at the ends."""
    text = unicodedata.normalize("NFC", text)
    if not text.isprintable():  # seldom, and letter by letter is slow
        text = "".join(" " if c.isspace() else c for c in text if c != "\ufeff" and (c.isspace() or unicodedata.category(c) not in ("Cc", "Cs")))
    return (re.sub(" +", " ", text) if "  " in text else text).strip()


def clean_lines(text: str) -> str:
    """The text with each line clean; several empty lines become one, none is at an end."""
    if "\n" not in text and "\r" not in text:
        return clean_caption(text)
    lines = [clean_caption(line) for line in re.split(r"\r\n|\r|\n", text)]
    return "\n".join(line for at, line in enumerate(lines) if line or (at and lines[at - 1])).strip("\n")


def split(text: str, lines: str = "") -> tuple[str, ...]:
    """The captions that the lines of one file hold, each once; () for none.  lines: a key of LINES.  Those that speak of one scene of a clip come without their times."""
    if timed.is_timed(text):
        whole, scenes = timed.parted(text)
        return tuple(dict.fromkeys((*split(whole, lines), *(line.text for line in scenes))))
    found = [line for line in text.split("\n") if line.strip()]
    if lines != "several" and looks_tags(found):
        return (", ".join(dict.fromkeys(line.strip(" ,") for line in found)),)
    if len(found) > 1 and (lines == "several" or (not lines and looks_several(text))):
        return tuple(dict.fromkeys(found))
    return (" ".join(found),) if found else ()


def looks_tags(lines: Collection[str]) -> bool:
    """Whether the lines of a file are the tags of one picture, one in each, as gallery-dl and Hydrus write them."""
    if len(lines) < TAG_LINES or any("," in line or line.endswith((".", "!", "?")) for line in lines):
        return False
    words = [len(line.split()) for line in lines]
    return max(words) == 1 or (len(lines) >= 2 * TAG_LINES and sum(words) <= TAG_WORDS * len(lines))


def looks_several(text: str) -> bool:
    """Whether the lines are captions of their own, as OneTrainer and kohya's wildcards have them, and not one text that was wrapped.

    Paragraphs with an empty line between, and lines that end in the middle of a sentence or a list, are one caption.
    """
    lines = text.split("\n")
    if len(lines) < 2 or not all(lines):
        return False
    return not any(map(_runs_on, lines, lines[1:]))


def _runs_on(line: str, after: str) -> bool:
    """Whether a line goes on in the one after it: it ends within a list, or within a sentence where a program would have wrapped it."""
    if line.endswith((",", "-", ";", ":", "(")):
        return True
    tags = line.count(",") * 25 > len(line)  # a list of tags that does not end with a comma is at its end
    return len(line) >= WRAP_FROM and line[-1].isalnum() and after[0].islower() and not tags and after.split()[0] not in _BEGINS


def has_place(caption: str) -> bool:
    """Whether a caption says itself where the trigger word belongs."""
    return bool(_PLACE.search(caption))


def with_trigger(caption: str, trigger: str) -> str:
    """`caption` with the trigger word in its [trigger] or [name], else in front, unless it already holds it as a word of its own (in any case)."""
    if has_place(caption):
        return _tidy(_PLACE.sub(lambda _: trigger, caption))
    if not trigger or re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption, re.IGNORECASE):
        return caption
    return f"{trigger}, {caption}" if caption else trigger


def kept_apart(caption: str) -> tuple[str, str, str]:
    """(what stays in front, what may be shuffled, what stays behind) by kohya's separator; without one all may be shuffled."""
    parts = [part.strip(" ,") for part in caption.split(SEPARATOR)]
    if len(parts) == 1:
        return "", caption, ""
    return parts[0], parts[1], ", ".join(p for p in parts[2:] if p)


def trained(caption: str, trigger: str) -> str:
    """What is trained of one caption: with its trigger word, without separators."""
    caption = with_trigger(caption, trigger)
    return ", ".join(p for p in kept_apart(caption) if p) if SEPARATOR in caption else caption


def _tidy(text: str) -> str:
    """Without the double blanks and commas that something taken out leaves."""
    text = re.sub(r"(?:\s*,)+\s*,", ",", re.sub(r"\s+", " ", text))
    return re.sub(r" ([,.;!?])", r"\1", text).strip(" ,")


def without_trigger(caption: str, trigger: str) -> str:
    """`caption` without the trigger word, in any case, its article, and the commas and spaces that they leave; "" where nothing else stood there."""
    if trigger:
        caption = re.sub(rf"(?<!\w)(?:(?:a|an|the) )?{re.escape(trigger)}(?!\w)", "", caption, flags=re.IGNORECASE)
    return ", ".join(part for part in (" ".join(part.split()) for part in caption.split(",")) if part)


@lru_cache(maxsize=50_000)
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


def longest(captions: Iterable[str]) -> str:
    """Of the captions of one picture the one with the most tokens; "" for none."""
    return max((trained(c, "") for c in captions), key=about_tokens, default="")


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
    said = []
    if alone:
        said += [f"1 of {of} captions holds only the trigger word {trigger!r}" if alone == 1 else f"{alone} of {of} captions hold only the trigger word {trigger!r}"]
    if single:
        said += [f"1 of {of} captions is a single word" if single == 1 else f"{single} of {of} captions are a single word"]
    said += [f"{same} of {of} captions are the same"] if same > 1 and same > alone and same > single else []
    if 0 < lacking < of:
        one, many = f"1 of {of} captions lacks the trigger word, which is put in front of it", f"{lacking} of {of} captions lack the trigger word, which is put in front of them"
        said += [one if lacking == 1 else many]
    return said
