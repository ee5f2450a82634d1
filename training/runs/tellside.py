"""The process that waits for the end of a run and says it to a phone or a chat: it outlives the page, the app and the worker.

    python -m training.runs.tellside RUN_PATH HOME AFTER

It is started with the worker where an address is kept, and for runs that go on already when one is given.  What fails here is written down
once, in outputs/.told/<run>.json, and no training hears of it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import outside, registry
from ..files import write_atomic
from ..home import REPO, Home
from . import telling
from .lock import RunLock, is_held
from .run import Run, list_runs

LOOK_S = 1.0
BEGIN_WAIT_S = 120.0  # a worker that has not said a word by then does not come
BEFORE_WAIT_S = 300.0  # for the process of the attempt before, which may still be sending
SETTLE_S = 5.0  # in which one that the system killed for want of memory goes on by itself
SHORT_S = 60.0  # a job that is no training is told of only where it took longer
PAUSES_S = (0.0, 5.0, 60.0)  # before each try
MAX_KEPT_BYTES = 64_000


@dataclass(frozen=True)
class Told:
    """What became of the last message of a run.  why: it was not sent, "" where it was."""

    attempt: int
    t: float
    why: str


def folder(home: Home) -> Path:
    """What became of messages, one file a run."""
    return home.outputs / ".told"


def launch(run: Run, home: Home, env: Mapping[str, str], after: int) -> None:
    """A detached process waits for the end of the attempt behind `after`; nothing where there is nobody to tell.  Nothing is raised: no training may suffer."""
    try:
        if telling.load(home) is None or _passing(run):
            return
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        folder(home).mkdir(parents=True, exist_ok=True)
        subprocess.Popen(
            [sys.executable, "-m", "training.runs.tellside", str(run.path.resolve()), str(home.root.resolve()), str(after)],
            cwd=REPO, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **apart,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        logging.getLogger("easel").warning("the end of %s will not be told: %s", run.id, error)


def launch_all(home: Home, env: Mapping[str, str]) -> None:
    """The same for every run that goes on already, where no such process waits."""
    for run in list_runs(home.outputs):
        started = run.last("started") if run.locked() else None
        if started and not is_held(_lock(home, run)):
            launch(run, home, env, int(started["attempt"]) - 1)


def last_trouble(home: Home, since_t: float = 0.0) -> str:
    """Why the newest message was not sent; "" where it was, or none was."""
    newest: Told | None = None
    found = folder(home)
    for path in found.glob("*.json") if outside.is_folder(found) else []:
        told = _read(path)
        if told and told.t >= since_t and (newest is None or told.t > newest.t):
            newest = told
    return newest.why if newest else ""


def wait_and_tell(run: Run, home: Home, after: int, pauses_s: tuple[float, ...] = PAUSES_S, settle_s: float = SETTLE_S) -> Told | None:
    """What became of the message when the attempt behind `after` is over; None where there was nothing to say, or nobody to say it to."""
    deadline = time.monotonic() + BEGIN_WAIT_S
    while (attempt := _attempt(run)) <= after:
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)
    while (status := run.status()) == "running":
        time.sleep(LOOK_S)
    if status == "interrupted":
        ended, deadline = _attempt(run), time.monotonic() + settle_s
        while time.monotonic() < deadline:
            if run.status() != status or _attempt(run) != ended:  # it goes on by itself, and the process beside that attempt tells of it
                return None
            time.sleep(0.1)
    address, view = telling.load(home), run.view()
    if address is None or status not in telling.TOLD or (run.kind != "train" and view.last_t - view.first_t < SHORT_S):
        return None
    message, why = telling.of_run(run, status), ""
    for pause_s in pauses_s:
        time.sleep(pause_s)
        try:
            telling.send(address, message)
            why = ""
            break
        except ValueError as error:
            why = str(error)
    told = Told(attempt, time.time(), why)
    write_atomic(folder(home) / f"{run.id}.json", json.dumps(asdict(told)).encode())
    return told


def _passing(run: Run) -> bool:
    """Is it a job that makes room for others, which nobody waits for?"""
    return bool(getattr(registry.get("jobs", run.kind, run.plugins), "YIELDS", False))


def _attempt(run: Run) -> int:
    started = run.last("started")
    return int(started["attempt"]) if started else 0


def _lock(home: Home, run: Run) -> Path:
    return folder(home) / f"{run.id}.lock"


def _read(path: Path) -> Told | None:
    try:
        kept = Told(**outside.read_json(path, MAX_KEPT_BYTES))
    except (OSError, ValueError, TypeError):
        return None
    return kept if isinstance(kept.why, str) and isinstance(kept.t, (int, float)) else None


def main(argv: list[str]) -> int:
    """0 where it was told, or there was nothing to tell."""
    run, home, after = Run(Path(argv[0])), Home(Path(argv[1])), int(argv[2])
    os.environ.pop("HF_TOKEN", None)
    folder(home).mkdir(parents=True, exist_ok=True)
    lock = RunLock(_lock(home, run))
    if not lock.acquire(BEFORE_WAIT_S):
        return 1
    try:
        told = wait_and_tell(run, home, after)
    except (ValueError, OSError):  # its folder is gone, or the disk
        return 1
    finally:
        lock.release()
    return 1 if told and told.why else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
