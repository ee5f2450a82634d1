import errno
import os
import time

import pytest

from training.hub.secrets import Secret
from training.runs import journal
from training.runs.context import Context, Follower
from training.runs.ranks import Alone

from .conftest import make


@pytest.fixture
def ctx(workshop):
    return Context(make(workshop), workshop, attempt=1)


def kinds(ctx):
    return [e["kind"] for e in ctx.run.events()[0]]


def test_an_event_has_exactly_its_keys(ctx):
    ctx.emit("validation", step=1, loss=0.5)
    for wrong in ({"kind": "validation", "step": 1}, {"kind": "validation", "step": 1, "loss": 1, "more": 1}, {"kind": "dance"}):
        with pytest.raises(ValueError):
            ctx.emit(**wrong)
    assert kinds(ctx) == ["validation"]


def test_no_event_holds_a_token(ctx):
    ctx.secrets = {"hf_token": Secret("an-odd-token-of-a-private-hub")}
    ctx.emit("failed", error="hf_abcdefghijklmnopqrstuvwxyz", hint="", trace="Bearer an-odd-token-of-a-private-hub")
    text = ctx.run.events_path.read_text()
    assert "abcdefghij" not in text
    assert "odd-token" not in text


@pytest.mark.slow
def test_steps_are_written_twice_a_second_and_at_the_end(ctx):
    assert ctx.step_due()
    written = []
    begun = time.monotonic()
    while time.monotonic() - begun < 1.2:
        written.append(ctx.step(len(written) + 1, 10**9, 0.5, 1e-4, 1.0, 1.0, 0))
        time.sleep(0.005)
    assert written[0]
    assert 2 <= sum(written) <= 4
    assert not ctx.step_due()
    assert ctx.step(10**9, 10**9, 0.5, 1e-4, 1.0, 1.0, 0)
    assert kinds(ctx).count("step") == sum(written) + 1


def test_a_phase_is_written_at_its_start_and_end(ctx):
    for name in ("encoding pictures", "encoding captions"):
        for done in range(1001):
            ctx.phase(name, done, 1000, "pictures")
    told = [(e["name"], e["done"]) for e in ctx.run.events()[0]]
    for name in ("encoding pictures", "encoding captions"):
        assert (name, 0) in told
        assert (name, 1000) in told
    assert len(told) < 20


def test_a_warning_is_said_once(ctx):
    for text in ("a", "b", "a"):
        ctx.warn(text)
    assert kinds(ctx) == ["warning", "warning"]


def test_commands_come_once_and_stop_stays(ctx):
    assert ctx.commands() == []
    for kind in ("save", "stop", "sample"):
        journal.append(ctx.run.control_path, {"t": 1.0, "kind": kind})
    assert ctx.stop_requested()
    assert [c["kind"] for c in ctx.commands()] == ["save", "sample"]
    assert ctx.commands() == []
    assert ctx.stop_requested()


def test_what_was_asked_of_an_earlier_attempt_is_not_asked_again(ctx):
    journal.append(ctx.run.control_path, {"t": 1.0, "kind": "stop"})
    later = Context(ctx.run, ctx.home, 2, control_cursor=journal.size_bytes(ctx.run.control_path))
    assert not later.stop_requested()
    assert ctx.stop_requested()


def test_what_was_read_but_not_given_out_is_heard_by_the_next_attempt(ctx):
    journal.append(ctx.run.control_path, {"t": 1.0, "kind": "save"})
    assert len(ctx.commands()) == 1 and ctx.cursor == (given := journal.size_bytes(ctx.run.control_path))
    journal.append(ctx.run.control_path, {"t": 2.0, "kind": "weigh"})
    assert not ctx.stop_requested() and ctx.cursor == given
    assert [c["kind"] for c in Context(ctx.run, ctx.home, 2, ctx.cursor).commands()] == ["weigh"]
    ctx.hear_from(whole := journal.size_bytes(ctx.run.control_path))
    assert ctx.commands() == [] and ctx.cursor == whole


def test_paths_stay_inside_the_run(ctx):
    assert ctx.path("samples", "000001_0.webp").parent.is_dir()
    for parts in (("..", "x"), ("/etc", "passwd"), ("a", "..", "..", "x")):
        with pytest.raises(ValueError, match="leads out"):
            ctx.path(*parts)


def test_what_only_a_follower_has_seen_is_warned_of_by_the_first_and_once(ctx):
    follower = Follower(ctx.run, ctx.home, 1)
    for text in ("Captions are cut", "A file is damaged", "Captions are cut"):
        follower.warn(text)
    assert kinds(ctx) == []
    told = []
    follower.ranks = type("Second", (Alone,), {"rank": 1, "world": 2, "gather": lambda self, value: told.append(value) or []})()
    follower.share_warnings()
    ctx.warn("Captions are cut")
    ctx.ranks = type("First", (Alone,), {"world": 2, "gather": lambda self, value: [value, *told]})()
    ctx.share_warnings()
    assert [e["text"] for e in ctx.run.events()[0]] == ["Captions are cut", "A file is damaged"]
    follower.share_warnings()
    assert told[1] == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="which file a handle is of is read from /proc")
def test_what_is_said_while_the_disk_does_not_answer_waits_for_it(ctx, monkeypatch):
    """The system's own write fails, as on a drive that was unplugged; what passes anyway is dropped, the rest is on record once it is back."""
    from training.runs import context

    write, fails = os.write, [3]

    def unplugged(handle, data):
        if fails[0] and os.path.realpath(f"/proc/self/fd/{handle}").endswith("events.jsonl"):
            fails[0] -= 1
            raise OSError(errno.EIO, "Input/output error")
        return write(handle, data)

    monkeypatch.setattr(context, "DISK_FULL_WAIT_S", 0.0)
    monkeypatch.setattr(os, "write", unplugged)
    ctx.phase("training", 1, 2, "steps")
    ctx.emit("checkpoint", step=1, path="checkpoints/000001")
    assert kinds(ctx) == ["checkpoint"] and fails == [0]
