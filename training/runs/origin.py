"""Where a run comes from: made in this home, or brought here from somewhere else.

A run's folder can be mailed, and whoever made it chose what its job reads.  So a home remembers the job files that it wrote.  One that
it does not know never starts by itself; and before it is resumed, what it would read of this computer beyond this home's own datasets,
models and runs, or send somewhere, is said and has to be accepted.  Plugins need no word: a job names them, but only those can answer that
the owner of the home has put there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import outside
from ..config import HERE
from ..files import write_atomic
from ..jobfile import MAX_BYTES, load_mapping

SHARE = "//"  # so begins another computer's folder, which asking for would greet
ADDRESSES = ("http://", "https://", "ftp://", SHARE)


def adopt(folder: Path) -> None:
    """The run in `folder` counts as made here from now on.  Raises Refused, OSError."""
    mark = _mark(folder)
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(mark, b"")


def made_here(folder: Path) -> bool:
    """Whether this home wrote the run's job file, or somebody accepted it."""
    return _mark(folder).is_file()


def is_address(text: str) -> bool:
    """Whether a text names something of another computer."""
    return _strokes(text).startswith(ADDRESSES)


def greeting(folder: Path) -> str:
    """The first folder of another computer that is named by the job of a run which was not made here; "" where there is none.  Raises ValueError, OSError."""
    return "" if made_here(folder) else next((text for text in _texts(load_mapping(folder / "job.yaml")) if _strokes(text).startswith(SHARE)), "")


def question(folder: Path) -> str:
    """What has to be accepted before a run that was brought here may start; "" where nothing has.  Raises ValueError, OSError."""
    if made_here(folder):
        return ""
    told = load_mapping(folder / "job.yaml")
    reached = [*_sent(told), *_reached(told, folder.parent.parent, ""), *_shown(told.get("trackers"))]
    if not reached:
        return ""
    return f"It was not made here, and it would use {', '.join(reached[:8])}{', …' if len(reached) > 8 else ''}"


def _sent(told: dict[str, Any]) -> Iterator[str]:
    """That a job would be done on another machine, with all that it learns from."""
    place = told.get("place")
    if isinstance(place, dict) and place.get("kind", HERE) != HERE:
        options = place.get("options")
        said = ", ".join(f"{key} {value}" for key, value in options.items()) if isinstance(options, dict) else ""
        yield f"place.kind {place['kind']!r}, which sends its pictures to another machine ({said[:200]})"


def _mark(folder: Path) -> Path:
    job = outside.read_plain(folder / "job.yaml", MAX_BYTES)
    return folder.parent.parent / ".easel" / "made" / hashlib.sha256(job).hexdigest()


def _reached(value: Any, home: Path, key: str) -> Iterator[str]:
    """What a job names that lies beyond the home: "data.datasets.name /home/me/letters"."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _reached(inner, home, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _reached(inner, home, key)
    elif isinstance(value, str) and _is_beyond(value.strip(), home):
        yield f"{key} {value.strip()[:200]}"


def _strokes(text: str) -> str:
    """Windows takes either stroke in any mixture."""
    return text.strip().replace("\\", "/")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _shown(trackers: Any) -> Iterator[str]:
    """Where a job would show itself: "trackers wandb"."""
    for use in trackers if isinstance(trackers, list) else []:
        told = [str(use.get(key, "")) for key in ("name", "place")] if isinstance(use, dict) else [str(use)]
        yield " ".join(["trackers", *filter(None, told)])[:220]


def _is_beyond(text: str, home: Path) -> bool:
    if is_address(text):
        return " " not in text or _strokes(text).startswith(SHARE)
    if not any(sign in text for sign in "/\\~") and text not in (".", ".."):
        return False
    try:
        place = Path(text).expanduser()
        return place.exists() and not any(place.resolve().is_relative_to((home / own).resolve()) for own in ("datasets", "outputs", "models"))
    except (OSError, ValueError, RuntimeError):  # a text that is no path at all, or a home that nobody has
        return False
