"""Captions from file names: 'red_fox-in-snow (12).jpg' says 'red fox in snow'."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field

TITLE = "File name"
BLURB = "Turns each file's name into words. Instant, needs no model; good when your files already say what is on them."
NEEDS_PIXELS = False
EMPTY = "no words in this name"

# what cameras, phones, browsers and chat programs call a picture says nothing about it
CAMERA = re.compile(
    r"(img|image|dsc|dscn|dscf|_dsc|pxl|mvimg|dji|gopr|gp|sam|pict|pic|photo|picture|screenshot|screen shot|scan|scn|capture|"
    r"untitled|unnamed|unknown|download|file|whatsapp image|signal|fb img|received|vid|frame|snapchat|burst|cimg|hpim|imag|"
    r"bildschirmfoto|foto|bild|image from ios|resized|edited|export|copy)",
    re.IGNORECASE,
)


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
    text = re.sub(r"[\s_\-+.,;~=]+", " ", stem)
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text)  # RedFox
    text = re.sub(r"[(\[{]\s*\d*\s*[)\]}]", " ", text)  # (12)
    text = " ".join(text.split())
    text = re.sub(r"( copy| kopie)?( \d+)+$", "", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=[^\W\d])\d+$", "", text)  # fox12
    rest = re.sub(r"\d+|\b(at|am|pm)\b", " ", CAMERA.sub(" ", text))
    if not re.search(r"[^\W\d_]{2}", rest) and not _reads_without_gaps(rest):
        return ""
    if re.fullmatch(r"[0-9a-fA-F]{8,}( [0-9a-fA-F]{4,})*", text):  # a hash or a UUID
        return ""
    return text.strip()


def _reads_without_gaps(text: str) -> bool:
    """Whether a single character can be a word, as in Chinese or Japanese."""
    return bool(re.search(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", text))
