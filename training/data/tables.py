"""Captions that come as a table beside the pictures, or as JSON: read by the plugins of training/data/formats/, laid on the pictures that came along.

A plugin there has TITLE, BLURB, reads(name), whether a file of this name may be one of its kind, and rows(text, name): what it says of which
picture (Row) or of which folder of pictures (Folder); None where it turns out to be something else, ValueError where it is damaged.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import registry
from ..outside import Refused, parse_json
from . import captions, encodings

MAX_BYTES = 64_000_000  # of one table: ten thousand pictures with long captions take 5
MAX_CAPTIONS = 64  # of one picture
FILE_KEYS = ("file_name", "image_path", "video_path", "media_path", "image_file", "filename", "file", "image", "video", "path", "name")
TEXT_KEYS = ("text", "caption", "captions", "prompt", "description", "texts", "prompts")
EDIT_KEYS = ("edit_instruction", "edit_prompt")  # what is done to a picture: said beside what it shows, it is the caption of the pair
CONTROL_KEYS = ("conditioning_image_file_name", "control_path", "conditioning_image", "control_file_name")
MASK_KEYS = ("mask_file_name", "mask_path", "mask")
MOST_CONTROLS = 9  # of one picture that a table names


@dataclass(frozen=True)
class Row:
    """What a table says of one picture.  file, control, mask: as written there, seen from the table; a file may lack its ending.  captions: each once.

    more_controls: the second picture that it is made from, the third, and so on.
    """

    file: str
    captions: tuple[str, ...] = ()
    control: str = ""
    mask: str = ""
    more_controls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folder:
    """What a list says of a whole folder of pictures.  path: as written there, often of another computer."""

    path: str
    name: str = ""
    below: bool = False  # the folders in it are meant too
    repeats: float = 1.0  # how often each picture counts in an epoch
    samples: float = 0.0  # or how many pictures of it an epoch takes; 0 where repeats say it
    captions: str = "beside"  # beside (a .txt each), name (the picture's own), file (one text for all)
    file: str = ""  # that file
    prior: bool = False  # is to stay as the base model has it
    off: str = ""  # why it is not learnt; "" where it is
    on: tuple[str, ...] = ()  # what is done to its pictures in training there, in words


@dataclass(frozen=True)
class Read:
    """A table that was read: the plugin's TITLE, and its rows and folders; or why it cannot be used."""

    title: str
    rows: tuple[Row, ...] = ()
    reason: str = ""
    folders: tuple[Folder, ...] = ()


class Formats:
    """The plugins that read tables; looked for once an import."""

    def __init__(self, plugins: Path | None = None):
        self._modules = [p.module for p in registry.find("formats", plugins).values() if p.module]

    def reads(self, name: str) -> bool:
        """Whether a file of this name may be a table of some kind."""
        return any(module.reads(name) for module in self._modules)

    def read(self, data: bytes, name: str) -> Read | None:
        """What a file says of pictures; None where no plugin knows it as a table."""
        if len(data) > MAX_BYTES:
            return Read("", reason=f"is {len(data) / 1e6:.0f} MB large; {MAX_BYTES // 10**6} MB is the most for a table of captions")
        broken = None
        for module in self._modules:
            if not module.reads(name):
                continue
            try:
                rows = module.rows(decoded(data), name)
            except ValueError as error:
                broken = broken or Read(module.TITLE, reason=str(error))
                continue
            if rows is not None:
                return Read(module.TITLE, tuple(r for r in rows if isinstance(r, Row)), folders=tuple(r for r in rows if isinstance(r, Folder)))
        return broken


def decoded(data: bytes) -> str:
    """A table's text, in whatever encoding it is.  Raises ValueError."""
    said, mark_bytes = encodings.said(data)
    codec = said or encodings.certain(data) or encodings.guess([data])
    try:
        return data[mark_bytes:].decode(codec or "utf-8")
    except UnicodeDecodeError:
        raise ValueError("is neither UTF-8 nor in another encoding that is known here; save it as UTF-8") from None


# -- for the plugins


def as_json(text: str, name: str) -> Any:
    """What JSON text holds.  Raises ValueError."""
    try:
        return parse_json(text, Path(name).name)
    except Refused as error:
        raise ValueError(f"is not whole: {error}") from None


