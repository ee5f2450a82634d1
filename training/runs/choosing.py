"""A finished run whose result is another one of its checkpoints: the file is written anew, and the run says so."""

from __future__ import annotations

import time
from pathlib import Path

from .. import registry
from ..files import write_atomic
from ..formats.adapting import stands_alone
from ..formats.deliver import needed
from ..hub.card import model_card
from ..hub.publish import export_weights, offers_of
from . import journal
from .lock import RunLock
from .run import Run

CHOSEN = "chosen among its checkpoints"  # the end of such a run's summary, which the page shows


def hindrance(run: Run) -> str:
    """Why none of its checkpoints can be made the result; "" where they can."""
    if run.status() != "finished":
        return "The run has not finished yet"
    try:
        adapter = registry.get("adapters", run.config().adapter.type, run.plugins)
    except ValueError as error:
        return str(error)
    if stands_alone(adapter):
        return "The result is a network of its own, which is made at the end of the training alone; download the checkpoint instead"
    return "" if run.result() else "Its result is gone"


def use(run: Run, step: int) -> Path:
    """The result, which is now what the run had learnt at `step`.  Raises ValueError, OSError; then the result is what it was."""
    if why := hindrance(run):
        raise ValueError(why)
    lock = RunLock(run.lock_path)
    if not lock.acquire(wait_s=0):  # a run without a worker has no writer: with its lock, we may be it
        raise ValueError("the run is still ending; try again in a moment")
    try:
        ended = run.last("finished")
        config = run.config()
        offers = needed(offers_of(run, run.plugins))
        made = [export_weights(run, step, run.path / f".chosen-{offer.file_name(offer.layout)}", offer.layout, offer.expert) for offer in offers]
        for offer, fresh in zip(offers, made, strict=True):
            fresh.replace(run.path / offer.file_name(config.name))
        name = offers[0].file_name(config.name)
        spec = registry.get("families", config.model.family, run.plugins).SPEC
        write_atomic(run.path / "README.md", model_card(run, config, spec, checkpoint=step, plugins=run.plugins).encode())
        size = (run.path / name).stat().st_size
        summary = f"step {step:,} of {config.steps:,}; {size / 1e6:.1f} MB; {CHOSEN}"
        # the run ended when it ended; what it took is not to grow by a choice
        record = {"t": ended["t"] if ended else time.time(), "kind": "finished", "path": name, "summary": summary, "step": step, "chosen_t": round(time.time(), 3)}
        journal.append(run.events_path, record, fsync=True)
    finally:
        lock.release()
    return run.path / name
