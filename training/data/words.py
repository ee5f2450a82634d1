"""Lists of sentences that hold a base model where a run keeps what it knows: presets/words and <home>/plugins/words, one sentence a line."""

from __future__ import annotations

from pathlib import Path

from ..config import TrainConfig
from ..family import FamilySpec
from ..home import REPO, Home
from ..outside import read_text
from . import concepts

MAX_BYTES = 2_000_000
FOLDER = REPO / "presets" / "words"
MAX_BYTES = 1_000_000


def sentences_of(config: TrainConfig, spec: FamilySpec, home: Home) -> tuple[str, ...]:
    """The sentences that a run's base model is held with, in their order.  Raises ValueError where the list is not there, or none of it can hold it."""
    return concepts.kept_sentences(config, concepts.objective_of(config, home.plugins), _listed(config, spec, home))


def _listed(config: TrainConfig, spec: FamilySpec, home: Home) -> tuple[str, ...]:
    if config.keep.prompts:
        return config.keep.prompts
    name = config.keep.words or spec.words_of(config.model.source)
    known = lists(home.plugins)
    if name not in known:
        raise ValueError(f"keep.words is {name!r}, but there is no such list; there are: {', '.join(known)}")
    return read(known[name])


def problems(config: TrainConfig, spec: FamilySpec, home: Home) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] where a run is to be held with sentences that are not there, or with pictures that are not made."""
    if not config.keep.on:
        return []
    try:
        sentences_of(config, spec, home)
    except (ValueError, OSError) as error:
        return [("keep.words", str(error).removeprefix("keep.words "))]
    if config.keep.drawn and config.data.most_frames > 1:
        return [("keep.drawn", "makes single pictures, and data.frames asks for clips; set it to 0")]
    return []


def lists(plugins: Path) -> dict[str, Path]:
    """{name: file} of every list; one that comes with Easel goes before one of the same name beside it."""
    found = [path for folder in (FOLDER, plugins / "words") if folder.is_dir() for path in sorted(folder.glob("*.txt"))]
    return dict(sorted({path.stem: path for path in reversed(found)}.items()))


def read(path: Path) -> tuple[str, ...]:
    """The sentences of a file, without empty lines and those that begin with #.  Raises ValueError where none is left."""
    lines = [line.strip() for line in read_text(path, MAX_BYTES).splitlines()]
    found = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not found:
        raise ValueError(f"{path.name} holds no sentence; write one a line")
    return found
