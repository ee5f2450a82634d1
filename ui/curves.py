"""A run's loss curve for the page: averaged, and thinned to what can be seen."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
Losses = tuple[tuple[int, float, float], ...]  # of a RunView: (step, loss, learning rate)
_averages: dict[int, tuple[Losses, float, list[float], float, float]] = {}  # id of the first point -> (losses, what a point keeps of those before, averages, sum and weight before the last)
MOST_AVERAGES = 16  # curves: of the runs that somebody looks at
_averaging = threading.Lock()


def smoothed(losses: Losses, share: float = 0.04) -> list[float]:
    """A running average of the losses over about `share` of the run, without the bias of its start.  It is the caller's to read, not to change.

    Of a curve that has grown only what is new is averaged: the width goes up by quarters, and the last point may have been put in another's place.
    """
    if not losses:
        return []
    width = 1.25 ** math.floor(math.log(max(1.0, len(losses) * share), 1.25))
    keep = 1 - 1 / width
    had = _averages.get(id(losses[0]))
    out, average, weight = [], 0.0, 0.0
    if had and had[1] == keep and len(had[0]) <= len(losses) and _grown(had[0], losses):
        if had[0] is losses:
            return had[2]
        out, average, weight = had[2][:-1], had[3], had[4]
    last = average, weight
    for n in range(len(out), len(losses)):
        last = average, weight
        average = keep * average + (1 - keep) * losses[n][1]
        weight = keep * weight + (1 - keep)
        out.append(average / weight)
    with _averaging:
        _averages.pop(id(losses[0]), None)
        if len(_averages) >= MOST_AVERAGES:
            del _averages[next(iter(_averages))]
        _averages[id(losses[0])] = losses, keep, out, *last
    return out


def _grown(before: Losses, now: Losses) -> bool:
    """Whether `now` begins with all points of `before` but its last."""
    return before is now or before[:-1] == now[: len(before) - 1]


def thinned(rows: Sequence[T], most: int = 400) -> Sequence[T]:
    """At most `most` rows, evenly spread, first and last kept."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]
