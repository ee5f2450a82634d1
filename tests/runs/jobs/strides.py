"""A small job: a step every 30 ms from where it stopped, until it is stopped."""

from __future__ import annotations

import time

from training.config import JobConfig, TrackerUse
from training.runs.context import Stopped

TITLE = "Strides"
USES_GPU = False


class Config(JobConfig):
    kind: str = "strides"
    trackers: tuple[TrackerUse, ...] = ()


def run(config, ctx):
    step = max(ctx.run.view().step - 5, 0)  # as from a checkpoint a little before
    while not ctx.stop_requested():
        step += 1
        ctx.emit("step", step=step, of=10_000, loss=1 / step, lr=1e-4, grad=0.1, images_per_s=1.0, memory_bytes=1)
        time.sleep(0.03)
    raise Stopped(step)
