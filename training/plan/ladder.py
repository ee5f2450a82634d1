"""Where memory ran out: the next milder settings, one rung at a time, in the order in which *Make it fit* tries them.  No torch.

Rungs that a run takes by itself leave it the same run: the same pictures, noise and words at every step, and sums that differ by rounding at
most.  What is less exact is taken only where the person allows it, and what learns something else (smaller pictures) never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..config import TrainConfig
from . import fit
from .devices import Device
from .fit import Change

# how the names of phases begin, by what is in memory then
ENCODING = ("loading the image encoder", "encoding pictures", "reading control pictures", "drawing what")
READING = ("loading text encoder", "reading captions")
DRAWING, RESULT = "drawing samples", ("checking the result", "writing the result")
PREPARING = ("loading libraries", "checking the base", "checking the pictures", "reading masks", "looking at", "fetching", "downloading")  # nothing that settings change is in memory yet
SMALLEST_SAMPLE_PX = 256  # below it nothing is to be seen of what a large model learns
MOST_TIMES = 256  # of optimizer.accumulation


def next_rung(config: TrainConfig, phase: str, on: Device, saved: bool) -> Change | None:
    """The mildest change that needs less memory in a phase; None where none is left.

    saved: whether there is a checkpoint, whose optimizer state no other optimizer could read.
    """
    for step in _steps(config, phase, on, saved):
        for change in step(config):
            if all(on.can(path, value) for path, value in change.settings.items()):
                return change
    return None


def _steps(config: TrainConfig, phase: str, on: Device, saved: bool) -> list[Callable[[TrainConfig], Iterator[Change]]]:
    inexact = config.survive.less_exact
    half = [fit.half(on.best_dtype)] * inexact
    if phase.startswith(ENCODING):
        return [*half, fit.tile]
    if phase.startswith(READING):
        return [*half, *(_only("model.quantise_text", fit.quantise(how)) for how in ("int8", "nf4") if inexact)]
    if phase.startswith(PREPARING):
        return []
    if phase.startswith(DRAWING):
        return [fit.tile, _smaller_samples, _no_samples]  # what is learnt needs no change for them
    quantise = [_only("model.quantise", fit.quantise(how)) for how in ("int8", "nf4") if inexact]
    if phase.startswith(RESULT):
        return [*half, fit.tile, *quantise, _in_ram]
    return [*half, _keep_apart, fit.copied_in_time, _smaller_batch, fit.recompute, *[fit.small_optimizer] * (inexact and not saved), *quantise, fit.offload]


def _only(path: str, step: Callable[[TrainConfig], Iterator[Change]]) -> Callable[[TrainConfig], Iterator[Change]]:
    return lambda config: (change for change in step(config) if path in change.settings)


def _smaller_samples(config: TrainConfig) -> Iterator[Change]:
    width, height = config.sample.width // 2, config.sample.height // 2
    if min(width, height) >= SMALLEST_SAMPLE_PX:
        yield Change({"sample.width": width, "sample.height": height}, "Samples are half as wide and half as high: what is learnt stays the same")


def _no_samples(config: TrainConfig) -> Iterator[Change]:
    if config.sample.every:
        yield Change({"sample.every": 0}, "Samples are left out from here on: what is learnt stays the same")


def _in_ram(config: TrainConfig) -> Iterator[Change]:
    """As fit.offload, which asks for recomputed blocks: nothing is recomputed any more when the result is made."""
    recomputed = {"loss.gradient_checkpointing": "all"}
    for change in fit.offload(fit.all_with(config, recomputed)):
        yield Change(recomputed | change.settings, change.said)


def _keep_apart(config: TrainConfig) -> Iterator[Change]:
    if config.keep.on and config.keep.together:
        yield Change({"keep.together": False}, "The passes that hold the base model are made one after the other with those that learn: what is learnt stays the same")


def _smaller_batch(config: TrainConfig) -> Iterator[Change]:
    """The batch cut by its smallest factor, so that as many pictures make a step as before."""
    batch, times = config.data.batch_size, config.optimizer.accumulation
    factor = next((n for n in range(2, batch + 1) if batch % n == 0), 0)
    if factor and times * factor <= MOST_TIMES:
        batch, times = batch // factor, times * factor
        yield Change({"data.batch_size": batch, "optimizer.accumulation": times}, f"Batches of {batch}, added up {times} at a time: what is learnt stays the same")
