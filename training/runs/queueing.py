"""The queue: which run is next, what each waits for, and whether it is paused.

Nothing of it is a state that must be kept true: who waits, the folders say.  What people decided about all of them (their order, a pause)
lies in outputs/.queue.jsonl; what one run waits for (a time, another run) in its own control.jsonl, where it is before the queue can see
the run.  Both are only appended to, so that a restart of the app, and a second Easel, find the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import clock
from ..files import write_atomic
from ..home import Home
from . import journal, origin
from .events import LAST_T
from .lock import RunLock
from .run import Run, list_runs

MOST_BYTES = 64_000  # of the file; then it is written anew with what still holds
PAUSED_KINDS = ("train",)  # what a pause holds back; captions and pictures that somebody asks for are drawn all the same
PAUSED = "the queue is paused"
_folded: dict[Path, tuple[tuple[int, int, int], Queue]] = {}


@dataclass(frozen=True)
class Queue:
    """What people decided.  order: ids of runs, the first one first; who is not among them comes behind, by age."""

    paused: bool = False
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wait:
    """What a run waits for, besides its turn.  at_t: UTC seconds, 0 for no time; after: id of the run that must be finished, "" for none."""

    at_t: float = 0.0
    after: str = ""

    def __bool__(self) -> bool:
        return bool(self.at_t or self.after)


def read(home: Home) -> Queue:
    """The queue as it was decided last."""
    path = _path(home)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Queue()
    mark = (found.st_mtime_ns, found.st_size, found.st_ino)
    if path not in _folded or _folded[path][0] != mark:
        _folded[path] = mark, _fold(journal.read(path)[0])
    return _folded[path][1]


def ordered(runs: Iterable[Run], queue: Queue) -> list[Run]:
    """The runs in their turn.  runs: the oldest first."""
    places = {id: n for n, id in enumerate(queue.order)}
    return sorted(runs, key=lambda run: places.get(run.id, len(places)))


def waiting(home: Home, runs: Sequence[Run] | None = None) -> list[Run]:
    """The runs that wait, the next one first; one that was made elsewhere waits for nobody but its owner.  runs: all, where they were just listed."""
    found = []
    for run in reversed(list_runs(home.outputs) if runs is None else runs):
        try:
            if run.status() == "queued" and origin.made_here(run.path):
                found.append(run)
        except (ValueError, OSError):
            continue
    return ordered(found, read(home))


def pause(home: Home, paused: bool) -> None:
    """No training begins while it is paused; what runs goes on."""
    with _alone(home):
        if read(home).paused != paused:
            _put(home, {"kind": "paused", "on": paused})


def move(home: Home, id: str, place: int) -> list[str]:
    """The ids in their new order, with one of them at `place`, 1 for the next.  Raises ValueError where it does not wait."""
    with _alone(home):
        ids = [run.id for run in waiting(home)]
        if id not in ids:
            raise ValueError(f"{id!r} does not wait in the queue, so it has no place there")
        ids.remove(id)
        ids.insert(min(max(place, 1), len(ids) + 1) - 1, id)
        _put(home, {"kind": "order", "runs": ids})
        return ids


def hold(run: Run, wait: Wait) -> None:
    """It waits for that from now on, and for nothing else but its turn."""
    journal.append(run.control_path, {"t": round(time.time(), 3), "kind": "wait", "at": wait.at_t, "after": wait.after})


def wait_of(run: Run) -> Wait:
    """What a run waits for; whatever is wrong in the record counts as nothing."""
    records, _, _ = journal.read(run.control_path)
    said = next((r for r in reversed(records) if r.get("kind") == "wait"), {})
    at, after = said.get("at"), said.get("after")
    fine = isinstance(at, (int, float)) and not isinstance(at, bool) and 0 <= at <= LAST_T
    return Wait(float(at) if fine and at else 0.0, after if isinstance(after, str) else "")


def checked(home: Home, run: Run | None, at_t: float = 0.0, after: str = "", now: float | None = None) -> Wait:
    """What a run may be told to wait for; run: None before there is one.  Raises ValueError with a sentence."""
    at_t = clock.checked(at_t, time.time() if now is None else now) if at_t else 0.0
    if after:
        first = Run.open(home.outputs, after)
        if run is not None and run.id == first.id:
            raise ValueError(f"'{first.title}' cannot wait for itself; choose another run")
        if run is not None and run.id in _chain(home, first):
            raise ValueError(f"'{first.title}' waits for '{run.title}' already, so neither would ever begin")
        if (status := first.status()) == "failed":
            raise ValueError(f"'{first.title}' is failed; resume it first, or choose another run to wait for")
        if status == "stopped":
            raise ValueError(f"'{first.title}' is stopped; resume it first, or choose another run to wait for")
        if status == "interrupted":
            raise ValueError(f"'{first.title}' is interrupted; resume it first, or choose another run to wait for")
    return Wait(at_t, after)


def why_held(home: Home, run: Run, now: float | None = None, queue: Queue | None = None) -> str:
    """What keeps a run from its turn, in words; "" where it may begin as soon as the machine is free."""
    now = time.time() if now is None else now
    wait = wait_of(run)
    if wait.at_t > now:
        return f"it begins {clock.told(wait.at_t, now)}"
    if wait.after and (why := _after(home, wait.after)):
        return why
    return PAUSED if (queue or read(home)).paused and run.kind in PAUSED_KINDS else ""


def waits_in_vain(home: Home, run: Run) -> bool:
    """Does it wait for a run that is gone, or ended without finishing?  Then nothing moves until somebody decides."""
    wait = wait_of(run)
    if not wait.after:
        return False
    try:
        return Run.open(home.outputs, wait.after).status() in ("failed", "stopped", "interrupted")
    except ValueError:
        return True


def _after(home: Home, id: str) -> str:
    try:
        first = Run.open(home.outputs, id)
        status = first.status()
    except (ValueError, OSError):
        return "the run that it waits for is gone"
    if status == "finished" and first.locked():
        return f"'{first.title}' is about to end"
    if status == "finished":
        return ""
    if status in ("queued", "running"):
        return f"it begins after '{first.title}'"
    return {
        "failed": f"it was to begin after '{first.title}', which failed",
        "stopped": f"it was to begin after '{first.title}', which was stopped",
        "interrupted": f"it was to begin after '{first.title}', which was interrupted",
    }[status]


def _chain(home: Home, run: Run) -> set[str]:
    """The run, and all that it waits for, over one another."""
    found: set[str] = set()
    while run.id not in found:
        found.add(run.id)
        try:
            run = Run.open(home.outputs, wait_of(run).after)
        except ValueError:
            break
    return found


def _fold(records: Iterable[dict[str, Any]]) -> Queue:
    paused, order = False, ()
    for record in records:
        if record.get("kind") == "paused":
            paused = record.get("on") is True
        if record.get("kind") == "order" and isinstance(record.get("runs"), list):
            order = tuple(id for id in record["runs"] if isinstance(id, str))
    return Queue(paused, order)


def _path(home: Home) -> Path:
    return home.outputs / ".queue.jsonl"


def _put(home: Home, record: dict[str, Any]) -> None:
    """Called while alone."""
    path, record = _path(home), {"t": round(time.time(), 3), **record}
    if journal.size_bytes(path) > MOST_BYTES:
        now = _fold([*journal.read(path)[0], record])
        rows = ({"kind": "paused", "on": now.paused}, {"kind": "order", "runs": list(now.order)})
        try:
            write_atomic(path, b"".join(journal.line({"t": record["t"], **row}) for row in rows))
            return
        except PermissionError:
            if os.name != "nt":
                raise
            # somebody reads it, and Windows replaces no file that is read: it grows a little further
    journal.append(path, record)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    home.made()
    lock = RunLock(home.outputs / ".queue.lock")
    if not lock.acquire(5.0):
        raise ValueError("the queue is being changed by a second Easel; try again in a moment")
    try:
        yield
    finally:
        lock.release()
