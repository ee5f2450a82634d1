"""The ramp of the learning-rate finder: a training's own session, whose rate rises from step to step; nothing of it is kept but its losses."""

from __future__ import annotations

import dataclasses
import json
import math
import time

import torch
from torch import Tensor

from .. import registry
from ..config import OptimizerPart, TrainConfig
from ..family import Cond
from ..files import write_atomic
from ..plan import optimizing, ratefinding, schedule
from ..plan.ratefinding import RESULT, Point
from ..runs.context import Context, Stopped
from . import libraries, memory, optim, saving
from .loop import Session
from .prepare import prepare

FAR = 0.5  # of the base's loss: a mean rise by that much over so many steps ends the ramp
OVER = 6


def find(asked: TrainConfig, rates: list[float], ctx: Context) -> None:
    """The curve is in the run's folder, and `finished` says what it tells.  asked: the training.  Raises Stopped, ValueError."""
    training = in_memory(asked, len(rates))
    libraries.load(training, registry.get("families", training.model.family, ctx.home.plugins).SPEC, optimizing.of(training.optimizer, ctx.home.plugins))
    session = Session(training, ctx, prepare(training, ctx))
    saving.begin(session)
    points = climb(session, rates, ctx)
    found = ratefinding.judge(points)
    kept = {"rate": found.rate, "lowest": found.lowest, "said": found.said, "open_above": found.open_above, "curve": found.curve, "points": [(p.rate, p.loss, p.bare) for p in points if math.isfinite(p.loss)]}
    write_atomic(ctx.path(RESULT), json.dumps(kept).encode())
    ctx.emit("finished", path="", summary=f"{found.said[:1].upper()}{found.said[1:]}.")


def in_memory(training: TrainConfig, steps: int) -> TrainConfig:
    """The training as the ramp needs it: the same pictures, adapter, optimizer and loss; no schedule but the ramp, no samples, nothing measured on the side."""
    usual = OptimizerPart()
    flat = {name: getattr(usual, name) for name in ("schedule_end", "warmup_steps", *schedule.ONLY, *schedule.ANEW)}
    return training.model_copy(
        update={
            "steps": steps, "gpus": 1, "trackers": (),
            "optimizer": training.optimizer.model_copy(update={**flat, "schedule": "constant"}),
            "loss": training.loss.model_copy(update={"ema_decay": 0.0}),
            "sample": training.sample.model_copy(update={"every": 0, "prompts": ()}),
            "save": training.save.model_copy(update={"validate_every": type(training.save)().validate_every}),
        }
    )  # fmt: skip


def climb(session: Session, rates: list[float], ctx: Context) -> list[Point]:
    """What each step of the ramp gave; it ends early where the loss has risen far."""
    points: list[Point] = []
    base = session.config.optimizer.learning_rate
    session.scheduler = torch.optim.lr_scheduler.LambdaLR(session.optimizer, lambda step: rates[min(step, len(rates) - 1)] / base)
    optim.follow(session.scheduler)
    for number, rate in enumerate(rates, 1):
        if ctx.stop_requested():
            raise Stopped(session.step)
        began = time.monotonic()
        loss, bare, grad, pictures = _step(session)
        points.append(Point(rate, loss, bare))
        took_s = max(time.monotonic() - began, 1e-9)
        if math.isfinite(loss):
            ctx.step(number, len(rates), loss, rate, grad, pictures / took_s, memory.in_use_bytes(session.config.device))
        ctx.phase("trying learning rates", number, len(rates), "steps")
        if not math.isfinite(loss) or _far(points):
            break
    return points


def _far(points: list[Point]) -> bool:
    last = points[-OVER:]
    return len(points) > 20 and sum(p.loss - p.bare for p in last) > FAR * sum(p.bare for p in last)


def _step(session: Session) -> tuple[float, float, float, int]:
    """(loss of the pictures, that of the base model alone on the same, length of the gradient, pictures) of one optimizer step; a loss that is no number moves nothing."""
    c, ctx = session.config, session.ctx
    total, learnt, bare = (torch.zeros((), device=c.device) for _ in range(3))
    for batch in session.feed.shared(session.step, ctx.ranks):
        with memory.autocast(c):
            batch.base = session._said_by_base(batch)
            losses = session.objective.loss(session.family, session.m, batch, session.p.schedule, c.loss) * batch.weights
        loss = losses.mean() * batch.weight
        session.scaler.scale(loss).backward()
        total += loss.detach()
        learnt += _of_pictures(losses.detach(), batch)
        with session.switch.base(), memory.autocast(c):
            bare += _of_pictures(session.objective.loss(session.family, session.m, _without_learning(session, batch), session.p.schedule, c.loss) * batch.weights, batch)
    whole = 1 + c.keep.share * c.keep.on
    if not math.isfinite(float(total)):
        return math.nan, float(bare) * whole, math.nan, 0
    session.scaler.unscale_(session.optimizer)
    grad = torch.nn.utils.clip_grad_norm_(session.weights, c.optimizer.clip_grad or math.inf)
    session.scaler.step(session.optimizer)
    session.scaler.update()
    session.scheduler.step()
    session.optimizer.zero_grad(set_to_none=True)
    count = len(session.feed.learnt(session.step))
    session.step += 1
    return float(learnt) * whole, float(bare) * whole, float(grad), count


def _of_pictures(losses: Tensor, batch) -> Tensor:
    """What a micro-batch adds to the step's loss, without what is there to hold the base."""
    return losses.index_fill(0, torch.tensor(batch.keeps, dtype=torch.long, device=losses.device), 0.0).mean() * batch.weight


def _without_learning(session: Session, batch):
    """The batch as the base model alone would be told it: words of encoders that learn are read as they were.  Called while the adapter is off."""
    texts = session.p.texts
    if not texts.alive:
        return batch
    words = Cond.of(texts.rows(batch.captions)).to(session.config.device)
    return dataclasses.replace(batch, cond=Cond(batch.cond.tensors | words.tensors))
