"""Captions and masks of a folder that is used where it lies, out of the tables in it: read again where one has changed, and never written.

A .txt beside a picture goes before what a table says of it; so a caption that is typed, or taken away, stands in such a file.  So does a
mask that is one by its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..outside import Refused, inside, read_plain
from . import captions, tables
from .pictures import SUFFIXES as PICTURES

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
SEVERAL = "has several captions, which are read as one; the Captions tab can change that"


MOST_TABLES = 100  # of more, each speaks of one picture, and a column of masks is in none
MOST_FOLDERS = 16  # whose masks are remembered
_masks: dict[Path, tuple[tuple, dict[str, str]]] = {}


def masks(folder: Path, pictures: Sequence[str], there: Mapping[str, os.DirEntry]) -> dict[str, str]:
    """{picture: its mask's file, as folder/name where it lies in one below} as the tables' columns say.  pictures, there: as for Tabled.of."""
    if not there or len(there) > MOST_TABLES:
        return {}
    stats = []
    for name, entry in there.items():
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:  # it went just now
            continue
        stats.append((name, found.st_size, found.st_mtime_ns, found.st_ino))
    key = (tuple(stats), tuple(pictures))
    before = _masks.pop(folder, None)
    told = before[1] if before and before[0] == key else _masks_told(folder, pictures, sorted(name for name, *_ in stats))
    _masks[folder] = key, told
    for other in list(_masks)[:-MOST_FOLDERS]:
        _masks.pop(other, None)
    return told


def _masks_told(folder: Path, pictures: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    formats, named, told = tables.Formats(), tables.Named(("", name) for name in pictures), {}
    for name in names:
        read = _read(formats, folder / name)
        for row in read.rows if read else ():
            picture = named.of("", row.file) if row.mask else None
            mask = _file_of(folder, named, row.mask) if picture else ""
            if picture and mask and mask != picture[1]:
                told.setdefault(picture[1], mask)
    return told


def _file_of(folder: Path, named: tables.Named, said: str) -> str:
    """The file that a table calls so: below the folder where it says a path, else in it; "" for none, and for what lies elsewhere."""
    path = "/".join(part for part in said.replace("\\", "/").split("/") if part not in ("", "."))
    if "/" in path and os.path.splitext(path)[1].lower() in PICTURES:
        try:
            inside(folder, path)
            return path
        except (OSError, ValueError):
            pass  # as a path of another computer: its name may still tell
    found = named.of("", said)
    return found[1] if found else ""


class Tabled:
    """What the tables of one folder say, as they were at the last look."""

    def __init__(self) -> None:
        self._seen: object = None  # the tables of the look that this holds for
        self._pictures: list[str] = []
        self._read: dict[str, tuple[tuple, tables.Read | None]] = {}
        self._said: dict[str, captions.Decoded] = {}
        self._broken = ""

    def of(self, folder: Path, pictures: Sequence[str], there: Mapping[str, os.DirEntry], id: str) -> captions.Decoded:
        """The caption of a picture; an empty one says which table is damaged.  pictures, there: the names and the tables of one look at the folder."""
        if not there:
            return captions.Decoded("")
        if self._seen is not there:
            self._look(folder, pictures, there)
            self._seen = there
        return self._said.get(id) or captions.Decoded("", self._broken)

    def _look(self, folder: Path, pictures: Sequence[str], there: Mapping[str, os.DirEntry]) -> None:
        formats, changed, read = None, pictures != self._pictures, {}
        for name, entry in there.items():
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:  # it went just now
                continue
            key = found.st_size, found.st_mtime_ns, found.st_ino
            if name in self._read and self._read[name][0] == key:
                read[name] = self._read[name]
                continue
            formats, changed = formats or tables.Formats(), True
            read[name] = key, _read(formats, folder / name)
        if changed or read.keys() != self._read.keys():
            self._read, self._pictures = read, list(pictures)
            self._lay()

    def _lay(self) -> None:
        """The rows on their pictures; of two tables that speak of one, the first by name counts."""
        named, self._said, self._broken = tables.Named(("", name) for name in self._pictures), {}, ""
        for name in sorted(self._read):
            found = self._read[name][1]
            if found and found.reason:
                self._broken = self._broken or f"{name} {found.reason}"
            for row in found.rows if found else ():
                file = named.of("", row.file)
                if file and row.captions and file[1] not in self._said:
                    text = "\n".join(row.captions)
                    unclear = len(row.captions) > 1 and len(captions.split(text)) == 1
                    self._said[file[1]] = captions.Decoded(text, SEVERAL if unclear else "")


def _read(formats: tables.Formats, path: Path) -> tables.Read | None:
    """A table; None for a file of another kind, or one that is gone."""
    if not formats.reads(path.name):
        return None
    try:
        return formats.read(read_plain(path, tables.MAX_BYTES), path.name)
    except Refused as error:
        return tables.Read("", reason=str(error).removeprefix(f"{path.name} "))
    except OSError:
        return None
