"""The adapter that somebody names: a file, a run or one of its checkpoints, or a LoRA on the Hub.  No torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..formats.deliver import adapter_file
from ..home import Home
from ..hub.download import lora_file
from .run import Run


def named(source: str, home: Home, token: str | None = None) -> Path:
    """The .safetensors file of an adapter.  source: see place().  Raises ValueError in plain words."""
    found = place(source, home, token)
    if found.is_dir():
        if found.is_relative_to(home.outputs):
            raise ValueError(f"the run {source} trained the whole model, so it has no adapter; extract a LoRA from it and its base model")
        raise ValueError(f"{source} is a folder; name the .safetensors file in it")
    return found


def place(source: str, home: Home, token: str | None = None, fetching: Callable[[], None] = lambda: None, pairs: bool = False) -> Path:
    """The file that is meant, or the folder of a whole model.  source: a path, RUN, RUN/STEP, owner/name or owner/name/file.safetensors.

    fetching: called before the Hub is asked.  pairs: see lora_file.  Raises ValueError in plain words.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return adapter_file(path) if (path / "MANIFEST.json").is_file() else path
    name, _, step = source.partition("/")
    if not path.is_file() and name and (home.outputs / name).is_dir():
        return _of_run(Run.open(home.outputs, name), step)
    if not path.is_file():
        if "/" not in source:
            raise ValueError(f"there is no file {source!r} and no such run; give a path, RUN, RUN/STEP or a Hub id of the form owner/name")
        fetching()
    return lora_file(source, token, pairs)


def _of_run(run: Run, step: str) -> Path:
    kept = dict(run.checkpoints())
    if step:
        if not step.isdigit() or int(step) not in kept:
            raise ValueError(f"the run {run.id} has no checkpoint {step!r}; there are: {', '.join(map(str, kept)) or 'none'}")
        return adapter_file(kept[int(step)])
    result = run.result()
    if result is None and not kept:
        raise ValueError(f"the run {run.id} has no result and no checkpoint yet")
    return result or adapter_file(kept[max(kept)])
