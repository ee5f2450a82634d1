"""The end of the app: beside a training that goes on, and in a container, where nothing does."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests import tiny
from training import jobfile, registry
from training.away import state
from training.config import TrainConfig
from training.runs import journal, supervisor
from training.runs.context import Context
from training.runs.lock import RunLock
from training.runs.run import create
from ui.server import closing

WALK = Path(__file__).resolve().parents[2] / "runs" / "jobs" / "walk.py"


def walking(home):
    """A run that would go on for minutes."""
    (home.plugins / "jobs").mkdir(parents=True)
    shutil.copy(WALK, home.plugins / "jobs")
    run = create(home.outputs, registry.get("jobs", "walk", home.plugins).Config(name="a walk", steps=100_000))
    supervisor.start(run, home)
    return run


def test_only_a_container_takes_its_trainings_along():
    assert closing.in_container({}, 1) and closing.in_container({"EASEL_CONTAINER": "1"}, 7) and closing.in_container({"SPACE_ID": "me/easel"}, 7)
    assert not closing.in_container({}, 7)


def test_the_end_of_a_container_saves_what_trains_and_says_so(home):
    run = walking(home)
    try:
        assert "goes on" in closing.last_words(home, {}) and run.status() == "running"
        said = closing.last_words(home, {"EASEL_CONTAINER": "1"}, wait_s=20)
        assert "'a walk' is saved" in said and run.status() == "stopped" and run.checkpoints()
        assert closing.last_words(home, {"EASEL_CONTAINER": "1"}) == "Easel is closed."
    finally:
        if run.locked():
            supervisor.kill(run)


def test_what_does_not_stop_in_time_is_not_said_to_be_saved(home):
    run = walking(home)
    try:
        assert "did not stop within 0 s" in closing.last_words(home, {"EASEL_CONTAINER": "1"}, wait_s=0)
    finally:
        supervisor._until(lambda: not run.locked(), 20)


def test_what_trains_on_another_machine_goes_on_there(home, tmp_path):
    job = tiny.train_job("builtin", tiny.pictures(tmp_path / "pictures", 1), place__kind="ssh", place__options={"host": "desk"})
    run = create(home.outputs, jobfile.parse(TrainConfig, job))
    lock = RunLock(run.lock_path)
    assert lock.acquire()
    try:
        Context(run, home, 1).emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="")
        state.keep(run.path, state.State("ssh", {"id": "0"}, "started"))
        said = closing.last_words(home, {"EASEL_CONTAINER": "1"}, wait_s=0)
    finally:
        lock.release()
    assert said == f"Easel is closed. '{run.title}' goes on on the other machine; start Easel again and press Resume to watch it."
    [told] = journal.read(run.control_path)[0]
    assert told["kind"] == "stop" and told["hurry"] is True, "its relay leaves it running"
