"""A job is started, and watched in the terminal until it ends."""

from __future__ import annotations

import typer

from ..home import Home


def launch(config, home: Home, detach: bool, card: str = "", furnish=lambda run: None, wait=None) -> None:
    from easel.jobs import begin

    from ..runs import supervisor

    run = begin(config, home, card, furnish=furnish, told=lambda made: print(f"{made.id}  in {made.path}", flush=True), wait=wait).folder
    watch(run, home, 0, detach, "queued" if run.status() == "queued" and not supervisor.starting(run) else "started")


def watch(run, home: Home, cursor: int, detach: bool, state: str) -> None:
    from ..runs.follow import follow

    if detach:
        print("It runs by itself now." if state == "started" else "It is queued: the app, or 'queue work', starts it when its turn has come.")
        return
    status = follow(run, home, cursor)
    if status == "finished" and (made := run.result()):
        print(made)
    raise typer.Exit({"finished": 0, "detached": 0, "stopped": 130}.get(status, 1))
