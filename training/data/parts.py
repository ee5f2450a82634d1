"""The sub-folders that a dataset's pictures came from, so that a run can take the pictures of some of them.

A dataset of ours lies flat; where each picture came from is noted at the import, in parts.json.  Of a folder that is used in place the
sub-folders on the disk are its parts.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..outside import read_json
from .memory import scan, write_text_whole
from .roles import is_pair_folder, is_result_folder

if TYPE_CHECKING:
    from ..config import DatasetUse
    from ..home import Home
    from .datasets import Dataset, Picture

FILE = "parts.json"
MAX_BYTES = 64_000_000
MAX_LETTERS = 300  # of a part's name, as in the config
MOST = 200  # parts of a folder in place that are looked into

_ARCHIVE = re.compile(r"^\d+:[^/]*/?")  # how an import names what came out of an archive


def of(ds: Dataset) -> dict[str, str]:
    """{picture: the sub-folder that it came from, as a/b}, of those that came from one."""
    try:
        data = read_json(ds.meta / FILE, MAX_BYTES)
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in data.items() if isinstance(v, str) and 0 < len(v) <= MAX_LETTERS} if isinstance(data, dict) else {}


def remember(ds: Dataset, came: Iterable[tuple[str, Collection[str]]], new: Collection[str]) -> None:
    """Note where an import's pictures came from.  came: (folder as offered, its pictures); new: those that were not here before.

    A folder that all of them came from says nothing and is left out of the names.
    """
    archives: dict[str, dict[str, str]] = {}
    for folder, ids in came:
        found = _ARCHIVE.match(folder)
        whole = archives.setdefault(found[0].rstrip("/") if found else "", {})
        for id in ids:
            if id in new:
                whole.setdefault(id, folder[found.end() :] if found else folder)  # one that lies in several is of the first
    noted: dict[str, str] = {}
    for places in archives.values():
        shared = len(PurePosixPath(os.path.commonpath([p or "." for p in places.values()]) if all(places.values()) else ".").parts) if places else 0
        noted = {id: "/".join(place.split("/")[shared:])[:MAX_LETTERS] for id, place in places.items()} | noted
    with ds._locked():
        before = of(ds)
        made = {id: place for id, place in (before | noted).items() if place}
        if made != before:
            write_text_whole(ds.meta / FILE, json.dumps(made))


def copy(ds: Dataset, to: Dataset, names: Collection[str]) -> None:
    """Note for a twin of a dataset where these of its pictures came from."""
    made = {id: place for id, place in of(ds).items() if id in names}
    if made:
        write_text_whole(to.meta / FILE, json.dumps(made))


def counts(ds: Dataset) -> dict[str, int]:
    """{sub-folder: pictures that can be trained on, those of the folders inside it too}, in the order of their names; {} where all came from one place."""
    if ds.in_place:
        return _on_disk(ds)
    place = of(ds)
    usable = [p.id for p in ds.pictures(check=False) if p.verdict in ("ok", "unchecked")] if place else []
    found = Counter(above for id in usable if id in place for above in _lineage(place[id]))
    return dict(sorted(found.items()))


def _on_disk(ds: Dataset) -> dict[str, int]:
    try:
        inner = sorted(e.name for e in os.scandir(ds.path) if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))[:MOST]
        inner = [name for name in inner if not _are_befores(name, inner)]
        found = {name: len(scan(ds.path / name).names) for name in inner}
    except (OSError, ValueError):
        return {}
    return {name: number for name, number in found.items() if number}


def _are_befores(name: str, beside: Collection[str]) -> bool:
    """Whether a folder holds what the pictures of one beside it are made from, so that they are no part to learn from."""
    return is_pair_folder(name, beside) and any(map(is_result_folder, beside))


def _lineage(place: str) -> list[str]:
    """a/b/c -> a, a/b, a/b/c."""
    names = place.split("/")
    return ["/".join(names[:n]) for n in range(1, len(names) + 1)]


def inside(place: str, part: str) -> str:
    """The path of a sub-folder of a folder in place, as `datasets.resolve` takes it; one at its end keeps the blanks of the name."""
    return f"{place.rstrip('/')}/{part}" + ("/" if part != part.rstrip() else "")


def taken(home: Home, use: DatasetUse) -> Taken:
    """The dataset of a run with the pictures that the run takes of it.  Raises ValueError for one that is not there, or has no such part."""
    from . import datasets

    ds = datasets.resolve(home, use.name)
    if not use.part:
        return Taken(ds, None)
    if ds.in_place:
        if not (ds.path / use.part).is_dir():
            known = _known(ds)
            raise ValueError(f"{ds.path} has no folder {use.part!r}; there are: {known}" if known else f"{ds.path} has no folder {use.part!r}; all of its pictures came from one folder, so take the part out")
        return Taken(datasets.resolve(home, inside(str(ds.path), use.part)), None)
    among = frozenset(id for id, place in of(ds).items() if place == use.part or place.startswith(f"{use.part}/"))
    if not among:
        known = _known(ds)
        none = f"no picture of the dataset {ds.title!r} came from a folder {use.part!r}; all of its pictures came from one folder, so take the part out"
        raise ValueError(f"no picture of the dataset {ds.title!r} came from a folder {use.part!r}; there are: {known}" if known else none)
    return Taken(ds, among)


def _known(ds: Dataset) -> str:
    return ", ".join(list(counts(ds))[:8])


class Taken:
    """A dataset as a run takes it.  among: ids of the pictures that are taken, None for all."""

    def __init__(self, ds: Dataset, among: frozenset[str] | None):
        self.ds, self.among = ds, among

    def pictures(self, check: bool = True) -> list[Picture]:
        """Those that are taken, in natural order."""
        return [p for p in self.ds.pictures(check) if self.among is None or p.id in self.among]

    def fingerprint(self, masks: bool = False, controls: bool = False) -> str:
        """As a dataset's, of the pictures that are taken."""
        return self.ds.fingerprint(masks, controls, self.among)

    def count(self) -> int:
        """Pictures that can be trained on, those that nobody has looked at yet too."""
        return len(self._likely())

    def seen(self) -> int:
        """How often all of these are seen in an epoch, where the dataset itself is not repeated: some pictures have repeats of their own."""
        return sum(p.repeats for p in self._likely())

    def _likely(self) -> list[Picture]:
        return [p for p in self.pictures(check=False) if p.verdict in ("ok", "unchecked")]
