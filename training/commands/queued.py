"""The command line's queue: python -m training queue list | move | pause | go-on | wait | work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..home import Home, find_home

if TYPE_CHECKING:
    from ..runs.queueing import Wait
    from ..runs.run import Run

app = typer.Typer(no_args_is_help=True, help="What waits: its order, a pause, times, and who goes after whom.")
LOOK_S = 1.0

HomeOption = Annotated[Path | None, typer.Option("--home", help="Folder with outputs, datasets and plugins; EASEL_HOME, else Easel's own folder.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run that waits, as 'queue list' shows it.")]


def wait_of(home: Home, at: str, after: str, run: Run | None = None) -> Wait:
    """What --at and --after come to.  Raises ValueError."""
    from .. import clock
    from ..runs import queueing

    now = time.time()
    return queueing.checked(home, run, clock.read(at, now) if at else 0.0, after, now)


@app.command(name="list")
def list_(home: HomeOption = None):
    """List what waits, the next one first, and what each waits for."""
    from ..runs import queueing, supervisor

    place = _home(home)
    queue, waiting = queueing.read(place), queueing.waiting(place)
    if queue.paused:
        print("The queue is paused: no training begins before 'queue go-on'.")
    for number, run in enumerate(waiting, 1):
        ahead = supervisor.in_the_way(run, place)
        why = queueing.why_held(place, run, queue=queue) or (f"'{ahead.title}' has the machine" if ahead else "it begins when its turn has come")
        print(f"{number:>3}  {run.kind:<9} {run.id}  {why}")
    if not waiting:
        print("Nothing waits.")


@app.command()
def move(run: RunArgument, place: Annotated[int, typer.Argument(min=1, metavar="PLACE", help="1 for the next one.")], home: HomeOption = None):
    """Put a run at another place in the queue."""
    from ..runs import queueing

    there = _home(home)
    ids = queueing.move(there, run, place)
    print(f"{run} is number {ids.index(run) + 1} of {len(ids)}")


@app.command()
def pause(home: HomeOption = None):
    """Let no training begin until 'queue go-on'; what runs goes on."""
    from ..runs import queueing

    queueing.pause(_home(home), True)
    print("The queue is paused. What runs goes on.")


@app.command(name="go-on")
def go_on(home: HomeOption = None):
    """End the pause."""
    from ..runs import queueing

    queueing.pause(_home(home), False)
    print("The queue goes on.")


@app.command()
def wait(
    run: RunArgument,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="Begin no sooner: 22:30 (the next one), or 2026-11-30T22:30, in this computer's time.")] = "",
    after: Annotated[str, typer.Option("--after", metavar="RUN", help="Begin only when that run is finished.")] = "",
    home: HomeOption = None,
):
    """Let a run wait for a time or for another run; without either, only for its turn."""
    from ..runs import queueing
    from ..runs.run import Run

    place = _home(home)
    chosen = Run.open(place.outputs, run)
    if chosen.status() != "queued":
        raise ValueError(f"'{chosen.title}' is {chosen.status()}; only what waits in the queue can wait for something")
    queueing.hold(chosen, wait_of(place, at, after, chosen))
    print(f"{run}: {queueing.why_held(place, chosen) or 'it begins when its turn has come'}")


@app.command()
def work(home: HomeOption = None):
    """Start what waits, one after the other, without the page, until nothing waits any more.  Ctrl-C ends this; what runs goes on."""
    from ..runs import queueing, supervisor

    place, said = _home(home), ""
    try:
        while waiting := queueing.waiting(place):
            for id in supervisor.tick(place):
                print(f"{id} begins", flush=True)
            if all(queueing.waits_in_vain(place, run) for run in waiting):
                print("Nothing that waits can begin: " + "; ".join(f"{run.id}, {queueing.why_held(place, run)}" for run in waiting))
                raise typer.Exit(1)
            now = next((why for run in queueing.waiting(place) if (why := queueing.why_held(place, run))), "")
            if now and now != said:
                print(f"waiting: {now}", flush=True)
            said = now
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        print("Left; what runs goes on, what waits begins with the app or with 'queue work'.")
        raise typer.Exit(130) from None
    print("Nothing waits.")


def _home(home: Path | None) -> Home:
    return find_home(home).made()
