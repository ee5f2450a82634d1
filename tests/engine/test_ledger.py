"""What single pictures cost, and what the bare base model pays for the same: a real short run."""

import math
import statistics

import pytest

from training.engine.ledger import PAIRED_EVERY, TOLD_EVERY
from training.runs import outlook

pytestmark = pytest.mark.slow
SHORT = dict(steps=2 * PAIRED_EVERY + TOLD_EVERY, sample__every=0, save__every=0, data__batch_size=2, adapter__targets="all")


def test_a_run_tells_each_picture_apart_and_how_it_goes(lab, dataset):
    run = lab.run(**SHORT, optimizer__learning_rate=1e-2)
    told = [r for r in run.events()[0] if r["kind"] == "pictures"]
    assert [r["step"] for r in told] == [TOLD_EVERY, SHORT["steps"]]
    assert {id for r in told for id in r["seen"]} == {f"{dataset.name}/picture {n}.png" for n in range(5)}
    rows = [row for r in told for rows in r["seen"].values() for row in rows]
    assert sum(len(row) == 3 for row in rows) >= SHORT["steps"] // PAIRED_EVERY and all(0 <= row[0] <= 100 and row[1] > 0 for row in rows)
    view = run.view()
    assert statistics.median(gained for _, gained in view.pairs) < -0.05
    assert outlook.of(run, view).state in ("fine", "early") and sum(cost[1] for cost in view.pictures) == len(rows)


def test_an_adapter_that_does_nothing_pays_what_the_base_model_pays(lab):
    run = lab.run(**SHORT, optimizer__learning_rate=1e-9)
    pairs = [gained for _, gained in run.view().pairs]
    assert pairs and max(map(abs, pairs)) < 1e-3 and all(map(math.isfinite, pairs))


def test_where_there_is_no_base_model_to_ask_losses_are_told_alone(lab):
    view = lab.run(steps=TOLD_EVERY, sample__every=0, save__every=0, adapter__type="full", optimizer__learning_rate=1e-4, keep__on=False).view()
    assert view.pictures and not view.pairs
