"""Captions whose encoding was guessed: their bytes as they came, so that somebody can choose another encoding."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..outside import read_json
from . import captions, encodings
from .memory import write_text_whole

if TYPE_CHECKING:
    from .datasets import Dataset

FILE = "guessed.json"  # in the dataset's hidden folder: {picture: {encoding, bytes}}
MAX_BYTES = 64 << 20
SOURCE = "read again"


@dataclass(frozen=True)
class Guessed:
    """One caption that stands as it was guessed.  encoding: a key of encodings.CHOICES."""

    id: str
    encoding: str
    data: bytes
    text: str


def remember(ds: Dataset, found: Mapping[str, tuple[str, bytes]]) -> None:
    """Keep {picture: (encoding, bytes)} of captions that were just taken in."""
    if found:
        rows = {id: {"encoding": codec, "bytes": base64.b64encode(data).decode()} for id, (codec, data) in found.items()}
        write_text_whole(ds.meta / FILE, json.dumps(_kept(ds) | rows))


def guessed(ds: Dataset) -> list[Guessed]:
    """The captions that nobody has changed since they were read by a guess, in the order of their pictures."""
    kept = _kept(ds)
    found = []
    for picture in ds.pictures(check=False):
        codec, data = picture.caption_guess, b""
        if codec:
            data = ds.caption_bytes(picture.id)
        elif picture.id in kept:
            try:
                codec, data = str(kept[picture.id]["encoding"]), base64.b64decode(kept[picture.id]["bytes"])
            except (ValueError, KeyError, TypeError):
                continue  # it is only a memory
        if codec and picture.caption and _read(data, codec) == picture.caption:
            found.append(Guessed(picture.id, codec, data, picture.caption))
    return found


def reread(ds: Dataset, encoding: str, ids: Sequence[str] = ()) -> int:
    """Read captions anew in another encoding, as one step for undo; ids: which, none means all that were guessed.  How many changed.

    Raises ValueError where one of them cannot be in it.
    """
    if encoding not in encodings.CHOICES:
        raise ValueError(f"there is no encoding called {encoding!r} here")
    rows = [g for g in guessed(ds) if not ids or g.id in ids]
    texts = {g.id: _read(g.data, encoding) for g in rows}
    wrong = [id for id, text in texts.items() if text is None]
    if wrong:
        raise ValueError(f"the caption of {wrong[0]} is not in {encodings.CHOICES[encoding]}; choose another encoding")
    remember(ds, {g.id: (encoding, g.data) for g in rows})
    return ds.set_captions(texts, SOURCE)  # type: ignore[arg-type]


def _read(data: bytes, codec: str) -> str | None:
    try:
        return captions.clean_lines(data.decode(codec))
    except (UnicodeDecodeError, LookupError):
        return None


def _kept(ds: Dataset) -> dict:
    try:
        data = read_json(ds.meta / FILE, MAX_BYTES)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
