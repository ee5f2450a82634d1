"""Which of several things people prefer, from votes between two at a time.

Bradley and Terry 1952: A is preferred to B with probability a / (a + b).  The strengths are the most likely ones, found by the
minorisation of Hunter 2004 (eq. 3); half a win and half a loss against an average opponent stand in for what was not asked yet, so that
one vote does not make anything infinitely good.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

ROUNDS = 500
CLOSE = 1e-9


@dataclass(frozen=True)
class Rank:
    """share: how often it is expected to be preferred to an average one, 0 to 1.  votes: in which it stood.  won: of those; a draw is half."""

    name: str
    share: float
    votes: int
    won: float


def ranking(votes: Iterable[tuple[str, str, float]]) -> list[Rank]:
    """All that stood in a vote, the best first.  votes: (one, other, what the first one won: 1, 0, or 0.5 for a draw)."""
    wins: dict[str, float] = Counter()  # type: ignore[assignment]
    met: Counter[tuple[str, ...]] = Counter()
    stood: Counter[str] = Counter()
    for one, other, won in votes:
        if one == other:
            continue
        wins[one] += won
        wins[other] += 1 - won
        met[tuple(sorted((one, other)))] += 1
        stood[one] += 1
        stood[other] += 1
    names = sorted(stood)
    strength = dict.fromkeys(names, 1.0)
    for _ in range(ROUNDS):
        below = {name: 1 / (strength[name] + 1) for name in names}  # one game against an average opponent, whose strength is 1
        for (one, other), games in met.items():
            share = games / (strength[one] + strength[other])
            below[one] += share
            below[other] += share
        fresh = {name: (wins[name] + 0.5) / below[name] for name in names}
        moved = max((abs(math.log(fresh[n] / strength[n])) for n in names), default=0.0)
        strength = fresh
        if moved < CLOSE:
            break
    found = [Rank(name, strength[name] / (strength[name] + 1), stood[name], wins[name]) for name in names]
    return sorted(found, key=lambda rank: (-rank.share, -rank.votes, rank.name))
