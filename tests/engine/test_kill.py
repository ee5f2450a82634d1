"""kill -9 at any moment: what is saved is whole, and the resumed run ends to the bit as if nothing had happened.

Real workers, forked from a process that has imported torch already, so that twenty of them do not take twenty imports.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest

from .conftest import state_files

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

JOB = dict(
    steps=10, save__every=1, save__keep=3, sample__every=5, loss__ema_decay=0.9, adapter__dropout=0.1, optimizer__schedule="cosine",
    data__flip=True, data__held_out=1, save__validate_every=5,
)  # fmt: skip


def begin(run, home) -> int:
    """The pid of a worker for `run`."""
    import peft  # noqa: F401 heavy imports happen once, here

    import training.engine.loop  # noqa: F401

    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        log = os.open(run.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.__stdout__, sys.__stderr__ = os.fdopen(1, "w"), os.fdopen(2, "w")
        from training.runs import worker

        os._exit(worker.main([str(run.path), str(home.root), "0"]))
    finally:
        os._exit(99)


def test_twenty_kills_at_random_moments_change_nothing(lab):
    whole = lab.make(**JOB)
    started = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(begin(whole, lab.home), 0)[1]) == 0
    length_s = time.monotonic() - started
    dice = random.Random(7)
    kills, resumed_from = 0, set()
    runs = []
    while kills < 20:
        run = lab.make(**JOB)
        runs.append(run)
        while run.status() != "finished":
            pid = begin(run, lab.home)
            until = time.monotonic() + dice.uniform(0.02, 0.9) * length_s
            while time.monotonic() < until and os.waitpid(pid, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
            if run.status() == "interrupted":
                kills += 1
                resumed_from.add(run.checkpoints()[-1][0] if run.checkpoints() else 0)
            assert run.status() in ("interrupted", "queued", "finished")
        assert not list(run.path.glob("checkpoints/.bad-*"))
    assert len(resumed_from) >= 3, "the kills fell too close together to prove anything"
    for run in runs:
        assert state_files(run, 10) == state_files(whole, 10)
        assert run.result().read_bytes() == whole.result().read_bytes()
        for n in (0, 5, 10):
            name = f"samples/{n:06d}_0.webp"
            assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
