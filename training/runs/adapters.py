"""The adapter that somebody names: a file, a run or one of its checkpoints, or a LoRA on the Hub.  No torch."""

from __future__ import annotations

from pathlib import Path

from ..formats.deliver import adapter_file
from ..home import Home
from ..hub.download import lora_file
from .run import Run


def named(source: str, home: Home, token: str | None = None) -> Path:
    """The .safetensors file of an adapter.  source: a path, RUN, RUN/STEP, owner/name or owner/name/file.safetensors.

    Raises ValueError in plain words.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = adapter_file(path) if (path / "MANIFEST.json").is_file() else None
        if found is None:
            raise ValueError(f"{source} is a folder; name the .safetensors file in it")
        return found
    name, _, step = source.partition("/")
    if not path.is_file() and name and (home.outputs / name).is_dir():
        return _of_run(Run.open(home.outputs, name), step)
    return lora_file(source, token)


def _of_run(run: Run, step: str) -> Path:
    kept = dict(run.checkpoints())
    if step:
        if not step.isdigit() or int(step) not in kept:
            raise ValueError(f"the run {run.id} has no checkpoint {step!r}; there are: {', '.join(map(str, kept)) or 'none'}")
        return adapter_file(kept[int(step)])
    result = run.result()
    if result is None and not kept:
        raise ValueError(f"the run {run.id} has no result and no checkpoint yet")
    found = result or adapter_file(kept[max(kept)])
    if found.is_dir():
        raise ValueError(f"the run {run.id} trained the whole model, so it has no adapter; extract a LoRA from it and its base model")
    return found
