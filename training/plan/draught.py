"""A job of the settings that were brought from another trainer: the preset of its base model fills in the rest, and folders that are here are its datasets."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..config import TrainConfig
from ..data import datasets
from ..home import Home
from ..names import folder_name
from . import presets
from .estimate import estimate
from .hardware import Machine, machine
from .translating import Imported, Pictures

FOLDERS = 1000  # below a folder whose sub-folders are meant too: more of them are no dataset


def folders(made: Imported, home: Home, local: bool = True) -> list[dict[str, Any]]:
    """The rows of data.datasets for those of its folders that are on this computer and have pictures, each with what is said of it; of one that
    is not, the dataset here that is called like it.

    kohya's folders say their repeats in their names: 10_zibbo dog.  local: whether folders of this computer may be looked at.
    """
    rows = []
    for one in made.datasets:
        found = [(str(place), repeats) for place, repeats in _places(one) if count(home, str(place))] if local else []
        own = {"weight": one.weight, "prior": one.prior, "resolutions": one.resolutions, "trigger": "" if one.prior else one.trigger}
        rows += [{"name": name, "repeats": min(1000, repeats), **own} for name, repeats in found or _called(one, home)]
    return rows


def _called(one: Pictures, home: Home) -> list[tuple[str, int]]:
    """[(dataset of ours, repeats)] that is called like a folder which is on another computer."""
    name = re.split(r"[\\/]", one.path.rstrip("\\/"))[-1]
    try:
        return [(datasets.open_dataset(home, folder_name(name)).name, one.repeats)] if name and count(home, folder_name(name)) else []
    except ValueError:
        return []


def _places(one: Pictures) -> list[tuple[Path, int]]:
    """The folder, all of those in it where they are meant too, or the folders in it that say their repeats in their names."""
    path = Path(one.path).expanduser()
    if not path.is_absolute() or not path.is_dir():
        return []
    if one.below:
        return [(place, one.repeats) for place in sorted(Path(root) for root, _, _ in islice(os.walk(path), FOLDERS)) if not any(p[0] == "." for p in place.relative_to(path).parts)]
    inner = [(p, int(number)) for p in sorted(path.iterdir()) if p.is_dir() for number, line, _ in [p.name.partition("_")] if line and number.isdigit() and int(number)]
    return inner or [(path, one.repeats)]


def count(home: Home, name: str) -> int:
    """Pictures of a dataset or folder that can be trained on; 0 where there is none."""
    try:
        counts = datasets.resolve(home, name).counts()
    except (ValueError, OSError):
        return 0
    return counts.usable + counts.unchecked


def job_of(made: Imported, home: Home, dataset: str = "", has: Machine | None = None) -> tuple[TrainConfig, list[str]]:
    """(a whole job, sentences on what was filled in or is still to be done).  Raises ValueError where no dataset is here, or a setting does not hold."""
    has = has or machine(home.root)
    said = []
    settings = {k: v for k, v in made.settings.items() if k not in ("epochs", "name", "trigger")}
    rows = [{"name": dataset}] if dataset else folders(made, home)
    if not any(not row.get("prior") for row in rows):
        named = ", ".join(d.path for d in made.datasets) or "it names none"
        raise ValueError(f"there are no pictures to learn from: none of its folders is on this computer ({named}); name a dataset with --dataset")
    if len(rows) > 1 or not dataset:
        settings["data.datasets"] = rows
    first = next(row["name"] for row in rows if not row.get("prior"))
    preset = made.preset
    if not preset:
        preset = presets.recommend(presets.list_presets(plugins=home.plugins), has).id
        said.append(f"Its base model is none of Easel's, so the preset {preset} is taken: set model.family and model.source")
    answers = presets.Answers(name=str(made.settings.get("name", "")), trigger=str(made.settings.get("trigger", "")), dataset=first, overrides=settings)
    pictures = sum(count(home, row["name"]) for row in rows if not row.get("prior"))
    config, changed = presets.resolve_and_tell(preset, answers, has, pictures, home)
    if epochs := made.settings.get("epochs"):
        guess = estimate(config, has, pictures, home)
        if not guess.steps_per_epoch:
            raise ValueError(guess.problems[0])
        steps = max(1, round(epochs * guess.steps_per_epoch))
        config, changed = presets.resolve_and_tell(preset, replace(answers, overrides=settings | {"steps": steps}), has, pictures, home)
        said.append(f"{epochs:g} epochs of {guess.steps_per_epoch} steps each: steps is {steps}")
    return config, [*said, f"What it does not say is as in the preset {preset}", *changed]
