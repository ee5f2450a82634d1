"""Which checkpoint is best: from what was measured on the way to a sentence, with how sure it is.  Pure: numbers in, advice out.

Two curves are read, both from fixed noise at fixed levels (engine/measuring.py).  What is learnt: the loss on pictures that were held out, against the
base model's own on the same picture and level, as a logarithm, so that a level at which nobody can know much does not drown the others.  What is
lost: how far the base model's own answers to plain sentences have moved.  Training pictures are in neither: whoever copies them looks best there.

From where nothing more is learnt on, the last checkpoint is advised before more is lost.

Every difference is taken in pairs, of the same picture at the same level, and held against its own standard error; a look is averaged with its
neighbours, because a few optimizer steps more or less move a curve by more than what is looked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_LOOKS, FEWEST_PICTURES = 6, 2
NEAR = 2  # looks on either side that one is averaged with
SURE, LIKELY = 2.6, 1.6  # standard errors beyond which a difference is called clear, or likely
LITTLE = 0.04  # of all that was learnt: what is less is no reason to train on
RISE = 0.10  # of what had been lost: less is not called forgetting
GIVEN_BACK = 0.5  # of what was learnt: less of a rise of the error on held-out pictures is not called forgetting
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
    """What was measured, ready to be compared.  learnt: [look][picture and level], smoothed, 0 is the base model alone; lost: [look][sentence], smoothed, in shares.

    jitter, lost_jitter: standard error of a smoothed mean by the steps alone: what one more or less would have changed.
    """

    steps: tuple[int, ...]
    learnt: tuple[tuple[float, ...], ...]
    lost: tuple[tuple[float, ...], ...]
    jitter: float
    lost_jitter: float

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

    @property
    def costs(self) -> list[float]:
        """Of each look how wrong it is where it should have learnt, and how far it has moved where it should not have: squared errors both, in shares of the same."""
        return [a + b for a, b in zip(self.shares, self.losts, strict=True)]

    def worse(self, at: int, than: int) -> float:
        """By how many standard errors less is learnt at a look than at another."""
        return _z([(self.learnt[at], self.learnt[than], 1.0, self.jitter)])

    def more_lost(self, at: int, than: int) -> float:
        """By how many standard errors more is lost."""
        return _z([(self.lost[at], self.lost[than], 1.0, self.lost_jitter)])

    def dearer(self, at: int, than: int) -> float:
        """By how many standard errors its cost is higher."""
        share = (self.shares[at] + self.shares[than]) / 2  # of logarithms to shares
        return _z([(self.learnt[at], self.learnt[than], share, self.jitter), (self.lost[at], self.lost[than], 1.0, self.lost_jitter)])


def curves(measures: Sequence[tuple[int, Sequence[float], Sequence[float]]], bases: Sequence[float]) -> Curves | None:
    """The curves of a run; None where the base model was not asked, and so nothing has a zero."""
    usable = [m for m in measures if len(m[1]) == len(bases) and m[0] > 0]
    if not usable or not bases or min(bases) <= 0:
        return None
    level = _mean(bases)
    learnt, jitter = _smoothed([[math.log(max(x, NOTHING) / base) for x, base in zip(each, bases, strict=True)] for _, each, _ in usable])
    lost, lost_jitter = _smoothed([[x / level for x in forgot] for *_, forgot in usable])
    return Curves(tuple(step for step, *_ in usable), learnt, lost, jitter, lost_jitter)


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
    looks = len(found.steps)
    return f"It was measured only {looks} times: too few to tell which checkpoint is best. Compare the samples."


def _read(found: Curves, checkpoints: Sequence[int]) -> Advice:
    """The advice where there is enough to read."""
    steps, means, last = found.steps, found.means, len(found.steps) - 1
    lowest, least = min(range(len(steps)), key=lambda at: means[at]), _least(found)
    learnt = next(at for at in range(lowest + 1) if means[at] - means[lowest] <= -LITTLE * means[lowest] or found.worse(at, lowest) < 1)
    over = last >= 3 and all(_past(found, at, learnt, least) for at in range(last - 2, last + 1))
    if _from_zero(found, last) > SURE:
        best, alike, sure = _best(found, checkpoints, steps[least])
        said = "On pictures that it never saw it is now worse than the base model alone: the learning rate is too high, or it trained far too long."
        return Advice("worse", best, (said, *_told(best, alike, sure)), sure=sure, over=over)
    if -_from_zero(found, lowest) < LIKELY:
        return Advice("flat", checkpoints[-1] if checkpoints else 0, ("Nothing was learnt yet that can be told from chance: on held-out pictures it is about as good as the base model alone.",))
    forgets = _forgets(found, learnt)
    if forgets is None and found.worse(2 * last // 3, last) > LIKELY:
        if found.dearer(last, least) > LIKELY:
            best, alike, sure = _best(found, checkpoints, steps[least])
            said = f"It still learns a little, but after step {steps[least]:,} the base model loses more than that."
            return Advice("knee", best, (said, *_told(best, alike, sure)), 0, steps[least], sure, over)
        best, alike, sure = _best(found, checkpoints, steps[last])
        return Advice("falling", best, (f"It was still learning at step {steps[last]:,}, and hardly more is lost by it: train longer.", *_told(best, alike, sure)), sure=sure)
    best, alike, sure = _latest(found, checkpoints, learnt, forgets)
    said = (_ends(steps[learnt], steps[forgets] if forgets is not None else 0), *_told(best, alike, sure))
    if forgets is None and found.worse(last, lowest) > LIKELY:
        said += (f"On pictures that it never saw the error rises again after step {steps[lowest]:,}; that alone seldom shows in what it draws.",)
    return Advice("knee", best, said, steps[learnt], steps[forgets] if forgets is not None else 0, sure, over)


def _ends(learnt: int, forgets: int) -> str:
    """From which step on nothing more is learnt, and what that costs.  forgets: 0 for never."""
    if forgets == learnt:
        return f"It learns no more after step {learnt:,} and starts to forget."
    if forgets:
        return f"It learns no more after step {learnt:,}, and starts to forget after {forgets:,}."
    return f"It learns no more after step {learnt:,}, and nothing that can be told from chance is lost by going on so far."


def _forgets(found: Curves, since: int) -> int | None:
    """The last look before more is lost than at `since`, or half of what was learnt is given back, for good; None where neither happens."""
    at = last = len(found.steps) - 1
    while at > since and _gone(found, at, since, LIKELY):
        at -= 1
    return at if at < last else None


def _past(found: Curves, at: int, learnt: int, least: int) -> bool:
    """Is it clear that something was lost since nothing more is learnt, or since the look of the least cost more than was learnt by it?"""
    more_than_learnt = found.lost[at] and found.losts[at] > (1 + RISE) * found.losts[least] and found.more_lost(at, least) > SURE and found.dearer(at, least) > SURE
    return bool(more_than_learnt) or at > learnt and _gone(found, at, learnt, SURE)


def _gone(found: Curves, at: int, since: int, sure: float) -> bool:
    """Is it clear by so many standard errors that something was lost since a look?

    Where the base model cannot be asked, the held-out pictures decide alone, and any rise counts.  Beside it a rise says little: in runs whose base was held, pictures went
    on to become better while the error on held-out ones rose by a third (docs/advice.md).
    """
    means, lost = found.means, found.losts
    lowest = min(range(since, at + 1), key=lambda look: means[look])
    given_back = GIVEN_BACK if found.lost[at] else 0.0
    worse = means[at] - means[lowest] > -given_back * means[lowest] and found.worse(at, lowest) > sure
    return worse or bool(found.lost[at]) and lost[at] > (1 + RISE) * lost[since] and found.more_lost(at, since) > sure


def _latest(found: Curves, checkpoints: Sequence[int], learnt: int, forgets: int | None) -> tuple[int, list[int], str]:
    """(the checkpoint to take, those that cannot be told from it, how sure it is that the last one has lost more).

    All is learnt from `learnt` on, and nothing lost until `forgets`: among those it is the last one, as fine things go on to be learnt that no error on so few pictures shows.
    """
    if not checkpoints:
        return 0, [], "unsure"
    near = min(checkpoints, key=lambda step: abs(step - found.steps[learnt]))
    until = found.steps[forgets] if forgets is not None else checkpoints[-1]
    alike = [step for step in checkpoints if near <= step <= until] or [near]
    at, last = _nearest(found.steps, alike[-1]), _nearest(found.steps, checkpoints[-1])
    lost = found.more_lost(last, at) if found.lost[last] else 0.0
    return alike[-1], alike, _sureness(max(lost, found.worse(last, at)) if forgets is not None and alike[-1] != checkpoints[-1] else 0.0)


def _least(found: Curves) -> int:
    return min(range(len(found.steps)), key=lambda at: found.costs[at])


def _best(found: Curves, checkpoints: Sequence[int], aim: int) -> tuple[int, list[int], str]:
    """(the checkpoint to take, those around it that cannot be told from the one of the least cost, how sure it is that it is better than the last one).

    Of those that cannot be told apart it is the one nearest to `aim`, where all is learnt that is learnt: the least cost alone would by chance often
    take one that has not learnt enough yet.  Each is judged by the look that is nearest.  0 where there is no checkpoint.
    """
    if not checkpoints:
        return 0, [], "unsure"
    costs = found.costs
    at = [_nearest(found.steps, step) for step in checkpoints]
    best = min(range(len(checkpoints)), key=lambda n: (costs[at[n]], n))
    same = [found.dearer(look, at[best]) < LIKELY for look in at]
    first = max((n + 1 for n in range(best) if not same[n]), default=0)
    last = min((n - 1 for n in range(best + 1, len(at)) if not same[n]), default=len(at) - 1)
    taken = min(range(first, last + 1), key=lambda n: abs(checkpoints[n] - aim))
    return checkpoints[taken], list(checkpoints[first : last + 1]), _sureness(found.dearer(at[-1], at[taken]))


def _nearest(steps: Sequence[int], step: int) -> int:
    """The look that is nearest to a step."""
    return min(range(len(steps)), key=lambda n: abs(steps[n] - step))


def _told(best: int, alike: Sequence[int], sure: str) -> tuple[str, ...]:
    """What to take, and how far that can be known."""
    if not best:
        return ()
    if len(alike) > 1:
        first, last = alike[0], alike[-1]
        return (f"Take step {best:,}. From {first:,} to {last:,} the differences are smaller than what can be told from so few pictures: let the samples decide among those.",)
    return (f"Take step {best:,}. By these numbers the last one has clearly lost more." if sure == "clear" else f"Take step {best:,}.",)


def _from_zero(found: Curves, at: int) -> float:
    """By how many standard errors it is worse than the base model alone."""
    return _z([(found.learnt[at], (0.0,) * len(found.learnt[at]), 1.0, found.jitter / math.sqrt(2))])


def _sureness(z: float) -> str:
    return "clear" if z > SURE else "likely" if z > LIKELY else "unsure"


def _z(parts: Sequence[tuple[Sequence[float], Sequence[float], float, float]]) -> float:
    """By how many of its standard errors the first of two lies above the second, in pairs, summed over parts: (first, second, weight, jitter)."""
    apart = variance = 0.0
    for first, second, weight, jitter in parts:
        pairs = [a - b for a, b in zip(first, second, strict=True)]
        if not pairs:
            continue
        mean, count = _mean(pairs), len(pairs)
        spread = sum((x - mean) ** 2 for x in pairs) / max(1, count - 1)
        apart += weight * mean
        variance += weight**2 * (spread / count + 2 * jitter**2)
    return apart / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, apart) if apart else 0.0


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _smoothed(rows: list[list[float]]) -> tuple[tuple[tuple[float, ...], ...], float]:
    """(each look averaged with its neighbours, the nearer the more; the standard error that is left of a mean).

    Of independent errors of variance v the average with weights 1, 2, 3, 2, 1 ninths keeps 19/81 v, and 46/81 v is what it takes away.
    """
    made, taken = [], []
    for at, row in enumerate(rows):
        near = [(NEAR + 1 - abs(n - at), rows[n]) for n in range(max(0, at - NEAR), min(len(rows), at + NEAR + 1))]
        whole = sum(weight for weight, _ in near)
        made.append(tuple(sum(weight * other[i] for weight, other in near) / whole for i in range(len(row))))
        taken.append(_mean(row) - _mean(made[-1]))
    inner = taken[NEAR:-NEAR]
    return tuple(made), math.sqrt(19 / 46 * _mean([x * x for x in inner])) if inner else 0.0
