"""What is done and said when the app is told to end: trainings outlive it, but nothing outlives a container."""

from __future__ import annotations

import os
from collections.abc import Mapping

from training.home import Home
from training.runs import supervisor
from training.sentences import sentences

STOP_S = 110.0  # launchers/compose.yaml gives the container 120


def in_container(environ: Mapping[str, str], pid: int) -> bool:
    """Whether everything ends with this process: in our own image, on a Space, and as the first process of any other container."""
    return pid == 1 or bool(environ.get("EASEL_CONTAINER") or environ.get("SPACE_ID"))


def last_words(home: Home, environ: Mapping[str, str] = os.environ, wait_s: float = STOP_S) -> str:
    """What a person reads last.  In a container everything that trains is told to save and stop first, which may take wait_s."""
    if not in_container(environ, os.getpid()):
        return "Easel is closed. A training that was running goes on; start Easel again to see it."
    busy = supervisor.running(home)
    if busy is None:
        return "Easel is closed."
    if not supervisor.is_elsewhere(busy):
        print(f"The container is to end: '{busy.title}' saves and stops first. Give it the time with --stop-timeout 120.", flush=True)
    told = supervisor.stop_all(home, wait_s)
    left = [title for title, status in told.items() if status == supervisor.LEFT]
    goes_on = f"{quoted(left)} {'goes' if len(left) == 1 else 'go'} on on the other machine; start Easel again and press Resume to watch it." if left else ""
    return sentences(_said({title: status for title, status in told.items() if title not in left}, wait_s), goes_on)


def _said(told: Mapping[str, str], wait_s: float) -> str:
    """What became of the runs that trained here."""
    if not told:
        return "Easel is closed."
    lost = [title for title, status in told.items() if status == "running"]
    if lost:
        return f"Easel is closed. {quoted(lost)} did not stop within {wait_s:.0f} s; Resume goes on from its last checkpoint."
    failed = [title for title, status in told.items() if status in ("failed", "interrupted")]
    if failed:
        return f"Easel is closed. {quoted(failed)} ended without saving; its page says why, and Resume goes on from its last checkpoint."
    return f"Easel is closed. {quoted(list(told))} is saved; start Easel again and press Resume to go on."


def quoted(titles: list[str]) -> str:
    """The titles in quotes, as a list."""
    return ", ".join(f"'{title}'" for title in titles)
