"""What a list says of whole folders of an import: how often their pictures count, where their captions are, and which are not learnt."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from . import captions
from .datasets import Dataset, Verdict, counted
from .folder import MAX_REPEATS
from .listed import Tables
from .offered import Offered, place
from .pictures import SUFFIXES
from .roles import REGULAR, Role
from .tables import Folder

PARTS = 4  # a share of a repeat is kept to a quarter: a finer one would make an epoch many times as long


class Folders:
    """The folders that the tables of an import speak of, found among what was offered."""

    def __init__(self, listed: Tables, offered: Sequence[Offered]):
        self.prompts: set[Offered] = set()  # text files that are captions of folders, not of a picture
        self._offered = offered
        pictures = [o for o in offered if Path(o.name).suffix.lower() in SUFFIXES]
        known = {around for o in pictures for around in _around(place(o))}
        self._found: list[tuple[Offered, Folder, list[Offered]]] = []
        self._lost: list[tuple[Offered, Folder]] = []
        for table, folder in listed.folders():
            where = _found(folder.path, place(table), known)
            if where is None and len([f for t, f in listed.folders() if t == table]) == 1 and any(place(o) == place(table) for o in pictures):
                where = place(table)  # a list of one folder that lies in it
            if where is None:
                self._lost.append((table, folder))
                continue
            self._found.append((table, folder, [o for o in pictures if place(o) == where or (folder.below and _inside(place(o), where))]))

    def roles(self) -> dict[Offered, Role]:
        """Of the pictures that are not learnt, or only kept as they are.  A folder that is learnt in one row counts as learnt."""
        found: dict[Offered, Role] = {}
        for _, folder, pictures in sorted(self._found, key=lambda row: (bool(row[1].off), row[1].prior)):
            role = Role("unused", reason=folder.off) if folder.off else Role("regular", reason=REGULAR) if folder.prior else Role("picture")
            for one in pictures:
                found.setdefault(one, role)
        return {one: role for one, role in found.items() if role.kind != "picture"}

    def texts(self, room: Path) -> tuple[list[Offered], list[Verdict]]:
        """(a caption file for each picture whose caption is its own name, or what one file says for the whole folder; what is missing for that)."""
        there = {(place(o), o.stem) for o in self._offered if Path(o.name).suffix.lower() in captions.SUFFIXES}
        made: list[Offered] = []
        verdicts = []
        for table, folder, pictures in self._found:
            if folder.captions == "beside" or folder.off:
                continue
            data = None
            if folder.captions == "file":
                data, why = self._words_of(folder, place(table))
                if why:
                    verdicts.append(Verdict(table.label, False, why, kind="table"))
                    continue
            for one in pictures:
                if (place(one), one.stem) in there:
                    continue
                there.add((place(one), one.stem))
                written = room / f"told{len(made):06d}"
                written.write_bytes(one.stem.encode() if data is None else data)
                made.append(Offered(one.label, one.folder, f"{one.stem}.txt", written, ours=True, loose=one.loose))
        return made, verdicts

    def _words_of(self, folder: Folder, here: str) -> tuple[bytes, str]:
        """(what the file with the captions of a folder holds, why it cannot be used)."""
        files = {"/".join(p for p in (place(o), o.name) if p): o for o in self._offered if Path(o.name).suffix.lower() in captions.SUFFIXES}
        found = _found(folder.file, here, files)
        if found is None:
            return b"", f"the captions of {_called(folder)} are in {folder.file or 'a file'}, which did not come along; add it, or caption the pictures here"
        self.prompts.add(files[found])
        try:
            data = captions.read_file(files[found].path)
            captions.decode_caption(data)
        except (ValueError, OSError) as error:
            return b"", f"the captions of {_called(folder)} cannot be read: {error}"
        return data, ""

    def laid_on(self, ds: Dataset, came: Mapping[tuple[str, str], list[str]], new: set[str]) -> list[Verdict]:
        """How often the pictures that came count, remembered and said; a line for each folder, and for each that is not here."""
        used = [(t, f, [id for o in pictures for id in came.get((o.folder, o.name), []) if id in new]) for t, f, pictures in self._found if not f.off and not f.prior]
        wished: dict[str, float] = {}
        for _, folder, ids in used:
            for id in ids:
                wished[id] = wished.get(id, 0.0) + (folder.samples / len(ids) if folder.samples else folder.repeats)
        each = dict(zip(wished, proportions(list(wished.values())), strict=True))
        ds.set_repeats(each)
        verdicts = []
        for table, folder, ids in used:
            said = [counted(len(ids), "picture")]
            often = sorted({each[id] for id in ids})
            said += [f"each counts {_times(often)} in an epoch, beside those of the other folders"] if len(set(each.values())) > 1 and often else []
            said += [f"switched on there, and no part of a dataset here: {', '.join(folder.on)}; look for them on the Train tab"] if folder.on else []
            verdicts.append(Verdict(table.label, True, f"{_called(folder)}: {'; '.join(said)}", kind="folder"))
        return verdicts + [Verdict(t.label, True, f"{_called(f)}: its folder {f.path} did not come along", kind="folder") for t, f in self._lost if not f.off]


def proportions(wished: Sequence[float]) -> list[int]:
    """Whole repeats in the proportions of any numbers above 0, to a quarter of the smallest, as small as they can be."""
    if not wished:
        return []
    least = min(wished)
    shares = [Fraction(w / least).limit_denominator(PARTS) for w in wished]
    whole = math.lcm(*(s.denominator for s in shares))
    return [min(MAX_REPEATS, int(s * whole)) for s in shares]


def _times(often: Sequence[int]) -> str:
    shown = {1: "once", 2: "twice"}
    return " or ".join(shown.get(n, f"{n} times") for n in often)


def _called(folder: Folder) -> str:
    return f"“{folder.name}”" if folder.name else f"“{_parts(folder.path)[-1]}”"


def _parts(path: str) -> list[str]:
    return [p for p in unicodedata.normalize("NFC", path).replace("\\", "/").split("/") if p not in ("", ".", "..")] or [path]


def _found(path: str, here: str, known: Mapping[str, object] | set[str]) -> str | None:
    """Which of the known paths a list in the folder `here` means: by the longest end that fits one alone, beside the list before elsewhere."""
    folded = {p.casefold(): p for p in known}
    parts = [p.casefold() for p in _parts(path)] if path.strip() else []
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        beside = f"{here.casefold()}/{tail}" if here else tail
        if beside in folded:
            return folded[beside]
        fits = [p for p in folded if p == tail or p.endswith("/" + tail)]
        if len(fits) == 1:
            return folded[fits[0]]
    return None


def _around(folder: str) -> list[str]:
    """The folder and all that it lies in."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _inside(folder: str, around: str) -> bool:
    return not around or folder.startswith(around + "/")
