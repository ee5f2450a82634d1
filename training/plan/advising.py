"""Which checkpoint is best: from what was measured on the way to a sentence, with how sure it is.  Pure: numbers in, advice out.

Two curves are read, both from fixed noise at fixed levels (engine/measuring.py).  What is learnt: the loss on pictures that were held out, against the
base model's own on the same picture and level, as a logarithm, so that a level at which nobody can know much does not drown the others.  What is
lost: how far the base model's own answers to plain sentences have moved.  Training pictures are in neither: whoever copies them looks best there.

Every difference is taken in pairs, of the same picture at the same level, and held against its own standard error; a look is averaged with its
neighbours, because one optimizer step more or less moves a curve by more than an hour of learning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_LOOKS, FEWEST_PICTURES = 5, 2
SURE, LIKELY = 2.6, 1.6  # standard errors beyond which a difference is called clear, or likely
LITTLE = 0.04  # of all that was learnt: what is less is no reason to train on
RISE = 0.15  # of what had been lost: less is not called forgetting
LOST_COUNTS = 1.0  # how much of what is lost counts beside what is learnt, both as shares of the base model's own loss on the held-out pictures
NOTHING = 1e-12


@dataclass(frozen=True)
class Advice:
    """verdict: none (nothing was measured), few (too little to say), flat (noise is larger than the differences), falling (still learning at the end),
    knee (learns no more, or forgets), worse (worse than the base model alone).

    step: the checkpoint to take, 0 where there is none.  learnt: the step from which on nothing more is learnt; forgets: from which on more and more is
    lost; 0 for none.  sure: "clear", "likely" or "unsure".  said: whole sentences, the one to show first.  over: whether going on can only make it worse.
    """

    verdict: str
    step: int
    said: tuple[str, ...]
    learnt: int = 0
    forgets: int = 0
    sure: str = "unsure"
    over: bool = False

    @property
    def named(self) -> tuple[int, ...]:
        """Steps that the advice speaks of: their checkpoints are kept."""
        return tuple(dict.fromkeys(step for step in (self.step, self.learnt, self.forgets) if step))


@dataclass(frozen=True)
class Curves:
    """What was measured, ready to be compared.  learnt: [look][picture and level], smoothed, 0 is the base model alone; lost: [look][sentence], smoothed."""

    steps: tuple[int, ...]
    learnt: tuple[tuple[float, ...], ...]
    lost: tuple[tuple[float, ...], ...]
    cost: tuple[float, ...]  # of each look: what is not learnt and what is lost

    @property
    def means(self) -> list[float]:
        return [_mean(row) for row in self.learnt]

    @property
    def shares(self) -> list[float]:
        """The error on held-out pictures at each look, as a share of the base model's own."""
        return [math.exp(mean) for mean in self.means]

    @property
    def losts(self) -> list[float]:
        """How far the base model's answers have moved at each look, as a share of the same."""
        return [_mean(row) for row in self.lost]


def curves(measures: Sequence[tuple[int, Sequence[float], Sequence[float]]], bases: Sequence[float]) -> Curves | None:
    """The curves of a run; None where the base model was not asked, and so nothing has a zero."""
    usable = [m for m in measures if len(m[1]) == len(bases) and m[0] > 0]
    if not usable or not bases or min(bases) <= 0:
        return None
    level = _mean(bases)
    learnt = _smoothed([[math.log(max(x, NOTHING) / base) for x, base in zip(each, bases, strict=True)] for _, each, _ in usable])
    lost = _smoothed([[x / level for x in forgot] for *_, forgot in usable])
    cost = tuple(_mean(a) + LOST_COUNTS * (_mean(b) if b else 0.0) for a, b in zip(learnt, lost, strict=True))
    return Curves(tuple(step for step, *_ in usable), tuple(map(tuple, learnt)), tuple(map(tuple, lost)), cost)


def advise(measures: Sequence[tuple[int, Sequence[float], Sequence[float]]], bases: Sequence[float], checkpoints: Sequence[int], per_picture: int) -> Advice:
    """The advice for a run as far as it has come.  measures, bases: RunView's; checkpoints: their steps, rising; per_picture: numbers of one held-out picture."""
    last = checkpoints[-1] if checkpoints else 0
    if not measures:
        return Advice("none", last, ("No pictures were held out, so nothing says which checkpoint is best. Compare the samples; the last one is the usual choice, an earlier one where they begin to look alike.",))
    found = curves(measures, bases)
    pictures = len(measures[-1][1]) // per_picture
    if found is None or len(found.steps) < FEWEST_LOOKS or pictures < FEWEST_PICTURES:
        return Advice("few", last, (_too_few(found, pictures),))
    return _read(found, checkpoints)


