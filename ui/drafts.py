"""What people typed and did not send yet: small JSON files, saved when a field is left, so that a reload loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from training.files import write_atomic
from training.home import Home
from training.hub.secrets import mask
from training.names import folder_name
from training.outside import read_text

MAX_BYTES = 4_000_000  # of one draft
Model = TypeVar("Model", bound=BaseModel)


_changing = threading.RLock()
_unsaved: dict[Path, str] = {}


def load(home: Home, name: str, model: type[Model]) -> Model:
    """The draft called `name`; an empty one where there is none that can be read."""
    path = _path(home, name)
    try:
        return model.model_validate_json(_unsaved.get(path) or read_text(path, MAX_BYTES))
    except (OSError, ValueError):  # also what it may not hold
        return model()


def change(home: Home, name: str, model: type[Model], how: Callable[[Model], Model]) -> Model:
    """The draft after `how`, kept without anything that looks like a token.

    One change at a time: two fields that are left quickly after each other are two requests at once, and both must count.
    A disk that takes nothing costs no more than what a restart of the app would.
    """
    path = _path(home, name)
    with _changing:
        draft = how(load(home, name, model))
        text = mask(draft.model_dump_json())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text.encode())
            _unsaved.pop(path, None)
        except OSError:
            _unsaved[path] = text
    return model.model_validate_json(text)


def _path(home: Home, name: str) -> Path:
    return home.root / ".easel" / "drafts" / f"{folder_name(name)}.json"
