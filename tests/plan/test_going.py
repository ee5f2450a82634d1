"""Is it going well: of real trainings that were made to go wrong, and of good ones, which must not be blamed.  The recordings are tests/builtin/goings.py's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from training.plan.going import FEW, WINDOW, Facts, Going, bounds, going
from training.runs.costs import Costs
from training.runs.events import RunView, fold

RECORDED = Path(__file__).parent / "going"
FACTS = Facts(learning_rate=1e-3, steps=160)
WRONG = {"high": "diverging", "low": "still", "by-heart": "memorising", "few-layers": "still"}  # by the first words of a recording's name


def answers(path: Path, facts: Facts = FACTS) -> list[Going]:
    """What was said after each event."""
    view, said = RunView(), []
    for line in path.read_text(encoding="utf-8").splitlines():
        view = fold(view, [json.loads(line)])
        said.append(going(view, facts))
    return said


def expected(path: Path) -> str:
    name = path.stem.removeprefix("toy-")
    return next((state for start, state in WRONG.items() if name.startswith(start)), "")


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_what_was_made_to_go_wrong_is_named_and_what_went_well_never_blamed(path):
    said = answers(path)
    states = list(dict.fromkeys(answer.state for answer in said))
    if state := expected(path):
        assert said[-1].state == state and set(states) <= {"", "early", "fine", state}
        assert said[-1].bad and said[-1].says and said[-1].todo
    else:
        assert set(states) <= {"", "early", "fine"} and said[-1].state == "fine"


def paired(values, step=1000, of=1000, **changes) -> RunView:
    return RunView(step=step, of=of, pairs=tuple((20 * n, value) for n, value in enumerate(values)), **changes)


def test_nothing_is_said_without_numbers_and_little_with_few():
    assert going(RunView(), FACTS) == going(RunView(step=500, of=1000, losses=((1, 0.3, 1e-4), (500, 9.0, 1e-4))), FACTS) == Going()
    assert going(paired([2.0] * (FEW - 1)), FACTS).state == "early"
    assert going(paired([2.0] * FEW), FACTS).state == "diverging"


def test_single_outliers_and_a_bad_beginning_say_nothing():
    usual = [-0.1 - 0.001 * n for n in range(WINDOW)]
    assert going(paired([*usual[:-3], 2.0, 2.0, 2.0]), FACTS).state == "fine"
    assert going(paired([2.0] * 100 + usual), FACTS).state == "fine"
    assert going(paired([2.0, -1.5] * WINDOW), FACTS).state == "early"


def test_what_to_change_fits_how_bad_it_is():
    assert going(paired([2.0] * WINDOW), FACTS).change == {"optimizer.learning_rate": 1e-4}
    assert going(paired([0.2] * WINDOW), FACTS).change == {"optimizer.learning_rate": 5e-4}
    still = paired([-0.001] * WINDOW)
    assert going(still, FACTS).change == {"optimizer.learning_rate": 1e-2}
    assert going(still, Facts(1e-3, 160, chosen_layers=True)).change == {"adapter.include": (), "adapter.exclude": ()}
    assert going(still, Facts(1.0, 160, finds_rate=True)).change == {} != going(still, FACTS).change
    assert going(paired([-0.001] * WINDOW, step=200), FACTS).state == "early", "it has most of its steps to go"


def test_held_out_pictures_that_get_worse_while_its_own_get_better_are_learnt_by_heart():
    looks = [1.0, 0.9, 0.8, 0.75, 0.74, 0.78, 0.82, 0.86, 0.9]
    better = [-0.01 * n for n in range(50)]
    held = tuple((100 * n, loss) for n, loss in enumerate(looks, 1))
    found = going(paired(better, validations=held), FACTS)
    assert found.state == "memorising" and found.change == {"steps": 500} and "step 500" in found.says
    assert going(paired([-0.3] * 25 + [-0.1] * 25, validations=held), FACTS).state == "fine", "its own get worse as well"
    wobbling = tuple((100 * n, loss) for n, loss in enumerate([0.9, 0.7, 0.95, 0.72, 0.9, 0.75, 0.93, 0.74, 0.9], 1))
    assert going(paired(better, validations=wobbling), FACTS).state == "fine"


def test_a_run_without_any_word_is_told_so_and_one_with_a_trigger_word_is_not():
    fine = paired([-0.1] * WINDOW)
    assert going(fine, Facts(1e-3, 160, bare=1.0, pictures=9)).state == "wordless"
    assert going(fine, Facts(1e-3, 160, bare=0.9, pictures=9)).state == going(fine, Facts(1e-3, 160, bare=1.0, pictures=0)).state == "fine"


def test_the_bounds_of_a_median_hold_it_whatever_the_values_are_spread_like():
    from random import Random

    rng = Random(1)
    missed = sum(not low <= 0 <= high for low, _, high in (bounds([math.copysign(rng.random() ** -1.5 - 1, rng.random() - 0.5) for _ in range(20)]) for _ in range(2000)))
    assert missed < 60  # 1.2 percent are expected


def test_losses_are_held_against_their_level_and_a_picture_that_costs_more_stands_out():
    costs = Costs((), (), ())
    for n in range(600):
        level = n * 7 % 100 / 100
        costs.add(n, f"d/{n % 12}.png", level, math.exp(3 * level) * (1.5 if n % 12 == 5 else 1.0), None)
    rows = sorted(costs.tuples()["pictures"], key=lambda row: row[3])
    assert rows[-1][0] == "d/5.png" and rows[-1][3] - rows[-2][3] > 0.25
