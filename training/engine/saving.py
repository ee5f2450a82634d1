"""Checkpoints of a session (loop.py) while it learns, and the way back to where the newest one stood.

What is done here all processes of a run do together, in the same order.  How a checkpoint lies on the disk is checkpoint.py's.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path

from torch import Tensor

from ..formats import basehash
from ..runs.events import RunView
from . import adapter_files, average, checkpoint, optim

DISK_RETRY_S = 30
BASE_RECORD = "base.json"  # in the run's folder: what its base model was, file by file


def due(session) -> bool:
    """Whether a checkpoint is written after the step that was just taken."""
    return session.step == session.config.steps or checkpoint.due(session.config.save, session.step, time.monotonic() - session.saved_at)


def save(session) -> None:
    """A checkpoint of this very step, on disk for good.  While the disk is full it waits, and says what to do.

    Of several processes the first writes it, and the others wait for it at the next step; what is split among them, all gather.
    """
    _write(session)
    session.restart_clock()  # no step took that long


def _write(session) -> None:
    first = session.ctx.ranks.first
    if not first and not session.held.learning:
        return
    session.check_finite()
    tensors, rest = optim.pack(session.optimizer, first)
    files = {"adapter": session.tensors(), "state": tensors}
    if session.ema or average.by_optimizer(session.config, session.ctx.home.plugins):
        with session.weights_for_use():
            files["ema"] = session.tensors()
    if not first:
        return
    header = adapter_files.headers(session.adapter, session.modules)
    state = {
        "step": session.step,
        "optimizer": rest,
        "scheduler": {k: v for k, v in session.scheduler.state_dict().items() if k != "lr_lambdas"},
        "scaler": session.scaler.state_dict(),
        "ema_steps": session.ema.optimization_step if session.ema else 0,
    }
    run_dir = session.ctx.run.path
    path = _save_when_there_is_room(session, files, state, {"adapter": header, "ema": header})
    session.ctx.emit("checkpoint", step=session.step, path=path.relative_to(run_dir).as_posix())
    if session.ending.early:  # which of them is best is known at the end
        named = tuple(session.ending.choice(session.step))
    else:
        named = session.ending.advice(step for step, _ in checkpoint.saved(run_dir)).named
    checkpoint.prune(run_dir, session.config.save.keep, lambda step: _only_for_safety(session, step), named)
    session.saved_at = time.monotonic()


def _save_when_there_is_room(session, files, state, headers) -> Path:
    ctx = session.ctx
    while True:
        try:
            return checkpoint.save(
                ctx.run.path, session.step, files, state, session.hash, session.p.plan.fingerprint, headers
            )
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or ctx.stop_requested():
                raise
            ctx.warn(f"The disk is full, so training waits and nothing is lost: {error.strerror}")
            ctx.phase("waiting for disk space")
            _wait(DISK_RETRY_S, ctx.stop_requested)


def _only_for_safety(session, step: int) -> bool:
    """Whether the clock alone asked for the checkpoint of a step, which then has no samples to judge it by."""
    every = session.config.save.every
    judged = session.config.sample.every and session.gallery.standing.at(step)
    return bool(every and judged and step % every and not session.gallery.judged(step))


def _wait(wait_s: float, stop) -> None:
    until = time.monotonic() + wait_s
    while time.monotonic() < until and not stop():
        time.sleep(0.5)


def resume(session) -> None:
    """Goes to where the newest whole checkpoint stood; to the beginning when there never was one."""
    ctx = session.ctx
    record = ctx.path(BASE_RECORD)
    found = checkpoint.newest(ctx.run.path) if ctx.ranks.first else (None, [])
    lowest = min((step for step, _ in checkpoint.saved(ctx.run.path)), default=0) if ctx.ranks.first else 0
    (path, said), session.ending.since = ctx.ranks.same((found, lowest))
    if path is None and said:
        raise ValueError(f"{said[0]}. Duplicate the run to train again from the start")
    for text in said:
        ctx.warn(text)
    if path is None:
        _put_down(session, record)
        return begin(session)
    with session.held.loading():
        files, state, manifest = checkpoint.load(path)
        _refuse_changes(session, manifest, basehash.read_record(record))
        _put_back(session, files, state)
    ctx.ranks.wait()  # all have read it
    _put_down(session, record)
    _recall(session)


def begin(session) -> None:
    """Step 0, with the adapter that the run starts from, where one is named."""
    start_from = session.config.adapter.start_from
    if start_from:
        with session.held.loading() if session.held.split else session.ctx.ranks.in_turn():
            adapter_files.start(start_from, session.adapter, session.modules, session.family.SPEC, session.ctx)
        session.ema = average.of(session.config, session.own, session.ctx.home.plugins)


def _put_back(session, files: dict[str, dict[str, Tensor]], state: dict) -> None:
    """All is as it was when this was saved."""
    if session.ema:
        session.restore(files["ema"])
        for shadow, weight in zip(session.ema.shadow_params, session.own, strict=True):
            shadow.copy_(weight.detach())
        session.ema.optimization_step = state["ema_steps"]
    session.restore(files["adapter"])
    optim.unpack(session.optimizer, files["state"], state["optimizer"])
    session.scheduler.load_state_dict({**session.scheduler.state_dict(), **state["scheduler"]})
    optim.follow(session.scheduler)  # a run that trains longer than the one it goes on from has another schedule
    session.scaler.load_state_dict(state["scaler"]) if state["scaler"] else None
    session.step = state["step"]


def _recall(session) -> None:
    """What earlier attempts measured up to here."""
    ctx = session.ctx
    view = ctx.run.view() if ctx.ranks.first else RunView()
    measures, bases = ctx.ranks.same(([row for row in view.measures if row[0] <= session.step], view.bases))
    session.ending.measured = RunView(measures=tuple((step, tuple(each), tuple(forgot)) for step, each, forgot in measures), bases=tuple(bases))


def _put_down(session, record: Path) -> None:
    if session.ctx.ranks.first:
        basehash.write_record(record, session.p.base_hashes)


def _refuse_changes(session, manifest: dict, base: dict[str, str]) -> None:
    changed = checkpoint.changes(manifest, session.hash, session.p.plan.fingerprint)
    changed += basehash.changes(base, session.p.base_hashes) if base else []  # a run that an earlier Easel began has no record
    if not changed:
        return
    if not session.ctx.run.changes_accepted():
        raise ValueError(f"{'. '.join(changed)}. Put that back, resume with the changes accepted, or duplicate the run to train from the start")
    for text in changed:
        session.ctx.warn(f"{text}; training goes on with what is there now, as you accepted")
