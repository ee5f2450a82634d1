"""Pictures that do not teach: those whose loss stays high, and those that were learnt at once, against their noise levels and the other pictures.

Each loss is held against what others cost at that level (runs/costs.py), so that neither a noisy level nor a late epoch makes a picture look hard.
Named are only pictures that stand far apart from the rest, of enough pictures that were each seen often enough.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..runs.costs import RECENT_USES, Cost
from ..runs.events import RunView

FEWEST_PICTURES, FEWEST_USES = 6, 10
APART = 4.0  # deviations from the middle of all pictures: of the pictures' own scatter, and of what a mean of so few uses may be off by
AT_LEAST = 0.15  # ln(loss) above or below the middle, whatever the deviations: 16 percent
SCATTER = 0.06  # of pictures that are all alike, the least that counts as one deviation
MOST = 6  # of a kind that are named


@dataclass(frozen=True)
class Odd:
    """One picture that stands apart.  hard: its loss stays high; else it was low from early on.  share: its loss against that of a usual picture at the same levels, 1.3 is 30 percent more."""

    id: str
    hard: bool
    share: float
    uses: int


def odd(view: RunView) -> tuple[Odd, ...]:
    """The pictures that do not teach, the hardest first, then the easiest; () where the numbers bear none.  Those that were set aside or weighed down are not named again."""
    weights = {id: weight for _, id, weight in view.weights}
    costs = [cost for cost in (Cost(*row) for row in view.pictures) if cost.uses >= FEWEST_USES]
    if len(costs) < FEWEST_PICTURES or len(costs) < len(view.pictures) / 2:
        return ()
    middle, deviation = spread_of([cost.recent for cost in costs])
    apart = [(cost, cost.recent - middle) for cost in costs if weights.get(cost.id, 1.0) >= 1]
    far = [(cost, over) for cost, over in apart if abs(over) >= max(AT_LEAST, APART * deviation, APART * doubt(cost))]
    hard = sorted((row for row in far if row[1] > 0), key=lambda row: -row[1])[:MOST]
    easy = sorted((row for row in far if row[1] < 0), key=lambda row: row[1])[:MOST]
    return tuple(Odd(cost.id, over > 0, math.exp(over), cost.uses) for cost, over in [*hard, *easy])


def doubt(cost: Cost) -> float:
    """By how much the mean of a picture's last uses may be off: its standard error, from the mean distance."""
    return 1.25 * cost.spread / math.sqrt(min(cost.uses, RECENT_USES))


def spread_of(values: Sequence[float]) -> tuple[float, float]:
    """(the middle, one robust deviation) of some values, by medians, which a few outliers do not move."""
    middle = statistics.median(values)
    return middle, max(SCATTER, 1.4826 * statistics.median(abs(value - middle) for value in values))
