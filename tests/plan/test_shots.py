"""Which pictures a job draws, and how votes rank checkpoints."""

from __future__ import annotations

import pytest

from training.plan.ranking import ranking
from training.plan.shots import Drawing, shots, unweighted, variant, variants

MODEL = {"family": "sd15", "source": "builtin"}


def drawing(**changes) -> Drawing:
    return Drawing.model_validate({"kind": "generate", "name": "x", "model": MODEL} | changes)


def test_dynamic_prompts_are_counted_through():
    line = "a {red|blue} {cat|dog|{big|small} bird}"
    assert variants(line) == 2 * 3 * 2 or variants(line) == 12
    assert [variant("a {red|blue} {cat|dog}", n) for n in range(5)] == ["a red cat", "a blue cat", "a red dog", "a blue dog", "a red cat"]
    assert unweighted("a ((red:1.2) cat:0.8) (plain) (a: b)") == "a red cat (plain) (a: b)"


def test_a_grid_is_every_pair_of_its_axes():
    config = drawing(loras=[{"source": "run", "strength": 0.5}, {"source": "other"}], rows="lora", columns="strength", strengths=[0, 2], seeds=[1, 2])
    found, _ = shots(config, ["a"], lambda source: [])
    assert len(found) == 3 * 2 * 2
    assert [s.loras for s in found if s.seed == 1] == [(), (), (("run", 0.0),), (("run", 1.0),), (("other", 0.0),), (("other", 2.0),)]
    config = drawing(loras=[{"source": "run/5"}, {"source": "other"}], columns="checkpoint")
    found, _ = shots(config, ["a"], lambda source: ["5", "10", "final"])
    assert [s.loras[0][0] for s in found] == ["run/5", "run/10", "run"] and all(s.loras[1] == ("other", 1.0) for s in found)


def test_too_many_pictures_are_refused_before_they_are_listed():
    with pytest.raises(ValueError, match="more than 10,000 pictures"):
        shots(drawing(count=1000, sizes=[[64, 64]] * 64), ["a"] * 5000, lambda source: [])


def test_votes_rank_by_who_beat_whom():
    votes = [("200", "100", 1)] * 3 + [("300", "200", 1)] * 3 + [("300", "100", 0.5)]
    ranks = ranking(votes)
    assert [r.name for r in ranks] == ["300", "200", "100"]
    assert ranks[0].share > 0.5 > ranks[-1].share and ranks[0].votes == 4 and ranks[0].won == 3.5
    assert ranking([]) == []


def test_the_strengths_are_the_most_likely_ones():
    """Against the fixed point of the equation itself, and against a coin: 3 of 4 against an average opponent's half game."""
    (best, other) = ranking([("a", "b", 1), ("a", "b", 1), ("a", "b", 1), ("a", "b", 0)])
    a, b = best.share / (1 - best.share), other.share / (1 - other.share)
    assert a == pytest.approx((3 + 0.5) / (4 / (a + b) + 1 / (a + 1)), rel=1e-6)
    assert b == pytest.approx((1 + 0.5) / (4 / (a + b) + 1 / (b + 1)), rel=1e-6)
    assert 0.5 < best.share < 0.75, "four votes do not make it three times as good"
