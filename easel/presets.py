"""Presets: what there is to choose from, and a whole job made of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.config import TrainConfig
from training.plan import presets
from training.plan.hardware import machine
from training.plan.presets import Answers, Preset, Wrong, fits

from .place import Place, at, counted

__all__ = ["Preset", "TrainConfig", "Wrong", "all", "config", "recommended"]


def all(home: Place = None) -> list[Preset]:
    """All presets that can be used, in the order of the page."""
    return [p for p in presets.list_presets(plugins=at(home).plugins) if p.ok]


def recommended(home: Place = None) -> Preset:
    """The preset that suits this computer best."""
    place = at(home)
    return presets.recommend(all(place), machine(place.root))


def hindrance(preset: Preset, home: Place = None) -> str:
    """Why a preset does not train well on this computer, a sentence; "" where it does."""
    return fits(preset, machine(at(home).root))


def config(
    preset: str = "",
    *,
    dataset: str = "",
    trigger: str = "",
    name: str = "",
    quality: str = "balanced",
    prior: str = "",
    rows: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any] | None = None,
    gpu: str = "",
    home: Place = None,
) -> TrainConfig:
    """A whole training job: a preset, what you say here, and what follows from this computer.

    preset: its id, without it the recommended one.  dataset: a dataset's name, or a folder of pictures.  prior: the dataset that must stay as it is.
    rows: several datasets, as data.datasets has them.  settings: {"optimizer.learning_rate": 1e-4}, any setting by its dotted path.
    gpu: UUID of the card that it is to fit.  Raises ValueError, and Wrong with the settings at fault.
    """
    place = at(home)
    learnt = [row for row in rows if not row.get("prior")] or ([{"name": dataset}] if dataset else [])
    pictures = sum(counted(place, str(row.get("name", "")), str(row.get("part", ""))) for row in learnt)
    answers = Answers(name, trigger, dataset, prior, quality, tuple(rows), dict(settings or {}))
    return presets.resolve(preset or recommended(place).id, answers, machine(place.root).on(gpu), pictures, place)
