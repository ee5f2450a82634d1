"""The example pictures that come with Easel, made into a dataset of the user's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..home import BUILTIN, Home
from . import datasets, importing

FOLDER = BUILTIN / "example"
KEPT = BUILTIN / "kept"  # what the base can draw: it must still do so afterwards
NAME = "example-zibbo"
KEPT_NAME = "example-zibbo-kept-as-it-is"
PRESET = "builtin-character"


@dataclass(frozen=True)
class Example:
    """What example.json says of the pictures."""

    trigger: str
    title: str


def example(folder: Path = FOLDER) -> Example:
    """The example's trigger word and title.  Raises ValueError where the pictures are not there."""
    try:
        about = json.loads((folder / "example.json").read_text(encoding="utf-8"))
        return Example(str(about["trigger"]), str(about["title"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError("the example pictures are missing from presets/builtin/example; get Easel again, whole") from None


def install_example(home: Home) -> tuple[str, str]:
    """The names of the datasets with the example pictures and with those that are kept as they are; made and filled where that is due.

    What the user changed in them stays.  Raises ValueError where the pictures are missing or none was taken.
    """
    example()
    kept = _installed(home, KEPT_NAME, KEPT)  # first, so that the one to learn from is the one that was worked on last
    return _installed(home, NAME, FOLDER), kept


def _installed(home: Home, name: str, folder: Path) -> str:
    try:
        ds = datasets.open_dataset(home, name)
    except ValueError:
        ds = datasets.create(home, name)
    if not ds.counts().usable:
        verdicts = importing.add_folder(ds, folder)
        if not ds.counts().usable:
            raise ValueError(f"none of the pictures of {name!r} could be added: {datasets.summary(verdicts)}")
    return ds.name
