"""What people typed and did not send yet: small JSON files, saved when a field is left, so that a reload loses nothing."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from training.files import write_atomic
from training.home import Home
from training.names import folder_name
from training.secrets import mask

Model = TypeVar("Model", bound=BaseModel)


def load(home: Home, name: str, model: type[Model]) -> Model:
    """The draft called `name`; an empty one where there is none that can be read."""
    try:
        return model.model_validate_json(_path(home, name).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return model()


def save(home: Home, name: str, draft: BaseModel) -> None:
    """Keeps a draft, without anything that looks like a token.  A disk that takes nothing costs only the reload."""
    path = _path(home, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, mask(draft.model_dump_json()).encode())
    except OSError:
        return


def _path(home: Home, name: str):
    return home.root / ".easel" / "drafts" / f"{folder_name(name)}.json"
