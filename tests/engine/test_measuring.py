"""What is measured on the way, and a run that ends by itself because of it."""

from __future__ import annotations

import pytest

from training.data import words
from training.family import FamilySpec
from training.home import REPO
from training.plan.validating import POINTS, PROBES
from training.runs import choosing, longer

from .conftest import state_files

TOO_FAST = dict(
    steps=40, optimizer__learning_rate=0.03, data__held_out=2, save__validate_every=1, save__every=4, save__stop_early=True, save__keep=2,
    sample__every=0, loss__ema_decay=0.5,
)  # fmt: skip


@pytest.mark.slow
def test_the_base_model_is_the_control_row_and_an_untouched_adapter_has_lost_nothing(lab):
    run = lab.run(steps=2, optimizer__learning_rate=1e-7, data__held_out=2, save__validate_every=1, sample__every=0)
    view = run.view()
    assert [len(view.measures), len(view.bases)] == [2, 2 * POINTS]
    for _, each, forgot in view.measures:
        assert each == pytest.approx(view.bases, rel=1e-4) and len(forgot) == PROBES and max(forgot) < 1e-6


@pytest.mark.slow
def test_a_run_that_only_becomes_worse_ends_by_itself_with_the_best_checkpoint_also_when_it_was_stopped_meanwhile(lab):
    whole = lab.run(**TOO_FAST)
    view = whole.view()
    assert whole.status() == "finished" and view.step < 40 and 0 < view.result_step < view.step
    assert view.result_step in [step for step, _ in whole.checkpoints()], "the one that is named is not among those that were deleted"
    assert f"step {view.result_step} of 40" in view.summary and view.summary.endswith("reloaded and checked")
    parts = lab.run(stop_at=3, **TOO_FAST)
    lab.go(parts)
    assert parts.view().step == view.step and parts.view().result_step == view.result_step
    assert parts.result().read_bytes() == whole.result().read_bytes()
    assert state_files(parts, view.step) == state_files(whole, view.step)
    late = lab.run(stop_at=view.step, **TOO_FAST)
    assert late.status() == "stopped" and late.checkpoints()[-1][0] == view.step, "Stop in the very look that ends it loses nothing"
    assert [e["step"] for e in late.events()[0] if e["kind"] == "pictures"] == [view.step]


@pytest.mark.slow
def test_it_ends_no_sooner_than_a_checkpoint_is_there_that_it_can_take(lab):
    run = lab.run(**TOO_FAST | {"save__every": 12})
    assert run.status() == "finished" and run.view().result_step == 12 <= run.view().step < 40


@pytest.mark.slow
def test_a_run_that_trains_longer_takes_none_from_before_its_own_beginning(lab):
    more = lab.go(longer.begin(lab.run(**TOO_FAST | {"steps": 6, "save__every": 5}), 34, lab.home))
    assert more.status() == "finished" and 10 <= more.view().result_step <= more.view().step < 40


@pytest.mark.slow
def test_where_it_cannot_end_early_that_is_said_and_no_disk_is_filled(lab):
    run = lab.run(adapter__type="full", steps=5, data__held_out=2, save__validate_every=1, save__every=1, save__stop_early=True, save__keep=2, sample__every=0)
    assert [step for step, _ in run.checkpoints()][-2:] == [4, 5] and len(run.checkpoints()) < 5
    assert any("save.stop_early has no effect" in text and "none to compare with" in text for text in run.view().warnings)


@pytest.mark.slow
def test_any_checkpoint_can_become_the_result_and_the_last_one_again(lab):
    run = lab.run(sample__every=0)
    last, took = run.result().read_bytes(), run.view().last_t
    made = choosing.use(run, 2)
    assert made == run.result() and made.read_bytes() != last
    assert run.status() == "finished" and run.view().result_step == 2 and "step 2 of 6" in run.view().summary
    assert run.view().last_t == took, "a choice does not make a run longer"
    choosing.use(run, 6)
    assert run.result().stat().st_size == len(last) and run.view().result_step == 6
    with pytest.raises(ValueError, match="no checkpoint at step 3"):
        choosing.use(run, 3)
    assert not list(run.path.glob(".chosen*")) and run.view().result_step == 6
    assert choosing.hindrance(lab.make()) == "The run has not finished yet"


def test_no_sentence_of_a_list_is_asked_that_names_the_trigger(home):
    from training.config import TrainConfig
    from training.engine.measuring import probes

    spec = FamilySpec.__new__(FamilySpec)
    job = {"kind": "train", "name": "x", "trigger": "woman", "model": {"family": "sd15", "source": "builtin"}, "data": {"datasets": [{"name": "a"}], "held_out": 2}, "keep": {"words": "everyday"}}
    asked = probes(TrainConfig.model_validate(job), spec, home, object())
    assert len(asked) == PROBES and not any("woman" in s for s in asked) and set(asked) <= set(words.read(REPO / "presets/words/everyday.txt"))
    job["data"]["held_out"] = 0
    assert probes(TrainConfig.model_validate(job), spec, home, object()) == ()
