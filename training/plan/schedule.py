"""How the learning rate goes over a run, as a share of its highest.  No torch: the engine trains by it, the page tells from it.

done, of: steps since the warm-up, and how many there are.  Constant, linear, cosine, cosine with restarts and polynomial are what
diffusers' schedules of these names give, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..config import OptimizerPart


def share(config: OptimizerPart, step: int, steps: int) -> float:
    """The learning rate at a step (from 0) of `steps`, over its highest, in [0, 1].

    With again_from, it is that of a run of so many steps up to there, and from there on it begins anew, without a warm-up.
    """
    if config.again_from and step >= config.again_from:
        return _anew(config, step - config.again_from, max(1, steps - config.again_from))
    steps = min(steps, config.again_from or steps)
    if step < config.warmup_steps:
        return step / config.warmup_steps
    of = max(1, steps - config.warmup_steps)
    done = min(step - config.warmup_steps, of)
    if config.schedule == "constant":
        return 1.0
    return config.schedule_end + (1 - config.schedule_end) * SHAPES[config.schedule](config, done, of)


def _anew(config: OptimizerPart, done: int, of: int) -> float:
    if config.again_schedule == "constant":
        return config.again_share
    lowest = min(config.schedule_end, config.again_share)
    return lowest + (config.again_share - lowest) * _cosine(config, min(done, of), of)


def _linear(config: OptimizerPart, done: int, of: int) -> float:
    return (of - done) / of


def _cosine(config: OptimizerPart, done: int, of: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * (done / of)))


def _cosine_restarts(config: OptimizerPart, done: int, of: int) -> float:
    return 0.0 if done >= of else 0.5 * (1 + math.cos(math.pi * (config.schedule_cycles * (done / of) % 1.0)))


def _polynomial(config: OptimizerPart, done: int, of: int) -> float:
    return (1 - done / of) ** config.schedule_power


def _wsd(config: OptimizerPart, done: int, of: int) -> float:
    """Warm-up, stable, decay; the fall is 1 - sqrt, the best of those that Hägele et al. 2024 tried (arXiv 2405.18392)."""
    falling = (done / of - (1 - config.schedule_decay)) / config.schedule_decay
    return 1 - math.sqrt(min(max(falling, 0.0), 1.0))


def _rex(config: OptimizerPart, done: int, of: int) -> float:
    """Reflected exponential: Chen et al. 2021, "REX: Revisiting budgeted training with an improved schedule"."""
    left = 1 - done / of
    return left / (0.5 + 0.5 * left)


SHAPES: dict[str, Callable[[OptimizerPart, int, int], float]] = {
    "linear": _linear, "cosine": _cosine, "cosine_restarts": _cosine_restarts, "polynomial": _polynomial, "wsd": _wsd, "rex": _rex,
}  # fmt: skip
# which schedule each of these settings is for
ONLY = {"schedule_cycles": "cosine_restarts", "schedule_power": "polynomial", "schedule_decay": "wsd"}
# the settings of a learning rate that begins anew
ANEW = ("again_from", "again_share", "again_schedule")
