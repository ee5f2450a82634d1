"""A message when a run ends: what it says, where it may go, and that nothing of it reaches a job, a report or another's eyes."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.runs.conftest import ended, make, until
from tests.ui import story
from training.runs import journal, supervisor, telling, tellside

SECRET = "a-topic-that-nobody-guesses"


@pytest.fixture
def chat():
    """A server on this computer that keeps what it is told: chat.heard, [(path, headers, body)]; it answers with chat.status."""

    class Hears(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.heard.append((self.path, dict(self.headers), body))
            self.send_response(self.server.status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words):
            return

    server = HTTPServer(("127.0.0.1", 0), Hears)
    server.heard, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("kind", "url", "says"),
    [
        ("ntfy", "http://ntfy.example/x", "must begin with https"), ("ntfy", "https://ntfy.example", "ends with a topic"), ("webhook", "https://me:word@chat.example/x", "name and a password"),
        ("webhook", "ftp://chat.example/x", "must begin with https"), ("webhook", "https://chat.example/a b", "is none"), ("webhook", "https://[::1/x", "is none"), ("webhook", "", "type the address"),
        ("pigeon", "https://chat.example/x", "not by 'pigeon'"),
    ],
)  # fmt: skip
def test_where_a_message_cannot_go_is_said_without_the_address(kind, url, says):
    with pytest.raises(ValueError, match=says) as refused:
        telling.checked(kind, url)
    assert not url or url not in str(refused.value)


def test_the_address_is_kept_for_its_owner_alone_and_shown_without_what_is_secret(home, chat):
    assert telling.load(home) is None
    kept = telling.save(home, "webhook", chat.url)
    assert telling.load(home) == kept and SECRET not in kept.shown and SECRET not in repr(kept) and "127.0.0.1" in kept.shown
    path = home.root / ".easel" / "telling.json"
    assert os.name == "nt" or path.stat().st_mode & 0o077 == 0
    path.write_text('{"kind": "webhook", "url": "http://far.example/x"}')
    assert telling.load(home) is None, "nor by hand"
    telling.forget(home)
    assert not path.exists()


@pytest.mark.slow
def test_what_is_said_is_little_and_ours(home, chat):
    done = story.run(home, 100, "finished", name="my cät")
    broken = story.run(home, 60, "failed", name="dog", error="The disk is full (12 MB are free at /home/anna/secret).")
    for kind in telling.KINDS:
        for run, status in ((done, "finished"), (broken, "failed")):
            telling.send(telling.checked(kind, chat.url), telling.of_run(run, status))
    (p1, h1, b1), (_, h2, b2), (_, _, b3), (_, _, b4) = chat.heard
    assert p1 == f"/{SECRET}" and b1.decode().startswith("It is done after 100 steps, in ")
    assert h1["Title"].startswith("=?utf-8?") and h2["Title"] == "dog: failed" and h2["Priority"] == "4"
    assert json.loads(b3)["run"] == "my cät" and json.loads(b3)["state"] == "finished" and json.loads(b4)["step"] == 60 and json.loads(b4)["text"] == json.loads(b4)["content"]
    assert "(E-201)" in b2.decode() and not any(b"anna" in body or b"secret" in body for _, _, body in chat.heard), "no sentence of the run itself, which may name places"


@pytest.mark.parametrize(("status", "says"), [(404, "answered with 404"), (302, "sends on to another address")])
def test_a_message_that_does_not_arrive_is_said_without_the_address(chat, status, says):
    chat.status = status
    with pytest.raises(ValueError, match=says) as failed:
        telling.send(telling.checked("ntfy", chat.url), telling.trial())
    assert SECRET not in str(failed.value) and len(chat.heard) == 1


@pytest.mark.slow
def test_it_is_tried_again_then_said_once_and_the_run_is_as_it_was(home, chat):
    telling.save(home, "ntfy", chat.url)
    run = story.run(home, 100, "finished")
    before = run.events_path.read_bytes()
    chat.status = 500
    tellside.folder(home).mkdir()
    told = tellside.wait_and_tell(run, home, 0, pauses_s=(0, 0))
    assert "answered with 500" in told.why and len(chat.heard) == 2 and tellside.last_trouble(home) == told.why
    assert run.events_path.read_bytes() == before and SECRET not in (tellside.folder(home) / f"{run.id}.json").read_text()
    chat.status = 200
    assert tellside.wait_and_tell(run, home, 0, pauses_s=(0,)).why == "" and tellside.last_trouble(home) == ""
    assert tellside.wait_and_tell(story.run(home, 20, "stopped", name="b"), home, 0) is None, "who stopped it knows"


def test_how_long_it_took_is_told_from_its_first_attempt_on(home):
    run = story.run(home, 2, "finished")
    assert telling.of_run(run, "finished").sentence == "It is done after 2 steps, in 2 s."
    first = {**run.last("started"), "t": run.last("started")["t"] - 7200}
    run.events_path.write_bytes(journal.line(first) + run.events_path.read_bytes())
    assert telling.of_run(run, "finished").sentence == "It is done after 2 steps, in 2 h 0 min, pauses included."


def test_a_run_that_goes_on_by_itself_was_not_cut_off(home, chat):
    telling.save(home, "ntfy", chat.url)
    run = story.run(home, 2)
    tellside.folder(home).mkdir()
    assert tellside.wait_and_tell(run, home, 0, pauses_s=(0,), settle_s=0).why == "" and len(chat.heard) == 1
    again = {"t": 2.0, "kind": "started", "pid": 2**30, "attempt": 2, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"}
    threading.Timer(0.05, lambda: journal.append(run.events_path, again)).start()
    assert tellside.wait_and_tell(run, home, 0, pauses_s=(0,), settle_s=60) is None and len(chat.heard) == 1


@pytest.mark.slow
def test_a_training_that_fails_is_told_of_by_a_process_of_its_own(workshop, chat):
    telling.save(workshop, "webhook", chat.url)
    short, training = make(workshop, name="short"), story.run(workshop, None)
    assert supervisor.start(short, workshop) == "started" and ended(short) == "finished"
    assert until(lambda: not short.locked())
    assert supervisor.start(training, workshop) == "started" and ended(training, 120) == "failed", "its pictures are not there"
    assert until(lambda: chat.heard, 60)
    assert [json.loads(body)["run"] for _, _, body in chat.heard] == ["my-zibbo"], "a job that was over at once is not worth a message"
    assert SECRET not in training.log_tail() and SECRET not in (training.path / "job.yaml").read_text()
