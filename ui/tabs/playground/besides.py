"""Pictures that are shown to what the Playground draws with: to a network that a run trained beside the base model, and to base models that make edits or go on from a first frame."""

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


@dataclass(frozen=True)
class Takes:
    """What pictures a base model makes something from.  most: how many; needed: it draws nothing without one; first: a clip begins with it."""

    most: int
    needed: bool
    first: bool


def takes_of(family: str, frames: int, plugins: Path) -> Takes | None:
    """None for a base model that draws from words alone."""
    try:
        spec = registry.get("families", family, plugins).SPEC
    except ValueError:
        return None
    if spec.references:
        return Takes(spec.references.most, spec.references.needed, False)
    return Takes(1, spec.first_frame, True) if spec.first_frame or (spec.may_begin and frames > 1) else None


def chosen(made_from: str, takes: Takes) -> list[str]:
    """What is chosen to make something from, one by one; no more than the base model takes, the newest where it takes one."""
    found = [line for line in made_from.splitlines() if line]
    return found[-1:] if takes.most == 1 else found[: takes.most]


def more(made_from: str, one: str) -> str:
    """With one more."""
    return "\n".join([*(line for line in made_from.splitlines() if line and line != one), one])


def fewer(made_from: str, one: str) -> str:
    """Without one."""
    return "\n".join(line for line in made_from.splitlines() if line and line != one)


def makings(home: Home, run: Run | None, takes: Takes) -> list[tuple[str, str]]:
    """[(what is chosen, name)] of the pictures, and where clips begin with one also the clips, that a run took of its datasets."""
    found = []
    for number, use in enumerate(sources(run) if run else ()):
        try:
            pictures = parts.taken(home, use).pictures(check=False)
        except (ValueError, OSError):
            continue
        found += [(f"{number}:{p.id}", p.id) for p in pictures if p.usable and (takes.first or not p.seconds)]
    return found[:MOST_SHOWN]


def made_from(home: Home, run: Run | None, takes: Takes, wish: str) -> list[dict[str, str]]:
    """A shot's made_from.  Raises ValueError, in plain words."""
    found = []
    for one in chosen(wish, takes):
        if one.startswith(FILE):
            found.append({"picture": str(_dropped(home, one))})
        elif (there := lying(home, run, one)) and run:
            use = sources(run)[int(one.partition(":")[0])]
            found.append({"picture": there[1].id, "dataset": _called(there[0], use)})
        else:
            raise ValueError(tr("{picture} is gone; choose another picture", picture=label(one)))
    if takes.needed and not found:
        raise ValueError(tr("Choose the picture that the clip begins with, or drop one") if takes.first else tr("Choose the picture that it is made from, or drop one"))
    return found


def label(one: str) -> str:
    """What a chosen picture is called; a dropped one as its file was."""
    if not one.startswith(FILE):
        return one.partition(":")[2]
    name = Path(one.removeprefix(FILE)).name
    return f"{name.rpartition('-')[0]}{Path(name).suffix}" if "-" in name else name


def _dropped(home: Home, one: str) -> Path:
    """Where a picture lies that was dropped.  Raises ValueError."""
    file = folder(home) / Path(one.removeprefix(FILE)).name
    if not file.is_file():
        raise ValueError(tr("That picture is gone; drop it again"))
    return file


def _called(ds, use: DatasetUse) -> str:
    """How a worker finds a dataset of a run."""
    return parts.inside(use.name, use.part) if use.part and ds.in_place else use.name


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
    return lying(home, beside.run, shown)


def lying(home: Home, run: Run | None, shown: str):
    """The same of any run; None where there is none."""
    number, _, id = shown.partition(":")
    uses = sources(run) if run else ()
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
        return {"beside": beside.run.id, "shown": str(_dropped(home, shown))}
    found = picture(home, beside, shown)
    if found is None:
        raise ValueError(tr("Choose the control picture that it is shown, or drop one") if beside.control else tr("Choose the picture that it is shown, or drop one"))
    ds, use = found[0], sources(beside.run)[int(shown.partition(":")[0])]
    return {"beside": beside.run.id, "shown": found[1].id, "shown_of": _called(ds, use)}


def folder(home: Home) -> Path:
    """Where pictures lie that were dropped here."""
    return home.root / ".easel" / "shown"


def bring(home: Home, upload: Path) -> str:
    """What is chosen for a file that was dropped; the worker opens it, not the page.  Raises ValueError, OSError."""
    if upload.suffix.lower() not in SUFFIXES:
        raise ValueError(tr("{file} is no picture; drop a PNG, JPG or WebP", file=upload.name))
    if upload.stat().st_size > MAX_BYTES:
        raise ValueError(tr("{file} has more than {most} MB; drop a smaller one", file=upload.name, most=MAX_BYTES // 10**6))
    called = "".join(c if c.isalnum() or c in " _" else "-" for c in upload.stem)[:40] or "-"
    name = f"{called}-{hash_of(upload)[:16]}{upload.suffix.lower()}"
    folder(home).mkdir(parents=True, exist_ok=True)
    shutil.move(upload, folder(home) / name)
    return FILE + name
