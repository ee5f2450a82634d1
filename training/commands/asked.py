"""What the commands ask for alike, and how they read it: the home, a run, a card, NAME=VALUE."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..home import Home, find_home

HomeOption = Annotated[Path | None, typer.Option("--home", help="Folder with outputs, datasets and plugins; EASEL_HOME, else Easel's own folder, which 'doctor' names.")]
GpuOption = Annotated[str | None, typer.Option("--gpu", help="Graphics card, by number, UUID or part of its name, as 'doctor' lists them; without it, any free one.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Start it and return at once; it goes on by itself.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, as 'runs' lists it, or the path of its folder.")]


def use_home(home: Path | None) -> Home:
    """The home that was asked for; whatever looks for one later finds the same."""
    return name_home(home).ready()


def name_home(home: Path | None) -> Home:
    """The same, without looking whether it can be written to."""
    if home is not None:
        os.environ["EASEL_HOME"] = str(home.expanduser().resolve())
    return find_home()


def open_run(text: str, home: Home):
    from ..runs.run import Run

    path = Path(text)
    named_by_path = len(path.parts) > 1 and path.resolve().parent == home.outputs.resolve()
    return Run.open(home.outputs, path.resolve().name if named_by_path else text)


def card_of(text: str | None, home: Home) -> str:
    """The UUID of the card that a person names; "" for any."""
    from easel.run import card

    return card(home, text or "")


def refuse_existing(target: Path) -> None:
    if target.exists():
        raise ValueError(f"{target} is there already; choose another name, or remove it")
    if not target.parent.is_dir():
        raise ValueError(f"there is no folder {target.parent}")


def values_of(pairs: list[str], what: str) -> dict[str, object]:
    import yaml

    return {name: yaml.safe_load(value) for name, value in texts_of(pairs, what).items()}


def texts_of(pairs: list[str], what: str) -> dict[str, str]:
    """The same, each value as it was typed."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{what} {pair!r} is not of the form name=value")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
