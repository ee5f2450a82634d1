"""Wants a graphics card, and says which one it sees."""

import os
import time
from pathlib import Path
from typing import Literal

from pydantic import Field

from training.config import JobConfig

TITLE = "Carded"


class Config(JobConfig):
    kind: Literal["carded"] = Field("carded", description="Job kind.")
    device: str = Field("cuda", description="Where it runs.")


def run(config, ctx):
    ctx.warn(f"sees {os.environ.get('CUDA_VISIBLE_DEVICES')}")
    while not ctx.stop_requested() and not Path(ctx.run.path / "end").exists():
        time.sleep(0.05)
    ctx.emit("finished", path="", summary="ended")
