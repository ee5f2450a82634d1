"""What a tracker is told of a run: numbers and pictures in the order of its events, each step once, however often it was resumed.

A tracker (training/trackers) shows runs elsewhere: in TensorBoard, on a server.  It is fed from events.jsonl by a process of its own
(trackside.py), never by the worker, so that nothing it does can hurt a training; and as all there is to know is in the events, a run of
last year is told as one that goes on now.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any, Protocol

from .. import outside
from .events import RunView, fold

MAX_SAMPLE_BYTES = 200_000_000
MAX_SAMPLE_PIXELS = 64_000_000
LONGEST_SIDE_PX = 1024  # of a picture that is sent
MOST_NAMES = 1000  # of different sample pictures whose last step is remembered


@dataclass(frozen=True)
class Track:
    """What a tracker begins with.  id: what it called the run last time, "" the first time; folder: for what it keeps on this computer."""

    run: str
    title: str
    project: str
    place: str
    folder: Path
    id: str
    config: Mapping[str, bool | int | float | str]  # flat, by dotted names
    created_t: float


class Teller(Protocol):
    """What a tracker's begin() gives back.  id: by which the same is found next time; where: an address or folder, for a person."""

    id: str
    where: str

    def numbers(self, step: int, t: float, values: Mapping[str, float]) -> None: ...
    def picture(self, step: int, t: float, name: str, png: bytes, caption: str) -> None: ...
    def flush(self) -> None: ...
    def end(self, status: str) -> None: ...


@dataclass(frozen=True)
class Row:
    """One thing to tell.  path: of a picture inside the run's folder, "" for numbers."""

    step: int
    t: float
    values: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
    path: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Told:
    """How far it got: byte of events.jsonl, newest step of each curve, of each sample by its name."""

    cursor: int = 0
    step: int = -1
    validation: int = -1
    samples: Mapping[str, int] = field(default_factory=dict)


def rows(events: Iterable[dict[str, Any]], told: Told) -> tuple[list[Row], Told]:
    """(what has not been told yet, how far that is).  A resumed attempt repeats the steps after its checkpoint: those are left out."""
    found: list[Row] = []
    step, validation, samples = told.step, told.validation, dict(told.samples)
    for event in events:
        view = fold(RunView(), [event])  # which refuses numbers that no training makes
        if not view.last_kind:
            continue
        if view.losses and view.step > step:
            step = view.step
            found.append(Row(step, view.last_t, _numbers(view, event)))
        elif view.validations and view.validations[0][0] > validation:
            validation, loss = view.validations[0]
            found.append(Row(validation, view.last_t, {"validation/loss": loss}))
        elif view.samples:
            at, index, prompt, path, seed = view.samples[0]
            strength = f" at strength {view.strengths[0][1]:g}" if view.strengths else ""
            name = f"samples/{index}{strength}"
            if at > samples.get(name, -1) and (name in samples or len(samples) < MOST_NAMES):
                samples[name] = at
                found.append(Row(at, view.last_t, name=name, path=path, caption=f"{prompt} (seed {seed}{strength})"))
    return found, Told(told.cursor, step, validation, samples)


def _numbers(view: RunView, event: Mapping[str, Any]) -> dict[str, float]:
    _, loss, rate = view.losses[0]
    said = {"train/loss": loss, "train/learning_rate": rate, "speed/pictures_per_s": view.images_per_s, "speed/memory_gb": view.memory_bytes / 1e9}
    length = event.get("grad")
    if isinstance(length, (int, float)) and not isinstance(length, bool) and abs(length) < float("inf"):
        said["train/gradient"] = float(length)
    return said


def flat(job: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """A job by dotted names: lists as JSON, folders of this computer by their last name, tokens masked."""
    from ..hub.secrets import mask

    made: dict[str, bool | int | float | str] = {}
    for key, value in job.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            made |= flat(value, f"{name}.")
        elif isinstance(value, (bool, int, float)):
            made[name] = value
        elif value is not None:
            plain = _without_folders(value)
            made[name] = mask(plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, default=str))
    return made


def _without_folders(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_without_folders(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _without_folders(v) for k, v in value.items()}
    if not isinstance(value, str) or "\n" in value:
        return value
    if re.match(r"[A-Za-z]:[\\/]|\\\\", value):
        return PureWindowsPath(value).name
    return PurePosixPath(value).name if value.startswith(("/", "~/")) else value


def png_of(run: Path, path: str) -> bytes:
    """A sample as PNG, of a clip its first frame, no longer than a page shows.  Raises ValueError, OSError."""
    import io

    from PIL import Image

    data = outside.read_plain(outside.inside(run, path), MAX_SAMPLE_BYTES)
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP", "PNG", "JPEG"]) as picture:
            if picture.width * picture.height > MAX_SAMPLE_PIXELS:
                raise ValueError(f"{path} has {picture.width}x{picture.height} px, which no sample has")
            made = picture.convert("RGB")
    except (SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no picture: {error}") from None
    made.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()


def tell(teller: Teller, run: Path, found: Iterable[Row], gone: Callable[[str], None]) -> None:
    """Every row is told.  gone: hears of a picture that is no longer there, or none; the rest goes on."""
    for row in found:
        if not row.path:
            teller.numbers(row.step, row.t, row.values)
            continue
        try:
            png = png_of(run, row.path)
        except (OSError, ValueError) as error:
            gone(str(error))
            continue
        teller.picture(row.step, row.t, row.name, png, row.caption)


def lacking(module: ModuleType) -> str:
    """Which package a tracker wants and how it is had; "" where all are there."""
    for name, version in module.NEEDS.items():
        try:
            there = util.find_spec(name) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            return f"{module.TITLE} needs the package {name}, which is not installed: python -m pip install {name}=={version}, with Easel's own Python"
    return ""


def unfit(name: str, plugins: Path | None) -> str:
    """Why there is no such tracker here, or which package it lacks; "" where it is there.  Imports nothing of it."""
    from .. import registry

    try:
        return lacking(registry.get("trackers", name, plugins))
    except ValueError as error:
        return str(error)


def environment(module: ModuleType, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What of our environment belongs to a tracker: its own keys and switches, which a worker never sees."""
    return {name: value for name, value in environ.items() if name.startswith(tuple(module.ENVIRONMENT))} if module.ENVIRONMENT else {}
