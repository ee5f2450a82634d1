"""The end of a shelf on the other machine: what it tells, what it does while the shelf cannot be written, and whom the queue passes over."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.cloud.test_hf_jobs import until
from training.away import shelved

WAITS = """
import signal, sys, time
from pathlib import Path
run = Path(sys.argv[1])
def stop(*_):
    (run / "checkpoints" / "000002").mkdir(parents=True)
    (run / "checkpoints" / "000002" / "adapter.safetensors").write_bytes(b"half")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(run / "events.jsonl").write_text('{"kind": "started"}\\n')
while not (run / "over").exists():
    time.sleep(0.01)
"""


class Failing(shelved.Shelf):
    """A mount that gives errors `left` times, from when a report was to be written."""

    left = 0

    def write(self, name, data):
        if self.left and name.startswith("out/"):
            self.left -= 1
            raise OSError(5, "Input/output error")
        super().write(name, data)


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Failing:
    monkeypatch.setattr(shelved, "PAUSE_S", 0.02)
    (tmp_path / "shelf").mkdir()
    return Failing(tmp_path / "shelf")


@pytest.fixture
def report(shelf, tmp_path) -> shelved.Report:
    run = tmp_path / "work" / "bundle" / "outputs" / "run"
    run.mkdir(parents=True)
    (tmp_path / "work" / "easel").mkdir()
    return shelved.Report(shelf, run)


def reports(shelf) -> list[dict]:
    return [json.loads(shelf.read(f"out/{name}")) for name in shelf.names("out")]


def watched(report, shelf, tmp_path) -> int:
    return shelved._watch([sys.executable, "-c", WAITS, str(report.run)], tmp_path / "work", dict(os.environ), report, shelf, shelved.Stop(hears=False))


def test_no_event_names_a_file_that_the_same_report_does_not_have(shelf, report):
    def files():
        with (report.run / "events.jsonl").open("a") as events:  # drawn while the report is made
            events.write('{"kind": "sample", "path": "samples/b.webp"}\n')
        return {}

    (report.run / "events.jsonl").write_text('{"kind": "started"}\n')
    report.tell("running", files=files)
    [said] = reports(shelf)
    assert "b.webp" not in said["events"], "its event comes with the next report, and its file too"


def test_an_error_of_the_mount_ends_no_training(shelf, report, tmp_path):
    shelf.left = 3
    told = report.tell

    def tell(*words, **more):
        told(*words, **more)
        (report.run / "over").touch()  # a report came through

    report.tell = tell
    assert watched(report, shelf, tmp_path) == 0
    assert shelf.left == 0 and reports(shelf)[0]["status"] == "running"


def test_a_mount_that_stays_away_ends_it_with_its_checkpoint(shelf, report, tmp_path, monkeypatch):
    monkeypatch.setattr(shelved, "AWAY_S", 0.0)
    shelf.left, shelf.refresh = 10**9, lambda: until((report.run / "events.jsonl").exists)
    with pytest.raises(OSError, match="Input/output"):
        watched(report, shelf, tmp_path)
    assert list(report.carry(over=False)) == ["checkpoints/000002/adapter.safetensors"]


def test_stop_among_the_commands_ends_the_installation(shelf, report):
    shelved._keep_telling(report, shelf, report.run / "log", shelved.Stop(hears=False))
    shelf.write("control/000001", b'{"kind": "save"}')
    shelf.write("control/000002", b'{"ki')
    shelved._keep_telling(report, shelf, report.run / "log", shelved.Stop(hears=False))
    shelf.write("control/000003", b'{"t": 1, "kind": "stop"}')
    with pytest.raises(shelved.Wrong, match="cancelled while"):
        shelved._keep_telling(report, shelf, report.run / "log", shelved.Stop(hears=False))


def test_a_shelf_that_is_cancelled_while_another_one_trains_is_done_at_once(tmp_path):
    for name, marks in (("a", ("go", "cancel")), ("b", ("go", "cancel")), ("c", ("go",)), ("d", ("cancel",))):
        (tmp_path / name).mkdir()
        for mark in marks:
            (tmp_path / name / mark).touch()
    shelved._spare(tmp_path, tmp_path / "a")
    assert [p.parent.name for p in tmp_path.glob("*/done")] == ["b"], "not the one that is served, which says so itself"
