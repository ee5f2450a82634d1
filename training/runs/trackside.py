"""A run shown elsewhere by a process of its own: live from its start, or afterwards, as often as one likes.

What a tracker called the run, and how far it was told, lies beside the run's folder in outputs/.tracked/<run>/: it is this home's, and
does not travel with a run that is passed on.  It is written before each portion is told, so that a crash loses a few points and doubles none;
where the tracker itself fails, its portion counts as not told.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import outside, registry
from ..files import write_atomic
from ..home import REPO, Home
from ..names import check_name
from .events import ENDINGS
from .lock import RunLock, is_held
from .run import Run
from .tracking import Told, Track, environment, flat, lacking, rows, tell, unfit

LOOK_S = 1.0
PORTION = 20  # events: what a crash loses at most
BEGIN_WAIT_S = 120.0  # a worker that has not said a word by then does not come
BEFORE_WAIT_S = 600.0  # for the process of the attempt before, which may still be sending
MAX_KEPT_BYTES = 1_000_000
MOST_GONE = 20
PROJECT = "easel"


@dataclass(frozen=True)
class Tracked:
    """What is known of one run at one tracker.  said: why it does not work, "" where it does; gone: pictures that could not be told."""

    name: str
    project: str = PROJECT
    place: str = ""
    id: str = ""
    times: int = 0  # that it was begun anew after it had been told: then it has another name there, as the curves would be drawn over each other
    where: str = ""
    mark: str = ""  # of the run's job: another run of the same folder name is another run
    said: str = ""
    done: bool = False
    t: float = 0.0
    told: Told = field(default_factory=Told)
    gone: tuple[str, ...] = ()


def folder_of(run: Path) -> Path:
    """Where a run's tracks are kept."""
    return run.parent / ".tracked" / run.name


def read(run: Path, name: str) -> Tracked | None:
    """What is kept of a run at a tracker; None where nothing is, or nothing that can be read."""
    try:
        kept = outside.read_json(folder_of(run) / f"{check_name(name)}.json", MAX_KEPT_BYTES)
        told = Told(**kept.pop("told"))
        found = Tracked(**{**kept, "told": told, "gone": tuple(kept["gone"])})
        numbers, texts = (told.cursor, told.step, told.validation, *told.samples.values(), found.times), (found.project, found.place, found.id, found.where, found.said, *found.gone)
        if not all(type(n) is int for n in numbers) or told.cursor < 0 or not all(isinstance(text, str) for text in texts):
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if found.mark == _mark(run) and found.name == name else None


def all_of(run: Path) -> list[Tracked]:
    """Every tracker that was ever told of a run."""
    folder = folder_of(run)
    names = sorted(p.stem for p in folder.glob("*.json")) if outside.is_folder(folder) else []
    return [found for name in names if (found := read(run, name))]


def settled(run: Path, name: str, project: str | None, place: str | None) -> tuple[str, str]:
    """(project, place) that a tracker is told of a run in: what is asked for; where that is None as before, else the usual."""
    kept = read(run, name)
    before = (kept.project, kept.place) if kept else (PROJECT, "")
    return (before[0] if project is None else project), (before[1] if place is None else place)


def following(run: Path, name: str) -> bool:
    """Does a process tell this tracker of the run just now?"""
    return is_held(folder_of(run) / f"{name}.lock")


def launch(run: Run, home: Home, name: str, project: str | None, place: str | None, env: Mapping[str, str], after: int = -1, again: bool = False) -> None:
    """A detached process tells a tracker of the run until it ends.  after: the attempt that it waits to be over; -1: tells what is there.

    project, place: None as before.  Raises ValueError where the tracker cannot be used, in a sentence; OSError.
    """
    if why := unfit(name, home.plugins):
        raise ValueError(why)
    project, place = settled(run.path, name, project, place)
    env = {**env, **environment(registry.get("trackers", name, home.plugins))}
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    folder = folder_of(run.path)
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(outside.open_to_append(folder / f"{check_name(name)}.log"), "ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "training.runs.trackside", str(run.path.resolve()), str(home.root.resolve()), name, project, place, str(after), str(int(again))],
            cwd=REPO, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **apart,
        )  # fmt: skip


def launch_chosen(run: Run, home: Home, env: Mapping[str, str], after: int) -> None:
    """Those that the run's own settings name; one that knows the run already goes on where it is, which may have been chosen since.

    Whatever is wrong with one is written beside the run, and keeps nothing from training.
    """
    try:
        chosen = getattr(run.config(), "trackers", ())
    except (ValueError, OSError):
        return  # the worker says so
    for use in chosen:
        try:
            known = (kept := read(run.path, use.name)) is not None and bool(kept.id)
            launch(run, home, use.name, None if known else use.project, None if known else use.place, env, after)
        except (ValueError, OSError) as error:
            logging.getLogger("easel").warning("%s is not tracked by %s: %s", run.id, use.name, error)
            _note(run.path, Tracked(use.name, use.project, use.place, mark=_mark(run.path)), str(error))


