"""Captions from file names: 'red_fox-in-snow (12).jpg' says 'red fox in snow'."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field

TITLE = "File name"
BLURB = "Turns each file's name into words. Instant, needs no model; good when your files already say what is on them."
NEEDS_PIXELS = False
EMPTY = "no words in this name"

# what cameras, phones, browsers and chat programs call a picture says nothing about it: always, or in front of a number
_WORDS = """
image images img photo photos picture pic screenshot screen shot scan capture untitled unnamed unknown download file whatsapp signal frame snapchat
burst resized edited export copy kopie bildschirmfoto foto bild received ios at am pm from of a an the
"""
_CODES = "dsc dscn dscf pxl mvimg dji gopr gp sam pict scn vid fb cimg hpim imag mg p sdc kif wp rimg"
EMPTY_WORDS, CODES = set(_WORDS.split()), set(_CODES.split())
GAPLESS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # scripts in which one character can be a word


class Options(BaseModel):
    """What this captioner can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lower: bool = Field(False, description="Write everything in small letters.")


def needs(options: Options) -> str:
    """Nothing is ever missing."""
    return ""


def load(options: Options, device: str) -> Options:
    """The options: there is no model."""
    return options


def caption(state: Options, pictures: list, names: list[str]) -> list[str]:
    """One caption a name; '' where the name holds no words."""
    return [words(name).lower() if state.lower else words(name) for name in names]


def words(name: str) -> str:
    """The words of a file name without its extension, separators and trailing counter; '' for a camera's name or a bare code."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
    text = " ".join(re.sub(r"[\s_\-+.,;~=]+", " ", stem).split())
    if not _says_something(text):
        return ""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text)  # RedFox
    text = " ".join(re.sub(r"[(\[{]\s*\d*\s*[)\]}]", " ", text).split())  # (12)
    text = re.sub(r"( copy| kopie)?( \d+)+$", "", text, flags=re.IGNORECASE)
    return re.sub(r"(?<=[^\W\d])\d+$", "", text)  # fox12


def _says_something(text: str) -> bool:
    if re.fullmatch(r"[0-9a-fA-F]{8,}( [0-9a-fA-F]{4,})*", text) and re.search(r"\d", text):  # a hash or a UUID
        return False
    empty = EMPTY_WORDS | CODES if re.search(r"\d", text) else EMPTY_WORDS
    found = [word for word in re.findall(r"[^\W\d_]+", text.lower()) if word not in empty]
    return any(len(word) > 1 or GAPLESS.match(word) for word in found)
