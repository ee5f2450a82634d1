"""The queue: an order that people change, a pause, times, and who goes after whom; told from files alone, so another process finds the same."""

import time
from datetime import datetime

import pytest

from tests.runs.conftest import ended, make, python
from tests.ui.story import config
from training import clock
from training.runs import journal, queueing, supervisor
from training.runs.queueing import Wait
from training.runs.run import create


def trainings(home, *names):
    return [create(home.outputs, config(name)) for name in names]


def order(home) -> str:
    return "".join(run.title for run in queueing.waiting(home))


@pytest.mark.slow
def test_a_run_is_moved_and_a_new_one_comes_behind_in_every_process(home):
    a, b, c = trainings(home, "a", "b", "c")
    assert order(home) == "abc"
    assert queueing.move(home, c.id, 1) == [c.id, a.id, b.id] and order(home) == "cab"
    trainings(home, "d")
    assert order(home) == "cabd"
    queueing.move(home, c.id, 99)
    assert order(home) == "abdc"
    other = python("-c", f"from training.home import Home; from training.runs import queueing; from pathlib import Path\nprint(*[r.title for r in queueing.waiting(Home(Path({str(home.root)!r})))])")
    assert other.communicate()[0].split() == list("abdc")
    a.command("stop")
    assert order(home) == "bdc"
    with pytest.raises(ValueError, match="does not wait in the queue"):
        queueing.move(home, a.id, 1)


@pytest.mark.slow
def test_while_it_is_paused_no_training_begins_and_what_was_decided_outlives_the_app(workshop):
    (run,) = trainings(workshop, "a")
    walk = make(workshop)
    queueing.pause(workshop, True)
    queueing._folded.clear()  # as after a restart
    assert queueing.read(workshop).paused and queueing.why_held(workshop, run) == "the queue is paused"
    assert supervisor.start(run, workshop) == "queued", "also one that is started just now"
    assert supervisor.tick(workshop) == [walk.id], "what is no training goes on, and is not kept waiting by one that is held"
    assert ended(walk) == "finished" and run.status() == "queued"
    queueing.pause(workshop, False)
    assert queueing.why_held(workshop, run) == ""


@pytest.mark.slow
def test_a_run_waits_for_its_time_and_keeps_nobody_from_going_before(workshop):
    late, early = make(workshop, name="late"), make(workshop, name="early")
    queueing.hold(late, Wait(time.time() + 3600))
    assert queueing.why_held(workshop, late).startswith("it begins ")
    assert supervisor.tick(workshop) == [early.id]
    assert ended(early) == "finished"
    assert supervisor.start(late, workshop) == "queued"
    queueing.hold(late, Wait(time.time() - 1))
    assert queueing.why_held(workshop, late) == "" and supervisor.start(late, workshop) == "started"
    assert ended(late) == "finished"


@pytest.mark.slow
def test_a_run_begins_after_another_is_finished_and_says_where_that_will_not_be(workshop):
    first, second = make(workshop, name="first"), make(workshop, name="second")
    queueing.hold(second, queueing.checked(workshop, second, after=first.id))
    assert queueing.why_held(workshop, second) == "it begins after 'first'" and not queueing.waits_in_vain(workshop, second)
    with pytest.raises(ValueError, match="'second' waits for 'first' already"):
        queueing.checked(workshop, first, after=second.id)
    with pytest.raises(ValueError, match="cannot wait for itself"):
        queueing.checked(workshop, first, after=first.id)
    journal.append(first.events_path, {"t": 1.0, "kind": "failed", "error": "x", "hint": "", "trace": ""})
    assert supervisor.tick(workshop) == [] and queueing.waits_in_vain(workshop, second)
    assert queueing.why_held(workshop, second) == "it was to begin after 'first', which failed"
    with pytest.raises(ValueError, match="is failed; resume it first"):
        queueing.checked(workshop, second, after=first.id)
    journal.append(first.events_path, {"t": 2.0, "kind": "finished", "path": "", "summary": ""})
    assert supervisor.tick(workshop) == [second.id] and ended(second) == "finished"


def test_what_is_wrong_in_the_files_holds_nobody(home):
    (run,) = trainings(home, "a")
    for record in ({"at": "soon", "after": 5}, {"at": True}, {"at": 1e99}, {}):
        journal.append(run.control_path, {"t": 1.0, "kind": "wait", **record})
        assert queueing.wait_of(run) == Wait()
    (home.outputs / ".queue.jsonl").write_bytes(b'{"kind": "paused", "on": "yes"}\n{"kind": "order", "runs": 5}\n\xff\n')
    assert queueing.read(home) == queueing.Queue() and order(home) == "a"
    queueing.hold(run, Wait(after="gone"))
    assert queueing.why_held(home, run) == "the run that it waits for is gone" and queueing.waits_in_vain(home, run)


@pytest.mark.slow
def test_its_file_stays_small(home, monkeypatch):
    monkeypatch.setattr(queueing, "MOST_BYTES", 2000)
    a, b = trainings(home, "a", "b")
    for _ in range(30):
        queueing.move(home, b.id, 1)
        queueing.move(home, a.id, 1)
    queueing.pause(home, True)
    assert journal.size_bytes(home.outputs / ".queue.jsonl") < 2500 and order(home) == "ab" and queueing.read(home).paused


def test_times_are_said_and_read_by_this_computers_clock():
    now = datetime(2026, 11, 29, 18, 4, 20).timestamp()
    at = lambda *when: datetime(*when).timestamp()
    assert clock.told(at(2026, 11, 29, 22, 30), now) == "22:30"
    assert clock.told(at(2026, 11, 30, 2, 15), now) == "tomorrow (Mon 30 Nov) 02:15" and clock.told(at(2026, 12, 2, 2, 15), now) == "Wed 2 Dec 02:15"
    assert [clock.about(now + s, now) for s in (600, 7213)] == ["18:14", "20:05"]
    assert clock.read("22:30", now) == at(2026, 11, 29, 22, 30) and clock.read("7:05", now) == at(2026, 11, 30, 7, 5)
    assert clock.read("2026-12-01T06:00", now) == at(2026, 12, 1, 6, 0)
    for text, says in (("soon", "is no time"), ("25:00", "no time of a day"), ("2026-11-01 06:00", "is past"), ("2031-01-01 06:00", "more than a year")):
        with pytest.raises(ValueError, match=says):
            clock.read(text, now)