def follow(run: Run, home: Home, name: str, project: str | None = None, place: str | None = None, after: int = -1, again: bool = False) -> Tracked:
    """What is known when the run has ended, or as far as it is now where it does not run, and the tracker was told of it.

    project, place: None as before.  again: as if it had never been told, under another name.  Raises ValueError in a sentence, and whatever a tracker raises.
    """
    module = registry.get("trackers", name, home.plugins)
    project, place = settled(run.path, name, project, place)
    if why := lacking(module) or module.ready(place):
        raise ValueError(why)
    folder = folder_of(run.path)
    folder.mkdir(parents=True, exist_ok=True)
    lock = RunLock(folder / f"{check_name(name)}.lock")
    if not lock.acquire(BEFORE_WAIT_S if after >= 0 else 0.5):
        raise ValueError(f"{module.TITLE} is being told of this run already")
    try:
        _wait_for_attempt(run, after)
        kept = read(run.path, name) or Tracked(name, project, place)
        if again or not kept.id or (project, place) != (kept.project, kept.place):
            kept = Tracked(name, project, place, times=kept.times + bool(kept.id), mark=_mark(run.path))
        ours = home.root / "tracked" / name
        called, title = (f"{run.id}-{kept.times + 1}", f"{run.title} ({kept.times + 1})") if kept.times else (run.id, run.title)
        teller = module.begin(Track(called, title, kept.project, kept.place, ours, kept.id, flat(run.job()), run.created_t))
        kept = dataclasses.replace(kept, id=teller.id, where=teller.where, said="", done=False)
        gone = list(kept.gone)
        while True:
            status = run.status()  # before the events: what is said after the last look is then never missed
            events, cursor = run.events(kept.told.cursor)
            for at in range(0, len(events), PORTION):
                found, told = rows(events[at : at + PORTION], kept.told)
                before, kept = kept, dataclasses.replace(kept, told=told, t=time.time(), gone=tuple(gone))
                if not found:
                    continue
                _write(run.path, kept)
                try:
                    tell(teller, run.path, found, lambda why: gone.append(why) if len(gone) < MOST_GONE else None)
                except BaseException:
                    _write(run.path, before)
                    raise
            teller.flush()
            kept = dataclasses.replace(kept, told=dataclasses.replace(kept.told, cursor=cursor), gone=tuple(gone))
            if status != "running":
                break
            time.sleep(LOOK_S)
        teller.end(status)
        kept = dataclasses.replace(kept, done=status in ENDINGS)
        _write(run.path, kept)
        return kept
    finally:
        lock.release()


def _wait_for_attempt(run: Run, after: int) -> None:
    """Until an attempt behind that one has said a word; not for ever."""
    deadline = time.monotonic() + BEGIN_WAIT_S
    while after >= 0 and time.monotonic() < deadline:
        started = run.last("started")
        if started and int(started["attempt"]) > after:
            return
        time.sleep(0.2)


def _mark(run: Path) -> str:
    return hashlib.sha256(outside.read_plain(run / "job.yaml", 10_000_000)).hexdigest()[:16]


def _write(run: Path, kept: Tracked) -> None:
    write_atomic(folder_of(run) / f"{check_name(kept.name)}.json", json.dumps(dataclasses.asdict(kept)).encode())


def _note(run: Path, kept: Tracked, why: str) -> None:
    """Why it does not work, kept beside the run; what was told before stays known."""
    try:
        folder_of(run).mkdir(parents=True, exist_ok=True)
        known = read(run, kept.name)
        _write(run, dataclasses.replace(known if known and known.id else kept, said=why, t=time.time()))
    except (OSError, ValueError) as error:
        logging.getLogger("easel").warning("%s", error)


def main(argv: list[str]) -> int:
    """0 where it was told to the end.  Whatever goes wrong becomes one sentence beside the run, its traceback a piece of the log."""
    from ..hub.secrets import mask

    run, home, name, project, place, after, again = Run(Path(argv[0])), Home(Path(argv[1])), *argv[2:5], int(argv[5]), argv[6] == "1"
    try:
        follow(run, home, name, project, place, after, again)
    except BaseException as error:  # noqa: BLE001 a tracker's library may raise anything, and the run must not hear of it
        print(mask(traceback.format_exc()), file=sys.stderr)
        words = mask(" ".join(str(error).split()))[:500]
        _note(run.path, Tracked(name, project, place, mark=_mark(run.path)), words if isinstance(error, ValueError) and words else f"{type(error).__name__}: {words}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
