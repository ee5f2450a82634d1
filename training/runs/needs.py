"""What a run needs that does not lie in its folder: datasets, a base model, plugins.  Looked up each time, as it may have come meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from .. import registry
from ..config import HERE, TrainConfig
from ..data import concepts, datasets, parts, words
from ..formats import basemodel
from ..home import Home
from . import origin
from .run import Run

STARTS = ("./", "../", "~", ".\\", "..\\")
NAMED = 4  # missing things that are called by their names
CALLED = {  # Need.what -> how one is called; whole, as other languages say it in another order
    "dataset": "dataset {quoted!r}", "base model": "base model {quoted!r}", "training adapter": "training adapter {quoted!r}", "context adapter": "context adapter {quoted!r}", "speed adapter": "speed adapter {quoted!r}", "image encoder": "image encoder {quoted!r}",
    "adapter to start from": "adapter to start from {quoted!r}", "list of sentences": "list of sentences {quoted!r}",
}  # fmt: skip


@dataclass(frozen=True)
class Need:
    """One thing.  what: the kind in words.  field: where job.yaml names it; "" for a plugin, which only its own file can be.  name: as it stands there."""

    what: str
    field: str
    name: str
    there: bool
    cure: str  # what to do where it is not there


def of(run: Run, home: Home) -> list[Need]:
    """All of it, what is missing among it.  Raises ValueError for a job that cannot be read."""
    return list(_of(run.config(), home, not run.checkpoints(), origin.made_here(run.path))) if run.kind == "train" else []


def missing(run: Run, home: Home) -> list[Need]:
    """What is not here."""
    return [need for need in of(run, home) if not need.there]


def sentence(lacking: list[Need]) -> str:
    """What keeps a run from going on, and what to do, in a sentence; "" where nothing is missing."""
    if not lacking:
        return ""
    named = ", ".join(called(need) for need in lacking[:NAMED]) + (", …" if len(lacking) > NAMED else "")
    cure = lacking[0].cure
    return f"it needs {named}, which is not on this computer; {cure}" if len(lacking) == 1 else f"it needs {named}, which are not on this computer; {cure}"


def called(need: Need) -> str:
    """What it is, with its name: dataset 'my-cat'."""
    if need.what in CALLED:
        return CALLED[need.what].format(quoted=need.name)
    kind, quoted = need.what.rpartition(" ")[2], need.name
    return f"plugin of the kind {kind} {quoted!r}"


def is_path(source: str) -> bool:
    """Whether a text names a place on a disk, of this system or another, rather than a name or a Hub id."""
    absolute = PurePosixPath(source).is_absolute() or PureWindowsPath(source).is_absolute() or source.startswith(STARTS) or source in (".", "..")
    return absolute or (("/" in source or "\\" in source) and os.path.exists(os.path.expanduser(source)))


def _of(config: TrainConfig, home: Home, begins: bool, ours: bool) -> Iterator[Need]:
    """ours: it was made here.  What a stranger's job names on another computer is not looked for: that would greet it."""
    asked = lambda source: ours or not origin.is_address(source)
    for use in config.data.datasets:
        yield _dataset("data.datasets", use.name, home, use.part, asked(use.name))
    with suppress(ValueError):  # an objective that is not here is said below
        if config.concept.low and concepts.in_pairs(concepts.known(config, home.plugins)):
            yield _dataset("concept.low", config.concept.low, home, "", asked(config.concept.low))
    yield _place("base model", "model.source", config.model.source, "say where it is here: a folder, a file or a Hub id (in Results, or with import-run --base)", home, asked(config.model.source))
    for what, field, source in (
        ("training adapter", "model.training_adapter", config.model.training_adapter),
        ("context adapter", "model.context_adapter", config.model.context_adapter),
        ("speed adapter", "sample.speed_adapter", config.sample.speed_adapter),
        ("image encoder", "adapter.image_encoder", config.adapter.image_encoder),
        ("adapter to start from", "adapter.start_from", config.adapter.start_from if begins else ""),
    ):
        if source:
            yield _place(what, field, source, "copy it to that place", home, asked(source))
    kinds = [("families", config.model.family), ("adapters", config.adapter.type), ("objectives", config.loss.objective), ("optimizers", config.optimizer.type)]
    kinds += [("cloud", config.place.kind)] if config.place.kind != HERE else []
    for kind, id in kinds + [("trackers", use.name) for use in config.trackers]:
        cure = "copy its file into the folder plugins of this home if you trust who wrote it, and start Easel again"
        yield Need(f"plugin of the kind {kind}", "", id, _found(kind, id, home), cure)
    if config.keep.on and config.keep.words and not config.keep.prompts:
        yield Need("list of sentences", "keep.words", config.keep.words, config.keep.words in words.lists(home.plugins), "copy it into plugins/words of this home")


def _dataset(field: str, name: str, home: Home, part: str, asked: bool) -> Need:
    cure = "bring its pictures to the Dataset tab under that name, or ask for an export with pictures"
    try:
        found = datasets.resolve(home, name) if asked else None
        there = found is not None and (not part or not found.in_place or (found.path / part).is_dir())
    except ValueError:
        there = False
    return Need("dataset", field, parts.inside(name, part) if part and is_path(name) else name, there, cure)


def _place(what: str, field: str, source: str, cure: str, home: Home, asked: bool) -> Need:
    """A base model, or a file of weights.  What is named by its Hub id is fetched when it is wanted, and counts as there."""
    there = True
    if not asked:
        there = False
    elif is_path(source):
        there = Path(source).expanduser().exists()
    elif what == "base model":
        try:
            basemodel.local_folder(source)
        except ValueError:
            there = False
    elif what == "adapter to start from" and "/" not in source:
        there = (home.outputs / source).is_dir()
    return Need(what, field, source, there, cure)


def _found(kind: str, id: str, home: Home) -> bool:
    try:
        registry.get(kind, id, home.plugins)
    except ValueError:
        return False
    return True
