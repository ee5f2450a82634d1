"""Steps until it is done or asked to stop; saves where it is; goes on from there."""

import json
import os
import time
from typing import Literal

from pydantic import Field

from training.config import JobConfig
from training.runs.context import Stopped

TITLE = "Walk"


class Config(JobConfig):
    kind: Literal["walk"] = Field("walk", description="Job kind.")
    steps: int = Field(5, ge=1, description="Steps to walk.")
    pause_s: float = Field(0.01, ge=0, description="Seconds a step takes.")
    says: str = Field("", description="What it prints and warns of.")


def run(config, ctx):
    ctx.path("environ.json").write_text(json.dumps(dict(os.environ)), encoding="utf-8")
    if config.says:
        print(config.says)
        ctx.warn(config.says)
    saved = ctx.run.checkpoints()
    step = saved[-1][0] if saved else 0
    with open(ctx.path("steps.txt"), "a", encoding="utf-8") as trail:
        while step < config.steps:
            step += 1
            time.sleep(config.pause_s)
            trail.write(f"{step}\n")
            trail.flush()
            ctx.step(step, config.steps, 1 / step, 1e-4, 0.1, 1.0, 0)
            for command in ctx.commands():
                if command["kind"] == "save":
                    save(ctx, step)
                else:
                    ctx.emit("sample", step=step, index=0, prompt=command["prompt"], path="samples/x.webp", seed=1)
            if ctx.stop_requested():
                save(ctx, step)
                raise Stopped(step)
    ctx.emit("finished", path="", summary=f"walked {step} steps")


def save(ctx, step):
    ctx.path("checkpoints", f"{step:06d}", "MANIFEST.json").write_text("{}")
    ctx.emit("checkpoint", step=step, path=f"checkpoints/{step:06d}")
