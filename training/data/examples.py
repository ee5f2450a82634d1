"""The example pictures that come with Easel, made into a dataset of the user's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..home import BUILTIN, Home
from . import datasets, importing

FOLDER = BUILTIN / "example"
NAME = "example-zibbo"
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


def install_example(home: Home) -> str:
    """The name of the dataset with the example pictures, made and filled where that is due.

    What the user changed in it stays.  Raises ValueError where the pictures are missing or none was taken.
    """
    example()
    try:
        ds = datasets.open_dataset(home, NAME)
    except ValueError:
        ds = datasets.create(home, NAME)
    if not ds.counts().usable:
        verdicts = importing.add_folder(ds, FOLDER)
        if not ds.counts().usable:
            raise ValueError(f"none of the pictures of {NAME!r} could be added: {datasets.summary(verdicts)}")
    return ds.name
