"""Is a training going well?  One answer, from what was measured, and what to change; silence where the numbers bear none.

A step's own loss tells nothing: its noise level was drawn at random.  Compared is like with like: the loss of a picture with the base model's of the
very same picture, grain and level (engine/ledger.py), and held-out pictures with themselves, at fixed levels and grain (`validation`).  Medians and
bounds that ask nothing of how the numbers are spread; a false alarm costs more trust than a missing one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..runs.events import RunView

FEW, WINDOW = 8, 24  # pairs: with fewer nothing is said, and the last so many are what holds now
WORSE = 0.05  # ln(loss / the base model's) beyond which, all doubt taken off, it is worse than without the adapter
STILL, STILL_BEST = 0.01, 0.02  # better than the base model by less, in the middle and for the best fifth of the pictures: nothing is learnt
STILL_SHARE, STILL_STEPS, STILL_PAIRS = 0.3, 100, 12  # of the steps, and so many of them and of the pairs, before that is said
LEARNT = 0.01  # better by so much, all doubt taken off: it learns
LOST = 0.10  # more of what the base model knew lost than at the lowest held-out loss: less is no learning by heart that one would see
RISEN, RISES = 0.02, 3  # held-out loss above its lowest, and the looks in a row that say so
WOBBLES = 4.0  # times the scatter of the held-out loss that a rise has to be, whatever RISEN says
MOST_LOOKS = 400  # of validation, the newest


@dataclass(frozen=True)
class Facts:
    """What of a run's settings and pictures an answer goes on.  bare: share of its pictures that are learnt without a word; rates: the learning rates that make sense for its optimizer."""

    learning_rate: float
    steps: int
    bare: float = 0.0
    pictures: int = 0
    warmup: int = 0
    chosen_layers: bool = False
    finds_rate: bool = False  # the optimizer finds the learning rate itself


@dataclass(frozen=True)
class Going:
    """An answer.  state: "" where nothing can be said, early, fine, diverging, still, memorising, wordless.

    says: what was measured, a sentence; todo: what to do about it.  act: what a button says that opens the next run so, change: {setting: value} of it.
    """

    state: str = ""
    says: str = ""
    todo: str = ""
    act: str = ""
    change: dict[str, Any] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether something is to be changed."""
        return self.state in ("diverging", "still", "memorising", "wordless")

    @property
    def text(self) -> str:
        """All of it in one line."""
        return " ".join(filter(None, (self.says, self.todo)))


def going(view: RunView, facts: Facts) -> Going:
    """The answer for a run as it is now.  Looks at no more than the newest pairs and validations, however long the run is."""
    now = [gained for _, gained in view.pairs[-WINDOW:]]
    for answer in (_diverging(view, facts, now), _memorising(view, now), _wordless(view, facts), _still(view, facts, now), _fine(view, now)):
        if answer:
            return answer
    if view.step and (view.pairs or view.pictures):
        return Going("early", "Too early to say how it goes.", "")
    return Going()


def bounds(values: Sequence[float]) -> tuple[float, float, float]:
    """(lowest, middle, highest) that the median may be, with about 99 % certainty, whatever the values' spread is like."""
    ordered = sorted(values)
    cut = max(0, math.floor(len(ordered) / 2 - 1.288 * math.sqrt(len(ordered))))  # of a binomial count, half of 2.576 deviations
    return ordered[cut], statistics.median(ordered), ordered[-1 - cut]


def _diverging(view: RunView, facts: Facts, now: list[float]) -> Going | None:
    if len(now) < FEW:
        return None
    low, middle, _ = bounds(now)
    if low <= WORSE or view.step <= facts.warmup:
        return None
    times = math.exp(middle)
    says = (
        f"It is coming apart: it predicts its own pictures {_percent(times - 1)} worse than the base model does without it."
        if times < 2
        else f"It is coming apart: it predicts its own pictures {times:.1f} times worse than the base model does without it."
    )
    if facts.finds_rate:
        return Going("diverging", says, "A smaller rank or another optimizer helps more than more steps.")
    if times > 1.5:
        return Going("diverging", says, "Train with a tenth of the learning rate instead.", "Open with a tenth of the learning rate", {"optimizer.learning_rate": _rounded(facts.learning_rate / 10)})
    return Going("diverging", says, "Train with half the learning rate instead.", "Open with half the learning rate", {"optimizer.learning_rate": _rounded(facts.learning_rate / 2)})