def _too_few(found: Curves | None, pictures: int) -> str:
    if found is None:
        return "The base model cannot be asked beside this kind of training, so it cannot be told what is learnt and what is lost. Compare the samples."
    if pictures < FEWEST_PICTURES:
        return "Only 1 picture was held out: too few to tell learning from chance. Compare the samples; 2 or more held-out pictures would say more."
    return f"It was measured {len(found.steps)} times so far: too few to tell which checkpoint is best."


def _read(found: Curves, checkpoints: Sequence[int]) -> Advice:
    steps, means, last = found.steps, found.means, len(found.steps) - 1
    lowest = min(range(len(steps)), key=lambda at: means[at])
    gain, gain_z = -means[lowest], _z(_zero(found), found.learnt[lowest])
    best = _best(found, checkpoints)
    if _z(found.learnt[last], _zero(found)) > SURE:
        return Advice("worse", best, ("On pictures that it never saw it is now worse than the base model alone: the learning rate is too high, or it trained far too long.", *_take(best)), sure="clear", over=True)
    if gain_z < LIKELY:
        return Advice("flat", best, ("Nothing that can be told from chance was learnt yet: on held-out pictures it is as good as the base model alone.",))
    learnt = next(at for at in range(lowest + 1) if means[at] - means[lowest] <= LITTLE * gain or _z(found.learnt[at], found.learnt[lowest]) < 1)
    forgets = _forgets(found, learnt)
    worse = next((at for at in range(lowest + 1, last + 1) if _stays(found.learnt, at, lowest)), None)
    if learnt >= last - len(steps) // 8 and forgets is None:
        return Advice("falling", best, (f"It was still learning at step {steps[last]:,}, and the base model has lost little more: train longer.", *_take(best)), sure=_sureness(gain_z))
    said = [f"It learns no more after step {steps[learnt]:,}"]
    return Advice("knee", best, tuple(said), steps[learnt], steps[forgets] if forgets is not None else steps[worse] if worse is not None else 0)


def _stays(rows, at, lowest) -> bool:
    return all(_z(rows[later], rows[lowest]) > LIKELY for later in range(at, len(rows)))


def _forgets(found: Curves, since: int) -> int | None:
    """The last look before more is lost than at `since`, for good; None where no more is."""
    before = _mean(found.lost[since]) if found.lost[since] else 0.0
    for at in range(since + 1, len(found.steps)):
        if found.lost[at] and all(_mean(found.lost[later]) > (1 + RISE) * before and _z(found.lost[later], found.lost[since]) > LIKELY for later in range(at, len(found.steps))):
            return at - 1
    return None


def _best(found: Curves, checkpoints: Sequence[int]) -> int:
    """The checkpoint of the least cost, each judged by the look that is nearest; the earlier of two that are alike."""
    at = {step: min(range(len(found.steps)), key=lambda n, s=step: abs(found.steps[n] - s)) for step in checkpoints}
    return min(checkpoints, key=lambda step: (found.cost[at[step]], step)) if checkpoints else 0


def _take(step: int) -> tuple[str, ...]:
    return (f"Take step {step:,}.",) if step else ()


def _zero(found: Curves) -> tuple[float, ...]:
    return (0.0,) * len(found.learnt[0])


def _sureness(z: float) -> str:
    return "clear" if z > SURE else "likely" if z > LIKELY else "unsure"


def _z(higher: Sequence[float], lower: Sequence[float]) -> float:
    """By how many of its standard errors the first lies above the second, in pairs."""
    apart = [a - b for a, b in zip(higher, lower, strict=True)]
    mean, count = _mean(apart), len(apart)
    spread = sum((x - mean) ** 2 for x in apart) / max(1, count - 1)
    return mean / math.sqrt(spread / count) if spread > 0 else math.copysign(math.inf, mean) if mean else 0.0


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _smoothed(rows: list[list[float]]) -> list[list[float]]:
    """Each look averaged with its neighbours, it itself twice."""
    made = []
    for at, row in enumerate(rows):
        near = [(2.0, row), *((1.0, rows[n]) for n in (at - 1, at + 1) if 0 <= n < len(rows))]
        whole = sum(weight for weight, _ in near)
        made.append([sum(weight * other[i] for weight, other in near) / whole for i in range(len(row))])
    return made
