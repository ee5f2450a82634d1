"""Which checkpoint is best, on curves made by hand: two numbers of noise each, four levels, three held-out pictures."""

from __future__ import annotations

import math
from random import Random

import pytest

from training.plan import validating
from training.plan.advising import advise

LEVELS, SENTENCES = validating.POINTS, validating.PROBES
STEPS = list(range(50, 1001, 50))
CHECKPOINTS = list(range(100, 1001, 100))
BASES = tuple(0.1 + 0.1 * (n % LEVELS) for n in range(3 * LEVELS))


def measured(learnt, lost, noise: float = 0.01, pictures: int = 3, steps=STEPS):
    """learnt(step): the loss as a share of the base's; lost(step): what is lost, as a share of it too."""
    rng, level = Random(1), sum(BASES) / len(BASES)
    shaken = lambda mean: mean * math.exp(rng.gauss(0, noise))
    return [(s, tuple(shaken(b * learnt(s)) for b in BASES[: pictures * LEVELS]), tuple(shaken(level * lost(s)) for _ in range(SENTENCES))) for s in steps]


def falls_until(step: float, floor: float = 0.5):
    return lambda s: floor + (1 - floor) * math.exp(-3 * s / step) if s < step else floor + (1 - floor) * math.exp(-3)


def rises_from(step: float, by: float = 0.4):
    return lambda s: 0.1 + (by * (s - step) / 400 if s > step else 0)


def test_a_clear_knee_is_found_with_both_its_ends():
    told = advise(measured(falls_until(400), rises_from(600)), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "knee" and told.sure == "clear" and told.over
    assert 300 <= told.learnt <= 450 and 550 <= told.forgets <= 700 and 300 <= told.step <= 600
    assert told.said[0].startswith("It learns no more after step") and f"starts to forget after {told.forgets:,}" in told.said[0]
    assert set(told.named) == {told.step, told.learnt, told.forgets}


def test_who_learns_the_pictures_by_heart_becomes_worse_on_those_that_were_held_out():
    told = advise(measured(lambda s: falls_until(300)(s) + max(0, s - 500) / 1000, lambda s: 0.0), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "knee" and 300 <= told.step <= 700 and 500 <= told.forgets <= 800 and told.over


def test_a_rise_on_held_out_pictures_alone_takes_no_later_checkpoint_away():
    """As in runs whose base is held: nothing is lost, and what is drawn goes on to become better."""
    told = advise(measured(lambda s: falls_until(300)(s) + max(0, s - 500) / 3500, lambda s: 0.05), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "knee" and told.step == 1000 and not told.forgets and not told.over and told.sure == "unsure"
    assert "seldom shows in what it draws" in told.said[-1]


def test_a_curve_that_still_falls_asks_for_more():
    told = advise(measured(falls_until(4000), lambda s: 0.05), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "falling" and told.step == 1000 and "train longer" in told.said[0] and not told.over


def test_who_loses_more_than_it_learns_is_not_told_to_train_longer():
    told = advise(measured(falls_until(4000), lambda s: max(0, s - 300) / 1000), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "knee" and 200 <= told.step <= 500 and "loses more than that" in told.said[0] and told.sure == "clear"


def test_noise_that_is_larger_than_the_differences_says_just_that():
    told = advise(measured(lambda s: 1.0, lambda s: 0.02, noise=0.2), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "flat" and told.sure == "unsure" and told.step == 1000 and not told.over
    told = advise(measured(falls_until(200), lambda s: 0.1, noise=0.1), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "knee" and "smaller than what can be told" in told.said[1] and not told.over


def test_what_diverged_is_worse_than_the_base_alone():
    told = advise(measured(lambda s: 0.8 if s < 200 else 1 + s / 300, lambda s: s / 200), BASES, CHECKPOINTS, LEVELS)
    assert told.verdict == "worse" and told.step == 100 and told.over and "worse than the base model alone" in told.said[0]


@pytest.mark.parametrize(
    ("measures", "bases", "said"),
    [
        ([], (), "No pictures were held out"),
        (measured(falls_until(400), rises_from(600), pictures=1), BASES[:LEVELS], "Only 1 picture"),
        (measured(falls_until(400), rises_from(600), steps=STEPS[:3]), BASES, "only 3 times"),
        (measured(falls_until(400), rises_from(600)), (), "cannot be asked"),
    ],
)
def test_what_is_not_known_is_not_said(measures, bases, said):
    told = advise(measures, bases, CHECKPOINTS, LEVELS)
    assert told.verdict in ("none", "few") and said in told.said[0] and told.step == 1000 and not told.over and told.sure == "unsure"


def test_nothing_there_is_nothing_said():
    assert advise([], (), [], LEVELS).step == 0
    assert advise(measured(falls_until(400), rises_from(600)), BASES, [], LEVELS).step == 0


def test_without_sentences_the_held_out_pictures_decide_alone():
    rows = [(step, each, ()) for step, each, _ in measured(lambda s: falls_until(300)(s) + max(0, s - 500) / 1000, lambda s: 0)]
    assert 300 <= advise(rows, BASES, CHECKPOINTS, LEVELS).step <= 500


def test_good_runs_are_seldom_told_to_stop():
    """A false alarm is worse than silence: of six plateaus with much noise none ends by itself."""
    for seed in range(6):
        rng = Random(seed)
        rows = [(s, tuple(b * falls_until(300)(s) * math.exp(rng.gauss(0, 0.15)) for b in BASES), tuple(0.1 * math.exp(rng.gauss(0, 0.15)) for _ in range(SENTENCES))) for s in STEPS]
        assert not any(advise(rows[:n], BASES, CHECKPOINTS, LEVELS).over for n in range(5, len(rows) + 1)), seed


def test_measuring_costs_little_and_a_short_run_holds_fewer_pictures_out():
    for steps, batch in ((400, 3), (1500, 3), (600, 8), (4000, 1)):
        learning = validating.learning(batch, False)
        held = validating.held_out(100, steps, learning)
        looks = steps // validating.every(steps, held, learning)
        assert 2 <= held <= 8 and looks * validating.passes(held) <= 0.05 * steps * learning
    assert [validating.held_out(n, 10_000, 12) for n in (11, 12, 40, 500)] == [0, 2, 4, 8]
