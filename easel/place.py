"""The home that a call is about."""

from __future__ import annotations

import os
from pathlib import Path

from training.home import Home, find_home

Place = Home | str | os.PathLike | None


def at(home: Place) -> Home:
    """The home that was named, its folders present.  Raises ValueError where they cannot be made."""
    return (home if isinstance(home, Home) else find_home(home)).made()


def counted(home: Home, name: str, part: str = "") -> int:
    """Pictures of a dataset or folder, or of one of its parts, that can be trained on.  Raises ValueError where there is none of that name."""
    from training.config import DatasetUse
    from training.data.parts import taken

    return taken(home, DatasetUse(name=name, part=part)).count()


def absolute(path: str | os.PathLike) -> Path:
    """A path that a process which runs in another folder finds too."""
    return Path(path).expanduser().resolve()
