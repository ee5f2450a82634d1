"""Runs that trained a network beside the base model, as the Playground draws with them: which there are, and what they can be shown."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from training import registry
from training.config import DatasetUse
from training.data import parts
from training.data.memory import hash_of
from training.data.pictures import SUFFIXES
from training.formats.beside import is_beside, needs_control
from training.home import Home
from training.runs.run import Run

from ...language import tr

MARK = "beside:"  # of such a run among what is drawn with
FILE = "file:"  # of a picture that was dropped among what is shown; a dataset's is NUMBER:NAME
MOST_SHOWN = 200  # pictures to choose from
MAX_BYTES = 64_000_000


@dataclass(frozen=True)
class Beside:
    """What such a run needs to be drawn with.  inside: it lies in the base model's own layers, so that nothing can be worn with it."""

    run: Run
    title: str  # of its kind
    control: bool  # it is shown control pictures, not pictures
    inside: bool


def of(run: Run) -> Beside | None:
    """None for a run that trained something else, or has not finished."""
    try:
        adapter = registry.get("adapters", str(run.job().get("adapter", {}).get("type", "lora")), run.plugins)
        if not is_beside(adapter) or run.result() is None:
            return None
        return Beside(run, adapter.TITLE, needs_control(adapter), bool(getattr(adapter, "INSIDE", False)))
    except (ValueError, OSError, AttributeError):
        return None


def ways(beside: Beside) -> tuple[str, ...]:
    """The ways to draw with it."""
    return ("one",) if beside.inside else ("one", "before", "two")


def sources(run: Run) -> tuple[DatasetUse, ...]:
    """The datasets that the run learnt, as it took them."""
    return run.config().data.datasets


def offered(home: Home, beside: Beside) -> list[tuple[str, str]]:
    """[(what is chosen, name)] of the pictures that the run took of its datasets and can be shown; of a dataset that is gone none."""
    found = []
    for number, use in enumerate(sources(beside.run)):
        try:
            pictures = parts.taken(home, use).pictures(check=False)
        except (ValueError, OSError):
            continue
        found += [(f"{number}:{p.id}", p.id) for p in pictures if p.usable and not p.seconds and (p.control or not beside.control)]
    return found[:MOST_SHOWN]


def picture(home: Home, beside: Beside, shown: str):
    """(dataset, its picture) that is meant; None where it is a dropped one, or gone."""
    number, _, id = shown.partition(":")
    uses = sources(beside.run)
    if not number.isdecimal() or int(number) >= len(uses):
        return None
    try:
        ds = parts.taken(home, uses[int(number)]).ds
        return ds, ds.get(id)
    except (ValueError, OSError):
        return None


def told(home: Home, beside: Beside, shown: str) -> dict[str, str]:
    """The shot's fields for what is shown.  Raises ValueError, in plain words."""
    if shown.startswith(FILE):
        file = folder(home) / Path(shown.removeprefix(FILE)).name
        if not file.is_file():
            raise ValueError(tr("That picture is gone; drop it again"))
        return {"beside": beside.run.id, "shown": str(file)}
    found = picture(home, beside, shown)
    if found is None:
        raise ValueError(tr("Choose the control picture that it is shown, or drop one") if beside.control else tr("Choose the picture that it is shown, or drop one"))
    ds, use = found[0], sources(beside.run)[int(shown.partition(":")[0])]
    lies = parts.inside(use.name, use.part) if use.part and ds.in_place else use.name
    return {"beside": beside.run.id, "shown": found[1].id, "shown_of": lies}


def folder(home: Home) -> Path:
    """Where pictures lie that were dropped here."""
    return home.root / ".easel" / "shown"


def bring(home: Home, upload: Path) -> str:
    """What is chosen for a file that was dropped; the worker opens it, not the page.  Raises ValueError, OSError."""
    if upload.suffix.lower() not in SUFFIXES:
        raise ValueError(tr("{file} is no picture; drop a PNG, JPG or WebP", file=upload.name))
    if upload.stat().st_size > MAX_BYTES:
        raise ValueError(tr("{file} has more than {most} MB; drop a smaller one", file=upload.name, most=MAX_BYTES // 10**6))
    name = hash_of(upload)[:16] + upload.suffix.lower()
    folder(home).mkdir(parents=True, exist_ok=True)
    shutil.move(upload, folder(home) / name)
    return FILE + name
