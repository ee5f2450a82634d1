"""A whole run by way of Hugging Face Jobs: the page's own supervisor and relay here, the real worker as the job, and between them real HTTP."""

from __future__ import annotations

import json
import os
import threading

import pytest

from tests import tiny
from tests.hub_standin import File, Repo
from tests.runs.conftest import ended, until
from training.away import relay
from training.away.bundle import sha256_of
from training.config import TrainConfig
from training.runs import supervisor
from training.runs.context import Context
from training.runs.run import create

PLACE = {"kind": "hf_jobs", "options": {"machine": "cpu-basic"}}  # as the job that is done there is one for a processor


@pytest.fixture
def base(hub, tmp_path) -> str:
    """The Hub's id of a tiny base model."""
    folder = tiny.sd15(tmp_path / "tiny")
    hub.repos["owner/tiny"] = Repo("owner/tiny", private=False)
    hub.repos["owner/tiny"].commit("the base", {p.relative_to(folder).as_posix(): File(p.read_bytes(), True) for p in folder.rglob("*") if p.is_file()})
    return "owner/tiny"


@pytest.mark.slow
def test_a_relay_that_dies_finds_its_job_again_and_the_result_is_that_of_there(hub, token, base, home, tmp_path):
    job = tiny.train_job(base, tiny.pictures(tmp_path / "cats"), place=PLACE)
    run = create(home.outputs, TrainConfig.model_validate(job))
    supervisor.start(run, home)
    assert until(lambda: run.view().step >= 1, 120), run.log_tail()
    supervisor.kill(run)  # a closed laptop
    assert until(lambda: not run.locked())
    hub.fail("any", "broken", times=2)  # and a network that is not back yet
    supervisor.start(run, home)
    assert ended(run, 120) == "finished", run.log_tail()

    (there,) = hub.jobs.values()
    made = hub.folder / "jobs" / there.id / "tmp" / "easel" / "bundle" / "outputs" / "run"
    result = run.view().result
    assert sha256_of(run.path / result) == sha256_of(made / result)
    assert {p.name for p in (run.path / "samples").iterdir()} == {p.name for p in (made / "samples").iterdir()}
    assert [e["step"] for e in run.events()[0] if e["kind"] == "step"][-1] == 6
    assert "on cpu-basic and cost about $0.0" in run.last("finished")["summary"]
    assert "base_model: owner/tiny" in (run.path / "README.md").read_text(encoding="utf-8")
    assert hub.buckets == {} and there.stage == "COMPLETED"
    left = [p for p in [*run.path.rglob("*"), *made.parent.parent.rglob("*")] if p.is_file() and token.encode() in p.read_bytes()]
    assert left == [] and token not in json.dumps(there.spec) and token.encode() not in b"".join(hub.batches)
    assert not os.path.exists(home.outputs / ".away" / run.id)


CHECKPOINT = """
step = 2 if not (run / "checkpoints").exists() else 4
if step == 4:
    say(t=1.0, kind="finished", path="cat.safetensors", summary=",".join(p.name for p in (run / "checkpoints").iterdir()))
    (run / "cat.safetensors").write_bytes(b"weights")
    sys.exit(0)
(run / "checkpoints" / "000002").mkdir(parents=True)
for name, text in (("adapter.safetensors", "half"), ("MANIFEST.json", '{"step": 2, "files": {}}')):
    (run / "checkpoints" / "000002" / name).write_text(text)
say(t=1.0, kind="checkpoint", step=2, path="checkpoints/000002")
time.sleep(600)
"""


@pytest.mark.slow
def test_a_job_that_is_killed_is_told_and_its_checkpoint_comes_home_so_that_resume_goes_on(hub, home, tmp_path, small_checkout):
    small_checkout(CHECKPOINT)
    config = TrainConfig.model_validate(tiny.train_job("owner/base", tiny.pictures(tmp_path / "cats"), place=PLACE))
    run = create(home.outputs, config)

    def machine_dies():
        assert until(lambda: any("MANIFEST" in report for report in reports(hub)), 60)
        hub.kill(next(iter(hub.jobs)), message="Job timeout")

    dying = threading.Thread(target=machine_dies, daemon=True)
    dying.start()
    with pytest.raises(relay.Failed, match=r"after its time limit of [\d.]+ hours") as told:
        relay.run(config, Context(run, home, 1))
    assert "Press Resume to go on from the newest checkpoint" in told.value.hint
    assert [step for step, _ in run.checkpoints()] == [2] and hub.buckets == {}
    relay.run(config, Context(run, home, 2))
    assert len(hub.jobs) == 2 and hub.buckets == {}
    assert run.last("finished")["summary"].startswith("000002. It ran for 1 minute on cpu-basic")
    assert (run.path / "cat.safetensors").read_bytes() == b"weights"


def reports(hub) -> list[str]:
    """What the job has told so far, as it lies in its mount."""
    return [p.read_text() for p in hub.folder.glob("jobs/*/easel/out/*")]
