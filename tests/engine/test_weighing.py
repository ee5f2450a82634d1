"""A picture that is weighed down or set aside during a run: from the next step on, after a resume, and when the same is trained again."""

import json

import pytest

from tests.engine.conftest import state_files
from training.runs import longer, weighing
from training.runs.run import create

pytestmark = pytest.mark.slow
PLAIN = dict(steps=8, save__every=2, sample__every=0, data__batch_size=1, adapter__dropout=0.1)


def seen(run) -> dict[int, list[str]]:
    """{step: the pictures that were told of up to it}."""
    return {r["step"]: sorted(r["seen"]) for r in run.events()[0] if r["kind"] == "pictures"}


@pytest.fixture
def orders(monkeypatch):
    """orders(run, {step: [(picture, weight)]}): asked for when that step is done, as a click would."""
    from training.runs import journal
    from training.runs.context import Context

    def at(run, wanted):
        told = Context.step

        def step(self, number, *rest):
            made = told(self, number, *rest)
            for picture, weight in wanted.get(number, []) if self.run.path == run.path else ():
                journal.append(run.control_path, {"t": 1.0, "kind": "weigh", "picture": picture, "weight": weight})
            return made

        monkeypatch.setattr(Context, "step", step)

    return at


def first_picture(run) -> dict:
    return json.loads((run.path / "pictures.json").read_text(encoding="utf-8"))[0]


def test_one_that_is_set_aside_is_learnt_no_more_and_a_resume_and_the_same_again_do_so_too(lab, orders):
    plain = lab.run(**PLAIN)
    id = first_picture(plain)["id"]
    whole = lab.make(**PLAIN)
    orders(whole, {3: [(id, 0.0)]})
    lab.go(whole)
    (row,) = weighing.told(whole)
    assert row[0] == 3 and row[2] == 0.0 and whole.view().weights == ((3, id, 0.0),)
    assert state_files(whole, 2) == state_files(plain, 2) and state_files(whole, 8) != state_files(plain, 8)

    parts = lab.make(**PLAIN)
    orders(parts, {3: [(id, 0.0)]})
    lab.go(parts, stop_at=5)
    assert id not in [p for r in lab.go(parts).events()[0] if r["kind"] == "pictures" and r["step"] > 5 for p in r["seen"]]
    assert state_files(parts, 8) == state_files(whole, 8)

    again = lab.go(create(lab.home.outputs, weighing.again(whole.config(), whole)))
    assert again.result().read_bytes() == whole.result().read_bytes() and not again.view().warnings
    assert again.config().data.weighed[0].step == 3
    more = longer.begin(whole, 2, lab.home)
    assert more.config().data.weighed == again.config().data.weighed and lab.go(more).last("finished")


def test_what_was_asked_in_the_step_of_stop_is_not_lost(lab, orders):
    run = lab.make(**PLAIN)
    orders(run, {3: [("kätzchen/picture 0.png", 0.0)]})
    assert lab.go(run, stop_at=3).status() == "stopped" and [row[0] for row in weighing.told(run)] == [3]


def test_half_the_weight_is_not_none_and_the_last_word_counts(lab, orders):
    runs = {}
    for name, wanted in {"none": {}, "half": {2: [("", 0.5)]}, "half, then whole": {2: [("", 0.5), ("", 1.0)]}}.items():
        run = lab.make(**PLAIN)
        id = json.loads((runs["none"].path / "pictures.json").read_text(encoding="utf-8"))[0]["id"] if runs else ""
        orders(run, {step: [(id, weight) for _, weight in asked] for step, asked in wanted.items()})
        runs[name] = lab.go(run)
    weights = {name: state_files(run, 8)["adapter.safetensors"] for name, run in runs.items()}
    assert weights["half"] != weights["none"] == weights["half, then whole"]


def test_what_cannot_be_is_said_and_the_run_goes_on(lab, orders, dataset):
    run = lab.make(**PLAIN)
    ids = [f"{dataset.name}/picture {n}.png" for n in range(5)]
    orders(run, {1: [("d/nobody.png", 0.0), (ids[0], 101.0)], 2: [(id, 0.0) for id in ids]})
    view = lab.go(run).view()
    assert run.status() == "finished" and [w[1] for w in view.weights] == ids[:4]
    said = " ".join(view.warnings)
    assert "nobody.png' cannot be given the weight" in said and "no picture would be left to learn from" in said
