"""Two processes do it together: the first prepares until it is asked to stop, and to the second happens what it is told."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field

from training.config import JobConfig, OptimizerPart
from training.runs.context import Stopped

TITLE = "Paired"
USES_GPU = False
HIDDEN = "hf_abcdefghijklmnopqrstuvwxyz"


class Config(JobConfig):
    kind: Literal["paired"] = Field("paired", description="Job kind.")
    how: str = Field(description="What happens to the second one.")
    device: str = Field("cpu", description="Where it runs.")
    gpus: int = Field(2, description="Processes.")
    shard: str = Field("off", description="Whether the model is split among them.")
    rdzv: str = Field("", description="HOST:PORT of the first of two computers, where there are two.")
    optimizer: OptimizerPart = Field(OptimizerPart(accumulation=4), description="What a step is made of.")


def run(config, ctx):
    if not ctx.ranks.launched:
        from training.engine import launching

        return launching.launch(config, ctx, config.gpus, launching.Nodes(2 if config.rdzv else 1, 0, config.rdzv))
    if ctx.ranks.first:
        ctx.phase("encoding")
        if config.how == "backend":
            ctx.ranks.wait()
        while not ctx.stop_requested():
            time.sleep(0.05)
        raise Stopped(0)
    while ctx.run.view().phase != "encoding":
        time.sleep(0.05)
    globals()[f"_{config.how}"](ctx)


def _value(ctx):
    raise ValueError(f"the picture 'a.png' is broken; {HIDDEN}")


def _backend(ctx):
    import torch

    ctx.ranks._sum(torch.zeros(2, dtype=torch.int16))  # which gloo cannot add


def _waits(ctx):
    while not ctx.stop_requested():
        time.sleep(0.05)
    raise Stopped(0)