def json_lines(text: str) -> list[dict]:
    """The objects of a JSON Lines file.  Raises ValueError that names the first line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is no JSON: {' '.join(str(error).split())}") from None
        if not isinstance(value, dict):
            raise ValueError(f"line {number} is no object with a file and a caption")
        found.append(value)
    return found


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a table with commas, semicolons or tabs between its columns, by its first line's names.  Raises ValueError."""
    first = text.lstrip("\ufeff").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=delimiter, strict=True)
        return [{(k or "").strip(): v for k, v in row.items() if isinstance(v, str)} for row in reader]
    except csv.Error as error:
        raise ValueError(f"is no whole table: {error}") from None


def control_column(number: int) -> str:
    """The column of the control pictures of this number, from 1, as load_dataset("imagefolder") wants it called."""
    return CONTROL_KEYS[0] if number == 1 else f"conditioning_image_{number}_file_name"


def row_of(values: Mapping[str, Any]) -> Row | None:
    """A picture's row out of named values; None where no file is named.  Keys in any case; `image` may be an object with a `path`."""
    lower = {str(k).strip().lower(): v for k, v in values.items()}

    def path(keys: Sequence[str]) -> str:
        for key in keys:
            value = lower.get(key)
            value = value.get("path") if isinstance(value, dict) else value
            if isinstance(value, str) and value.strip():
                return value.strip()
        return ""

    file = path(FILE_KEYS)
    numbered = lambda n: (control_column(n), *(f"{key}{joint}{n}" for key in CONTROL_KEYS for joint in ("_", "")))
    first = path((*CONTROL_KEYS, *numbered(1)))
    more = tuple(itertools.takewhile(bool, (path(numbered(n)) for n in range(2, MOST_CONTROLS + 1)))) if first else ()
    return Row(file, texts(lower), first, path(MASK_KEYS), more) if file else None


def texts(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The captions among named values: of EDIT_KEYS, else those of TEXT_KEYS, lists of them, and `caption_1`, `text_2` and the like, else an `instruction`."""
    numbered = sorted((k for k in values if re.fullmatch(r"(?:caption|text|prompt)[-_]?\d{1,2}", k)), key=lambda k: (len(k), k))
    said = only_texts([values.get(k) for k in EDIT_KEYS]) or only_texts([values.get(k) for k in (*TEXT_KEYS, *numbered)])
    return said or only_texts([values.get("instruction")])


def only_texts(values: Iterable[Any]) -> tuple[str, ...]:
    """Strings, and those of lists, each once, cleaned to one line."""
    flat = [v for value in values for v in (value if isinstance(value, (list, tuple)) else [value])]
    made = [captions.clean_caption(v) for v in flat if isinstance(v, str)]
    return tuple(dict.fromkeys(v for v in made if v))[:MAX_CAPTIONS]


def listed(values: Iterable[Mapping[str, Any]]) -> list[Row] | None:
    """The rows of named values; None where not one names a file, or none says anything of it."""
    rows = [row for value in values if (row := row_of(value))]
    return rows if any(row.captions or row.control or row.mask for row in rows) else None


# -- finding what they speak of


class Named:
    """The files of an import, found by what a table calls them: from its own folder, by the end of a longer path, or by a name that only one has."""

    def __init__(self, files: Iterable[tuple[str, str]]):
        self._by_path: dict[str, tuple[str, str]] = {}
        self._by_name: dict[str, list[tuple[str, str]]] = {}
        for folder, name in files:
            for known in {name, name.rpartition(".")[0] or name}:
                self._by_path.setdefault(_folded("/".join(p for p in (folder, known) if p)), (folder, name))
                self._by_name.setdefault(_folded(known), []).append((folder, name))

    def of(self, folder: str, said: str) -> tuple[str, str] | None:
        """The (folder, name) that a table in `folder` calls `said`; None for none, or where several might be meant."""
        parts = [p for p in _folded(said).replace("\\", "/").split("/") if p not in ("", ".", "..")]
        if not parts:
            return None
        here = _folded(folder)
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for path in (f"{here}/{tail}" if here else tail, tail):
                if path in self._by_path:
                    return self._by_path[path]
        held = list(dict.fromkeys(self._by_name.get(parts[-1], [])))
        return held[0] if len(held) == 1 else None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
