"""Pictures that do not teach stand far apart from the others; where none does, none is named."""

from __future__ import annotations

import math
from random import Random

from training.plan.teaching import FEWEST_USES, odd
from training.runs.events import RunView, fold


def view(harder: dict[int, float], uses: int = 20, pictures: int = 12, seed: int = 1, weights=()) -> RunView:
    """Pictures whose losses scatter by a third at each use; harder: {picture: ln of how much more it costs}."""
    rng, seen = Random(seed), {}
    for n in range(pictures):
        for _ in range(uses):
            level = rng.randrange(100)
            seen.setdefault(f"d/{n}.png", []).append([level, math.exp(level / 40 + rng.gauss(0, 0.3) + harder.get(n, 0.0))])
    rows = [(id, row) for id, rows in seen.items() for row in rows]
    rng.shuffle(rows)
    events = [{"t": 1.0, "kind": "pictures", "step": step, "seen": {id: [row]}} for step, (id, row) in enumerate(rows, 1)]
    return fold(RunView(), [*events, *({"t": 2.0, "kind": "weight", "step": 1, "picture": id, "sha256": "", "weight": weight} for id, weight in weights)])


def test_the_hardest_and_the_easiest_are_named_first():
    found = odd(view({3: 1.2, 7: -1.2}))
    assert [(one.id, one.hard) for one in found[:1] + found[-1:]] == [("d/3.png", True), ("d/7.png", False)]
    assert 2 < found[0].share < 6 and 0.1 < found[-1].share < 0.5


def test_what_scatters_is_not_named():
    assert sum(bool(odd(view({}, seed=seed))) for seed in range(40)) <= 1


def test_few_pictures_few_uses_and_those_that_were_weighed_already_are_not_named():
    assert odd(view({3: 1.5}, uses=FEWEST_USES - 1)) == odd(view({3: 1.5}, pictures=5)) == ()
    assert odd(view({3: 1.5}, weights=[("d/3.png", 0.0)])) == ()
    assert odd(RunView()) == ()
