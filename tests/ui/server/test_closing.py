"""The end of the app: beside a training that goes on, and in a container, where nothing does."""

from __future__ import annotations

import shutil
from pathlib import Path

from training import registry
from training.runs import supervisor
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
