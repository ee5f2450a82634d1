"""Which version of each of its datasets a run was trained on, and how the same can be trained on exactly these again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .. import outside
from ..config import DatasetUse, TrainConfig
from ..data import bin, concepts, datasets, parts, restoring, states, twin, versions
from ..data.datasets import Dataset
from ..data.verdicts import counted
from ..files import write_atomic
from ..home import Home
from . import origin
from .context import Context
from .run import Run

RECORD = "datasets.json"  # in the run's folder: {dataset as job.yaml names it, with its part where that is a folder in place: [{t, version, digest}]}, another row where it had changed at a resume
MAX_RECORD_BYTES = 1_000_000
NAMED = 5  # missing pictures that are called by their names


@dataclass(frozen=True)
class Learnt:
    """What a run was trained on last.  changed: it was resumed on changed pictures, so that no single version is all of it."""

    version: int
    digest: str
    changed: bool


def place_of(home: Home, use: DatasetUse) -> str:
    """The dataset that a run truly reads: a part of a folder in place is a folder in place itself."""
    with suppress(ValueError):  # one that is gone is named as the config names it
        if use.part and datasets.resolve(home, use.name).in_place:
            return parts.inside(use.name, use.part)
    return use.name


def names_of(config: TrainConfig, home: Home) -> tuple[str, ...]:
    """Every dataset that a config uses, as it is read."""
    low = config.concept.low if concepts.in_pairs(concepts.known(config, home.plugins)) else ""
    return tuple(dict.fromkeys([*(place_of(home, use) for use in config.data.datasets), *([low] if low else [])]))


def note(config: TrainConfig, ctx: Context) -> None:
    """The version of each dataset, as it is now, is kept and written into the run's folder; where it cannot be, that is said."""
    known = record(ctx.run)
    for name in names_of(config, ctx.home):
        try:
            ds = datasets.resolve(ctx.home, name)
        except ValueError:
            continue  # it is not used, or what uses it says so
        try:
            restoring.finish(ds)
            ds.check()
            version = versions.gather(ds)
            if version is None:
                continue
            rows = known.setdefault(name, [])
            if not rows or rows[-1]["digest"] != version.digest:
                rows.append({"t": round(time.time(), 3), "version": version.id, "digest": version.digest})
                write_atomic(ctx.path(RECORD), json.dumps(known, ensure_ascii=False, indent=1).encode())
            versions.trained(ds, version.id, ctx.run.id, ctx.run.title)
        except (OSError, ValueError) as error:
            ctx.warn(f"which version of {ds.title!r} this run is trained on cannot be kept ({getattr(error, 'strerror', None) or error}), so it cannot be trained again on exactly these pictures once they change")


def learnt(run: Run) -> dict[str, Learnt]:
    """{dataset: what of it the run was trained on}; {} for a run that says nothing of it."""
    return {name: Learnt(rows[-1]["version"], rows[-1]["digest"], len(rows) > 1) for name, rows in record(run).items() if rows}


def hindrance(run: Run, home: Home) -> str:
    """Why a run cannot be trained again on exactly the same, as far as file names tell; "" where it can."""
    found = learnt(run)
    if not found:
        return "which pictures it was trained on was not written down: it is older than that, or never began"
    if far := origin.greeting(run.path) or next((name for name in found if origin.is_address(name) and not origin.made_here(run.path)), ""):
        return f"it was not made here, and {far[:200]!r} is on another computer"  # to look for it would greet that one
    for name, one in found.items():
        try:
            there = versions.get(datasets.resolve(home, name), one.version)
        except ValueError as error:
            return str(error)
        if there.digest != one.digest:
            return f"version {one.version} of {name!r} is another one than it was trained on; the dataset was replaced by one of the same name"
    try:
        unknown = [name for name in names_of(run.config(), home) if name not in found]
    except ValueError as error:
        return str(error)
    return f"which pictures of {unknown[0]!r} it was trained on was not written down" if unknown else ""


def missing(run: Run, home: Home) -> dict[str, list[str]]:
    """{dataset: the files of its version that are gone for good}, of those where some are.  Raises ValueError."""
    rows = {name: restoring.missing(ds := datasets.resolve(home, name), versions.read(ds, one.version)) for name, one in learnt(run).items()}
    return {name: files for name, files in rows.items() if files}


