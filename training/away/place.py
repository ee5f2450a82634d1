"""A place: somebody else's machine that a training is sent to.  What the files in training/cloud/ give and get, and how the chosen one is found.

What a place offers: docs/writing-a-plugin.md.  Who calls it: relay.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from pydantic import BaseModel, ValidationError

from .. import jobfile, registry
from ..config import HERE, TrainConfig
from ..hub.secrets import Secret

_token: ContextVar[Secret | None] = ContextVar("easel_place_token", default=None)


@contextmanager
def on_behalf(token: Secret | None) -> Iterator[None]:
    """While inside, token() is that of whoever asked: the person who is signed in to a Space, or the worker's."""
    before = _token.set(token)
    try:
        yield
    finally:
        _token.reset(before)


def token() -> Secret | None:
    """The Hub token that a place may use now; None where nobody gave one, so that the account of this computer is asked."""
    return _token.get()


class Unreachable(Exception):
    """The network is away, or the place does not answer: what was asked may be asked again."""


class Refused(Exception):
    """It will not work, however often it is tried: a wrong key, no such host, no credit.  The message is a sentence."""


@dataclass(frozen=True)
class Machine:
    """A machine that can be had.  price_per_hour None: not known, or none is asked.

    vram_bytes: of its largest card, 0 for a processor.  cards: of each card, the largest first; () where nobody says how many there are.
    """

    name: str
    title: str
    vram_bytes: int
    ram_bytes: int
    price_per_hour: float | None
    currency: str
    cards: tuple[int, ...] = ()


def together(names: Sequence[str]) -> str:
    """Cards in a word or two: "2 × NVIDIA L4, NVIDIA T4"; of none, the processor."""
    return ", ".join(f"{n} × {name}" if (n := names.count(name)) > 1 else name for name in dict.fromkeys(names)) or "The processor"


@dataclass(frozen=True)
class Look:
    """How a run there is doing.  events: the bytes of its events.jsonl behind `offset`, which is where the next look begins after them.

    log: the last lines of its log.  why: for failed and gone, a sentence.  gone: it is no longer there, and did not say how it ended.
    """

    status: Literal["waiting", "running", "finished", "failed", "gone"]
    events: bytes
    offset: int
    log: str
    why: str


def where(place: ModuleType, options: BaseModel) -> str:
    """The machine, in a word or two, for a sentence."""
    return str(getattr(place, "where", lambda options: "")(options) or getattr(options, "machine", "") or place.TITLE)


def is_away(config: BaseModel) -> bool:
    """Is the job done on another machine?"""
    return isinstance(config, TrainConfig) and config.place.kind != HERE


def of(config: TrainConfig, plugins: Path | None = None) -> tuple[ModuleType, BaseModel]:
    """(the place's file, its options, checked).  Raises ValueError that names the choices, or what is wrong with an option."""
    module = registry.get("cloud", config.place.kind, plugins)
    return module, jobfile.parse(module.Options, config.place.options, "place.options")


def problems(config: TrainConfig, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of what is wrong with the place, told without asking it."""
    if config.place.kind == HERE:
        if config.place.options:
            return [("place.options", f"{', '.join(config.place.options)} is for another machine, but place.kind is {HERE!r}; leave it out, or name the place")]
        return []
    try:
        module = registry.get("cloud", config.place.kind, plugins)
    except ValueError as error:
        return [("place.kind", str(error))]
    return option_problems(module, config.place.options)


def option_problems(module: ModuleType, options: Mapping[str, object]) -> list[tuple[str, str]]:
    """[("place.options", sentence)] of what is wrong with what one place is told."""
    try:
        module.Options.model_validate(dict(options))
    except ValidationError as error:
        has = ", ".join(module.Options.model_fields)
        return [("place.options", f"{path!r} {text} ({module.TITLE} has: {has})") for path, text in jobfile.problems(module.Options, error)]
    return []
