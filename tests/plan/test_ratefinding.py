"""What a ramp of rates tells, on ramps whose truth is known; and when it must say that it cannot tell."""

import math
import random

import pytest

from tests.ui.story import config
from training.plan import ratefinding
from training.plan.ratefinding import Point, judge, rates

RAMP = rates(1e-6, 1e-1, 150)


def ramp(lowest: float, depth: float, noise: float, seed: int = 0, shared: float = 0.3) -> list[Point]:
    """A loss that falls by `depth` up to the rate `lowest` and rises beyond it.  shared: up and down that is the same with and without the adapter."""
    chance = random.Random(seed)
    points = []
    for rate in RAMP:
        base = 0.2 * math.exp(shared * chance.gauss(0, 1))
        at = math.log10(rate / lowest)
        change = -depth * math.exp(-(at**2)) if at < 0 else -depth + depth * 2 * at**2
        points.append(Point(rate, base * (1 + change + chance.gauss(0, noise)), base))
    return points


@pytest.mark.parametrize("lowest", [3e-4, 3e-3, 3e-2])
@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_rate_through_noise_that_is_the_same_in_both(lowest, seed):
    found = judge(ramp(lowest, 0.06, 0.01, seed))
    assert lowest / 6 < found.rate < lowest / 1.5 and f"take {found.rate:g}" in found.said, "within a factor of two of a third of the lowest"
    assert len(found.curve) == len(RAMP) and (lowest == 3e-2 or not found.open_above), "so near the end it may say that it could be more"


@pytest.mark.parametrize("seed", range(6))
def test_it_says_when_it_cannot_tell(seed):
    found = judge(ramp(3e-3, 0.0, 0.05, seed))
    assert found.rate == 0.0 and found.said.startswith("it cannot be told: at no rate")


def test_a_loss_that_still_falls_at_the_end_is_said_and_one_that_is_no_number_is_not_taken():
    falling = [Point(rate, 0.2 * (1 - 0.02 * n / 150), 0.2) for n, rate in enumerate(RAMP)]
    found = judge(falling)
    assert found.open_above and "still falling at 1e-1" in found.said
    cut = [p if n < 120 else Point(p.rate, math.nan, p.bare) for n, p in enumerate(ramp(1e-3, 0.06, 0.005))]
    assert judge(cut).rate < 1e-3 and judge(cut[:60] + [Point(1, math.nan, 1)] * 90).said
    assert "almost from the beginning" in judge([Point(1e-6, math.nan, 0.2)] * 150).said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"optimizer": {"type": "prodigy", "learning_rate": 1.0}}, "Prodigy finds the learning rate itself.*leave it at 1$"),
        ({"adapter": {"type": "controlnet"}}, "learns beside the base model"),
        ({"adapter": {"type": "full"}}, "changes the base model itself, so there is none to compare with"),
        ({"loss": {"objective": "slider"}, "concept": {"targets": [{"target": "a", "positive": "b", "negative": "c"}]}}, "where pictures are learnt, not for 'slider'"),
        ({"optimizer": {"type": "prodigi"}}, "did you mean 'prodigy'"),
    ],
)  # fmt: skip
def test_where_there_is_nothing_to_look_for_it_says_so(change, says):
    import re

    assert re.search(says, ratefinding.hindrance(config(**change))) and bool(says) == bool(ratefinding.hindrance(config(**change)))
