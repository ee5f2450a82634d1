"""Ends badly, in the way that it is told to."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Literal

from pydantic import Field

from training.config import JobConfig

TITLE = "Trouble"


class Hinted(Exception):
    hint = "Turn it off and on again."


class Config(JobConfig):
    kind: Literal["trouble"] = Field("trouble", description="Job kind.")
    how: str = Field(description="What goes wrong.")


def run(config, ctx):
    ctx.phase("heading for trouble")
    globals()[f"_{config.how}"](ctx)


def _value(ctx):
    raise ValueError("the picture 'a.png' is broken; remove it")


def _bug(ctx):
    raise RuntimeError("shapes do not match\nand more lines with hf_abcdefghijklmnopqrstuvwxyz")


def _hinted(ctx):
    raise Hinted("The moon is in the wrong house.")


def _library(ctx):
    import no_such_library  # noqa: F401


def _quits(ctx):
    sys.exit("a library gave up")


def _forgets(ctx):
    return None


def _segfault(ctx):
    ctypes.string_at(0)


def _abort(ctx):
    os.abort()


def _bus(ctx):
    os.kill(os.getpid(), signal.SIGBUS)


def _orphan(ctx):
    """A child that inherits every handle outlives the worker, as a data loader's would."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    ctx.path("child.txt").write_text(str(child))
    os._exit(9)


def _family(ctx):
    """Has a child and a grandchild whose parent is gone, and takes no notice of Stop."""
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL).pid)"
    gone = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ctx.path("child.txt").write_text(f"{child.pid} {gone.stdout.strip()}")
    while True:
        time.sleep(0.1)
