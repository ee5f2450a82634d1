"""Train longer: a new run that goes on from a finished one comes to what one run of all the steps comes to."""

import json

import pytest

from tests.engine.conftest import state_files
from training.runs import longer
from training.runs.run import Run

pytestmark = pytest.mark.slow


def rates(run: Run) -> dict[int, float]:
    return {step: lr for step, _, lr in run.view().losses}


def test_20_steps_and_20_more_are_40_to_the_byte(lab):
    once = lab.run(steps=40, optimizer__schedule="constant")
    first = lab.run(steps=20, optimizer__schedule="constant")
    job, before = (first.path / "job.yaml").read_bytes(), first.result().read_bytes()
    more = lab.go(longer.begin(first, 20, lab.home))
    assert more.last("finished") and min(rates(more)) == 21 and more.config().steps == 40
    assert state_files(more, 40) == state_files(once, 40)
    assert more.result().read_bytes() == once.result().read_bytes()
    assert (first.path / "job.yaml").read_bytes() == job and first.result().read_bytes() == before and not more.view().warnings


def test_a_schedule_goes_on_where_one_of_all_the_steps_would_be_and_that_is_said_before(lab):
    once = lab.run(steps=12, optimizer__schedule="cosine")
    first = lab.run(steps=6, optimizer__schedule="cosine")
    assert any("goes on at 50% of its highest" in text for text in longer.said(first.config(), 6))
    more = lab.go(longer.begin(first, 6, lab.home))
    assert {step: lr for step, lr in rates(once).items() if step > 6} == rates(more)


@pytest.mark.parametrize("way", ["cosine", "constant"])
def test_a_rate_that_begins_anew_is_to_the_byte_one_run_with_the_same_settings(lab, way):
    first = lab.run(steps=6, optimizer__schedule="cosine")
    rate = longer.Rate(way, 0.5)
    assert any("begins anew at 50% of its highest" in text and "warm restart" in text for text in longer.said(first.config(), 6, rate))
    more = lab.go(longer.begin(first, 6, lab.home, rate=rate))
    once = lab.run(steps=12, optimizer__schedule="cosine", optimizer__again_from=6, optimizer__again_share=0.5, optimizer__again_schedule=way)
    assert more.result().read_bytes() == once.result().read_bytes() and state_files(more, 12) == state_files(once, 12)
    seen, top = rates(more), first.config().optimizer.learning_rate
    assert seen[7] > rates(first)[6] and (seen[12] == pytest.approx(0.5 * top)) == (way == "constant") and not more.view().warnings


def test_what_is_gone_or_damaged_is_said(lab, monkeypatch):
    run = lab.run(steps=4)
    kept = run.checkpoints()[-1][1]
    with pytest.raises(ValueError, match="at least 1 more step"):
        longer.begin(run, 0, lab.home)
    whole = (kept / "adapter.safetensors").read_bytes()
    (kept / "adapter.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    count = len(list(lab.home.outputs.iterdir()))
    with pytest.raises(ValueError, match="damaged"):
        longer.begin(run, 4, lab.home)
    assert len(list(lab.home.outputs.iterdir())) == count, "nothing is left behind"
    (kept / "adapter.safetensors").write_bytes(whole)
    (kept / "state.safetensors").unlink()
    with pytest.raises(ValueError, match="state of the optimizer is gone.*fresh optimizer"):
        longer.begin(run, 4, lab.home)
    stopped = lab.run(steps=6, stop_at=3)
    with pytest.raises(ValueError, match="not finished; resume it"):
        longer.begin(stopped, 4, lab.home)
    assert json.loads((kept / "MANIFEST.json").read_text())["step"] == 4
