"""Small jobs, dropped into a home's plugins folder as a user would, and run by real workers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training import registry
from training.home import REPO
from training.runs import supervisor
from training.runs.run import Run, create, list_runs

JOBS = Path(__file__).parent / "jobs"


@pytest.fixture
def workshop(home):
    """The home with the small jobs in it; whatever still runs afterwards is ended."""
    (home.plugins / "jobs").mkdir(parents=True)
    for job in JOBS.glob("*.py"):
        shutil.copy(job, home.plugins / "jobs")
    yield home
    for run in list_runs(home.outputs):
        deadline = time.monotonic() + 20
        while run.locked() and time.monotonic() < deadline:
            with contextlib.suppress(ValueError):  # it is just beginning or ending
                supervisor.kill(run)
            time.sleep(0.05)
        assert not run.locked(), f"{run.title} does not end"


def make(home, kind: str = "walk", name: str = "wänder 'lust' 日本", **fields) -> Run:
    """A queued run."""
    return create(home.outputs, registry.get("jobs", kind, home.plugins).Config(name=name, **fields))


def ended(run: Run, wait_s: float = 30.0) -> str:
    """Its status once it is neither queued nor running."""
    assert until(lambda: run.status() not in ("queued", "running"), wait_s), run.log_tail()
    return run.status()


def until(true, wait_s: float = 30.0) -> bool:
    """Whether true() came to be."""
    deadline = time.monotonic() + wait_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def python(*words: str, **kwargs) -> subprocess.Popen:
    """Another process of ours, as a second app would be."""
    return subprocess.Popen([sys.executable, *map(str, words)], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)


def alive(pid: int) -> bool:
    """Does the process live?  A zombie does not."""
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
