"""Easel from Python: what the page and the command line do, as a few typed functions.

    import easel

    easel.datasets.make("my cat", ["/pictures/cat"])
    easel.caption("my cat", "filename").wait()
    run = easel.train(easel.presets.config(dataset="my cat", trigger="zibbo"))
    for event in run.events():
        print(event)
    print(run.result)

Each takes home=, the folder with datasets and outputs; without it that is EASEL_HOME, else Easel's own.  What is wrong is a ValueError in a sentence.
Nothing of torch is imported here: a job runs in a process of its own and outlives this one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _rooms

_rooms.put_on_path()

if TYPE_CHECKING:
    from . import datasets, presets
    from .jobs import caption, estimate, generate, publish, train
    from .run import Run, RunFailed, find_runs, open_run, runs

__all__ = ["Run", "RunFailed", "caption", "datasets", "estimate", "find_runs", "generate", "open_run", "presets", "publish", "runs", "train"]
_MODULES = {"datasets": "", "presets": "", **dict.fromkeys(("caption", "estimate", "generate", "publish", "train"), "jobs"), **dict.fromkeys(("Run", "RunFailed", "find_runs", "open_run", "runs"), "run")}


def __getattr__(name: str) -> Any:
    """What is asked for, imported then: the command `easel --version` and whoever wants one function wait for no other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(f".{_MODULES[name] or name}", __name__)
    return getattr(found, name) if _MODULES[name] else found


def __dir__() -> list[str]:
    return sorted(__all__)
