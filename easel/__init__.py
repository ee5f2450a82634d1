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

import sys
from pathlib import Path

_APP = Path(__file__).resolve().parent / "_app"  # where an installed Easel keeps the rooms that a checkout has beside this folder
if _APP.is_dir() and str(_APP) not in sys.path:
    sys.path.append(str(_APP))

from . import datasets, presets
from .jobs import caption, estimate, generate, train
from .run import Run, RunFailed, open_run, runs

__all__ = ["Run", "RunFailed", "caption", "datasets", "estimate", "generate", "open_run", "presets", "runs", "train"]
