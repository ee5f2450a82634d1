"""What a ramp of learning rates tells: which rate to take, how sure that is, and when it cannot be told.  No torch.

The rate rises evenly in its logarithm while the adapter learns (Smith 2017).  At each step the loss is taken twice, with the adapter and of the
bare base model on the same pictures, noise and levels; what counts is the difference, in parts of the base's loss, because most of the loss's
own up and down is the same in both and falls out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import registry
from ..config import TrainConfig
from ..data import concepts
from ..formats.adapting import is_whole
from ..formats.beside import is_beside
from . import optimizing

RESULT = "rates.json"  # in the folder of the run that looked
SMOOTHED_OVER = 0.04  # of the steps, on either side
CLEAR = 4.0  # standard errors by which the loss must have fallen
RISEN = 0.2  # of what it fell: then the rate is past its best
BELOW_LOWEST = 3.0  # the suggestion is the rate of the lowest loss over this: a ramp is short, and a training stays at its rate for long


@dataclass(frozen=True)
class Point:
    """One step of the ramp.  loss, bare: with the adapter, and of the base model alone on the very same."""

    rate: float
    loss: float
    bare: float


@dataclass(frozen=True)
class Found:
    """What the ramp told.  rate: 0.0 where it told nothing; curve: (rate, share by which the loss is below the base's, smoothed: negative is better)."""

    rate: float
    lowest: float
    curve: tuple[tuple[float, float], ...]
    said: str
    open_above: bool = False  # still falling at the highest rate


def rates(low: float, high: float, steps: int) -> list[float]:
    """The rate at each step, evenly spread in its logarithm."""
    return [low * (high / low) ** (n / max(1, steps - 1)) for n in range(steps)]


def hindrance(config: TrainConfig, plugins: Path | None = None) -> str:
    """Why no rate can be looked for, in a sentence that says what to do instead; "" where one can."""
    try:
        optimizer = optimizing.of(config.optimizer, plugins)
        adapter = registry.get("adapters", config.adapter.type, plugins)
        objective = concepts.objective_of(config, plugins)
    except ValueError as error:
        return str(error)
    if optimizing.one_rate(optimizer):
        usual = getattr(optimizer, "RATE", (0.0, 1.0, 0.0, ""))[1]
        return f"{optimizer.TITLE} finds the learning rate itself, so there is nothing to look for; leave it at {usual:g}"
    if not concepts.at_once(objective):
        return f"the rate can be looked for where pictures are learnt, not for '{config.loss.objective}'; the preset's rate is the one to begin with"
    if is_whole(adapter):
        return f"{adapter.TITLE} changes the base model itself, so there is none to compare with; the preset's rate is the one to begin with"
    if is_beside(adapter):
        return f"{adapter.TITLE} learns beside the base model for thousands of steps, of which a short ramp tells nothing; the preset's rate is the one to begin with"
    return ""


def judge(points: Sequence[Point]) -> Found:
    """What a ramp tells.  points: in order, as far as it came."""
    usable = [p for p in points if math.isfinite(p.loss) and math.isfinite(p.bare)]
    if len(usable) < 20:
        return Found(0.0, 0.0, (), "it cannot be told: the loss was no number almost from the beginning; use bf16 or fp32")
    bare = sum(p.bare for p in usable) / len(usable)
    raw = [(p.loss - p.bare) / bare for p in usable]
    start = sum(raw[: len(raw) // 10]) / (len(raw) // 10)  # not 0 where an earlier adapter is gone on from
    values = [value - start for value in raw]
    wide = max(2.0, SMOOTHED_OVER * len(points))
    smooth, error = _smoothed(values, wide)
    curve = tuple(zip((p.rate for p in usable), smooth, strict=True))
    at = min(range(len(smooth)), key=smooth.__getitem__)
    fell, lowest = -smooth[at], usable[at].rate
    if fell < CLEAR * error[at] or fell < 1e-4:
        return Found(0.0, 0.0, curve, "it cannot be told: at no rate did the loss fall clearly below the base model's own; more pictures, a larger batch or more steps of the ramp make it clearer")
    stopped = len(usable) < len(points)
    rose = stopped or max(smooth[at:]) - smooth[at] > max(RISEN * fell, CLEAR / 2 * error[at])
    rate = _rounded(lowest / BELOW_LOWEST)
    if not rose:
        return Found(rate, lowest, curve, f"take {rate:g} or a little more: the loss was still falling at {_word(usable[-1].rate)}, the highest rate that was tried", True)
    said = f"take {rate:g}: the loss was lowest at {_word(lowest)}, {fell:.1%} below the base model's own, and rose beyond it; a training stays at its rate for longer than a ramp, so it is a third of that"
    return Found(rate, lowest, curve, said)


def _word(rate: float) -> str:
    """2.6e-3."""
    digits, _, power = f"{rate:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def _smoothed(values: Sequence[float], wide: float) -> tuple[list[float], list[float]]:
    """(a running average with a bell of that width, in steps; its standard error, of how much neighbours differ there: a slope is no noise)."""
    steps = range(len(values))
    apart = [(b - a) ** 2 / 2 for a, b in itertools.pairwise(values)]
    out, errors = [], []
    for n in steps:
        bell = [math.exp(-0.5 * ((m - n) / wide) ** 2) for m in steps]
        whole = sum(bell)
        out.append(sum(w * v for w, v in zip(bell, values, strict=True)) / whole)
        spread = sum(w * d for w, d in zip(bell, apart, strict=False)) / sum(bell[:-1])
        errors.append(math.sqrt(spread * sum(w * w for w in bell)) / whole)
    return out, errors


def _rounded(rate: float) -> float:
    """Two digits: no ramp tells more."""
    return float(f"{rate:.1e}")
