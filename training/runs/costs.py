"""What single pictures cost, folded: each loss held against what others cost at that noise level, and against the base model's of the very same.

A step's own loss says little: a noisy level costs a hundred times a clean one, and some pictures are harder than others.  So the logarithm of
each loss is compared with a running mean of its level, and what is left over is kept for each picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

BANDS = 20  # of noise levels
LEVEL_USES = 60  # over about so many losses the mean of a level runs
RECENT_USES = 12  # over about so many uses a picture's own mean runs
EARLY_USES = 6  # so many are its beginning
MOST_PICTURES, MOST_PAIRS = 5_000, 4_000  # then the one that was met first goes, and the oldest
SMALLEST = 1e-12  # a loss below it counts as that


class Level(NamedTuple):
    """One band of noise levels: the running mean of ln(loss), of its distance to that mean, and how many there were."""

    band: int
    mean: float
    spread: float
    uses: int


class Cost(NamedTuple):
    """One picture.  early, recent: how far ln(loss) lay above its level's mean, over its first and its last uses; spread: of single uses."""

    id: str
    uses: int
    early: float
    recent: float
    spread: float
    paired: float  # mean of ln(loss / the base model's), of the uses that were asked of both
    pairs: int


class Costs:
    """While a view is folded: the same in a shape that grows."""

    def __init__(self, levels: Iterable[tuple], pictures: Iterable[tuple], pairs: Iterable[tuple]):
        self.levels = {row[0]: Level(*row) for row in levels}
        self.pictures = {row[0]: Cost(*row) for row in pictures}
        self.pairs: list[tuple[int, float]] = [(row[0], row[1]) for row in pairs]

    def add(self, step: int, id: str, level: float, loss: float, base: float | None) -> None:
        """One use of a picture.  level: in [0, 1]."""
        cost = math.log(max(loss, SMALLEST))
        band = min(BANDS - 1, int(level * BANDS))
        at = self.levels.get(band, Level(band, cost, 0.0, 0))
        over = cost - at.mean
        pace = 1 / min(at.uses + 1, LEVEL_USES)
        self.levels[band] = Level(band, at.mean + pace * over, at.spread + pace * (abs(over) - at.spread), at.uses + 1)
        was = self.pictures.get(id) or Cost(id, 0, 0.0, 0.0, 0.0, 0.0, 0)
        uses = was.uses + 1
        early = was.early + (over - was.early) / uses if uses <= EARLY_USES else was.early
        recent = was.recent + (over - was.recent) / min(uses, RECENT_USES)
        spread = was.spread + (abs(over - was.recent) - was.spread) / min(uses, RECENT_USES)
        paired, pairs = was.paired, was.pairs
        if base is not None:
            gained = cost - math.log(max(base, SMALLEST))
            pairs += 1
            paired += (gained - paired) / min(pairs, RECENT_USES)
            self.pairs.append((step, gained))
        self.pictures[id] = Cost(id, uses, early, recent, spread, paired, pairs)
        if len(self.pictures) > MOST_PICTURES:
            del self.pictures[next(iter(self.pictures))]

    def tuples(self) -> dict[str, tuple]:
        """As the view keeps them."""
        return {"levels": tuple(self.levels.values()), "pictures": tuple(self.pictures.values()), "pairs": tuple(self.pairs[-MOST_PAIRS:])}
