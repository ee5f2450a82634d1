"""Names that people type, made safe for folders.  The title is kept apart, as text."""

from __future__ import annotations

import re
import unicodedata

FORBIDDEN = set('<>:"/\\|?*')
RESERVED = {"CON", "PRN", "AUX", "NUL"} | {f"{d}{n}" for d in ("COM", "LPT") for n in range(1, 10)}
MAX_BYTES = 100


def check_name(name: str) -> str:
    """`name`, NFC and stripped.  Raises ValueError that says which character or word is the trouble."""
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise ValueError("the name is empty; type one, for example 'my-cat'")
    for c in name:
        if c in FORBIDDEN or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            raise ValueError(f"the name {name!r} holds {c!r}, which a folder name cannot; use letters, digits, '-' and '_'")
    if name[0] in "-.":
        raise ValueError(f"the name {name!r} starts with {name[0]!r}; start it with a letter or a digit")
    if name[-1] == ".":
        raise ValueError(f"the name {name!r} ends with a dot; leave it out")
    if name.split(".")[0].upper().strip() in RESERVED:
        raise ValueError(f"the name {name!r} is reserved by Windows; choose another")
    if len(name.encode()) > MAX_BYTES:
        raise ValueError(f"the name is {len(name.encode())} bytes long; {MAX_BYTES} is the most")
    return name


def folder_name(title: str, fallback: str = "untitled") -> str:
    """A folder name made from any text: what a folder cannot hold becomes '-'.  Never empty, <= 100 bytes."""
    text = unicodedata.normalize("NFC", title[: 4 * MAX_BYTES])  # enough for any accents that melt into their letter
    text = "".join("-" if c in FORBIDDEN or unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") else c for c in text)
    text = re.sub(r"\s+", " ", text).strip().lstrip("-. ").rstrip(". ")
    while len(text.encode()) > MAX_BYTES:
        text = text[:-1].rstrip(". ")
    if not text or text.split(".")[0].upper().strip() in RESERVED:
        text = f"{fallback}-{text}".rstrip("-") if text else fallback
    return text