def _memorising(view: RunView, now: list[float]) -> Going | None:
    looks = view.validations[-MOST_LOOKS:]
    if len(looks) < RISES + 2 or len(now) < FEW:
        return None
    losses = [loss for _, loss in looks]
    best = min(range(len(losses)), key=losses.__getitem__)
    if len(losses) - 1 - best < RISES or losses[best] <= 0:
        return None
    wobble = statistics.median(abs(a - 2 * b + c) for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)) / (0.6745 * math.sqrt(6)) / losses[best]
    rise = min(losses[-RISES:]) / losses[best] - 1
    step = looks[best][0]
    before = [gained for at, gained in view.pairs if at <= step][-WINDOW:]
    since = [gained for at, gained in view.pairs if at > step][-WINDOW:]
    if rise <= max(RISEN, WOBBLES * wobble) or len(since) < FEW // 2 or statistics.median(since) > (statistics.median(before) if before else 0.0):
        return None
    if not _loses(view, step):
        return None
    return Going(
        "memorising",
        f"It learns its pictures by heart: those that it never sees were predicted best at step {step:,}, and {_percent(rise)} worse or more since, while its own still get better.",
        f"Take a checkpoint near step {step:,}; next time train fewer steps, or on more pictures.",
        f"Open with {step:,} steps", {"steps": step},
    )  # fmt: skip


def _loses(view: RunView, since: int) -> bool:
    """Has more of what the base model knew been lost since a step?  True where that was not measured.

    A rise on held-out pictures alone blames no run: where the base is held, what is drawn goes on to become better all the same (docs/advice.md).
    """
    lost = [(step, sum(forgot) / len(forgot)) for step, _, forgot in view.measures if forgot]
    if not lost:
        return True
    then = min(lost, key=lambda look: abs(look[0] - since))[1]
    return statistics.median(value for _, value in lost[-RISES:]) > (1 + LOST) * then


def _wordless(view: RunView, facts: Facts) -> Going | None:
    if not view.step or not facts.pictures or facts.bare < 1:
        return None
    return Going(
        "wordless", "It learns without a word: no picture has a caption, and there is no trigger word, so what is learnt comes with every prompt and cannot be asked for.",
        "Write captions or type a trigger word, and train again.",
    )  # fmt: skip


def _still(view: RunView, facts: Facts, now: list[float]) -> Going | None:
    if len(now) < STILL_PAIRS or view.step < max(STILL_STEPS, STILL_SHARE * view.of) or view.step < 2 * facts.warmup:
        return None
    low, middle, high = bounds(now)
    best = sorted(now)[len(now) // 5]  # the fifth that gained most
    if min(low, best) < -STILL_BEST or abs(middle) > STILL or high > STILL_BEST:
        return None
    says = f"It hardly learns: after {view.step:,} of {view.of:,} steps it predicts its pictures {_percent(max(0.0, 1 - math.exp(middle)))} better than the base model does without it."
    if facts.chosen_layers:
        return Going("still", says, "Only some layers learn; let all of them.", "Open with all layers", {"adapter.include": (), "adapter.exclude": ()})
    if facts.finds_rate:
        return Going("still", says, "Train more layers, a higher rank, or more steps.")
    return Going("still", says, "A higher learning rate is what helps most.", "Open with ten times the learning rate", {"optimizer.learning_rate": _rounded(facts.learning_rate * 10)})


def _fine(view: RunView, now: list[float]) -> Going | None:
    if len(now) < FEW:
        return None
    _, middle, high = bounds(now)
    if high > -LEARNT:
        return None
    losses = [loss for _, loss in view.validations[-MOST_LOOKS:]]
    better = _percent(1 - math.exp(middle))
    if len(losses) > 2 and losses[-1] <= min(losses):
        return Going("fine", f"It learns: it predicts its pictures {better} better than the base model does without it; those that it never sees are predicted better than ever, too.")
    return Going("fine", f"It learns: it predicts its pictures {better} better than the base model does without it.")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
