"""Needs no GPU, and a token: like publishing."""

import os
import time
from typing import Literal

from pydantic import Field

from training.config import JobConfig

TITLE = "Beside"
USES_GPU = False
NEEDS_TOKEN = True


class Config(JobConfig):
    kind: Literal["beside"] = Field("beside", description="Job kind.")
    pause_s: float = Field(0.0, ge=0, description="Seconds it takes.")


def run(config, ctx):
    time.sleep(config.pause_s)
    token = ctx.secrets["hf_token"]
    print("the token is", token.reveal(), "and shown as", token)
    ctx.warn(f"a library says: wrong token {token.reveal()}")
    assert "HF_TOKEN" not in os.environ
    ctx.emit("finished", path="", summary=f"{len(token.reveal())} characters")