def said_of(gone: Mapping[str, list[str]]) -> list[str]:
    """What is missing, of each dataset in words; [] for nothing."""
    parts = []
    for name, files in gone.items():
        named, more = ", ".join(files[:NAMED]), len(files) - NAMED
        if more > 0:
            parts.append(f"{len(files)} files of “{name}” are gone for good: {named} and {more} more")
        elif len(files) > 1:
            parts.append(f"{len(files)} files of “{name}” are gone for good: {named}")
        else:
            parts.append(f"1 file of “{name}” is gone for good: {named}")
    return parts


def again(run: Run, home: Home) -> tuple[dict[str, str], list[str]]:
    """({dataset as the run names it: the one that is exactly what it was trained on}, what to know, a sentence each).  Raises ValueError."""
    if refused := hindrance(run, home):
        raise ValueError(refused)
    names, said = {}, []
    for name, one in learnt(run).items():
        ds = datasets.resolve(home, name)
        made = twin.twin(home, ds, one.version)
        names[name] = name if made.dataset == ds else made.dataset.name
        if made.dataset == ds:
            said.append(f"“{ds.title}” is still what it was trained on.")
        else:
            said.append(_said_of_twin(ds.title, made.dataset.title, made.copied))
        if one.changed:
            said.append(f"“{ds.title}” had changed when it was resumed: taken is what it ended with.")
    return names, said


def _said_of_twin(title: str, twin: str, copied: int) -> str:
    if not copied:
        return f"What “{title}” was then is the dataset “{twin}”, whose pictures take no room of their own."
    if copied == 1:
        return f"What “{title}” was then is the dataset “{twin}”; 1 file had to be copied, as this disk knows no hard links."
    return f"What “{title}” was then is the dataset “{twin}”; {copied} files had to be copied, as this disk knows no hard links."


def with_datasets(config: TrainConfig, names: Mapping[str, str], home: Home) -> TrainConfig:
    """The config with other datasets in the place of its own."""
    told = config.model_dump(mode="json")
    for use, row in zip(config.data.datasets, told["data"]["datasets"], strict=True):
        place = place_of(home, use)
        if (name := names.get(place, place)) != place:
            row |= {"name": name} | ({"part": ""} if place != use.name else {})  # what stood for the part is all of it
    told["concept"]["low"] = names.get(told["concept"]["low"], told["concept"]["low"])
    return TrainConfig.model_validate(told)


@dataclass(frozen=True)
class Lost:
    """What goes with the bin of a dataset.  versions: that can no longer come back whole.  titles: of runs that were trained on them.  pictures: how many are kept nowhere else."""

    versions: tuple[int, ...]
    titles: tuple[str, ...]
    pictures: int


def lost_in_bin(ds: Dataset, home: Home) -> Lost | None:
    """What can no longer be brought back or repeated once the bin of a dataset is emptied; None for nothing.  Raises ValueError at a damaged version."""
    only = {kept.sha256 for kept in bin.contents(ds) if kept.sha256} - set(states.now(ds).files.values())
    broken = [version.id for version, files in versions.files_of_each(ds) if not only.isdisjoint(files.values())] if only else []
    if not broken:
        return None
    titles = tuple(dict.fromkeys(r["title"] for r in versions.runs(ds) if r["version"] in broken and outside.is_folder(home.outputs / r["run"])))
    return Lost(tuple(broken), titles, len(only))


def lost_with_bin(ds: Dataset, home: Home) -> str:
    """The same in a sentence; "" for nothing."""
    lost = lost_in_bin(ds, home)
    if lost is None:
        return ""
    broken, titles = lost.versions, lost.titles
    which = f"Version {broken[0]}" if len(broken) == 1 else f"Versions {broken[0]} to {broken[-1]}"
    runs = f", nor can {'the run' if len(titles) == 1 else 'the runs'} {', '.join(f'“{t}”' for t in titles[:NAMED])}{f' and {len(titles) - NAMED} more' if len(titles) > NAMED else ''} be trained again on exactly the same" if titles else ""
    return f"{which} can then no longer come back whole{runs}: {counted(lost.pictures, 'picture')} {'is' if lost.pictures == 1 else 'are'} kept nowhere else in this dataset."


def record(run: Run) -> dict[str, list[dict[str, Any]]]:
    """{dataset: its rows}, as the run wrote them down; what is none is left out."""
    try:
        data = outside.read_json(run.path / RECORD, MAX_RECORD_BYTES)
    except (OSError, ValueError):
        return {}
    rows = {name: [row for row in found if _is_row(row)] for name, found in data.items() if isinstance(found, list)} if isinstance(data, dict) else {}
    return {name: found for name, found in rows.items() if found}


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and type(row.get("version")) is int and isinstance(row.get("digest"), str) and isinstance(row.get("t"), (int, float))
