"""A run on another machine through a real ssh server: whole, through a lost network, stopped, killed there; and what cannot be reached."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time

import pytest

from tests import tiny
from tests.runs.conftest import until
from training import jobfile, registry
from training.away.place import Refused, Unreachable
from training.away.secure_shell import Gone, Host
from training.cloud import ssh
from training.config import PlacePart
from training.runs import supervisor
from training.runs.context import Context
from training.runs.run import Run, create

GATED = """
import os, time
from training.config import Part
TITLE, BLURB, USES, Options = "Gated", "Waits in its second step while a file is there.", (), Part
def bytes_per_weight(options): return 0.0
def make(groups, config, options):
    import torch
    class Gated(torch.optim.SGD):
        steps = 0
        def step(self, closure=None):
            self.steps += 1
            while self.steps == 2 and os.path.exists({gate!r}):
                time.sleep(0.02)
            return super().step(closure)
    return Gated(groups, lr=config.learning_rate)
"""


@pytest.fixture
def gate(home, tmp_path):
    """While this file is there, a run waits in its second step: an optimizer of the home's own, which goes along."""
    (home.plugins / "optimizers").mkdir(parents=True)
    (home.plugins / "optimizers" / "gated.py").write_text(GATED.format(gate=str(tmp_path / "gate")))
    (tmp_path / "gate").touch()
    return tmp_path / "gate"


def made(home, tmp_path, options, **changes) -> Run:
    base, pictures = tiny.sd15(tmp_path / "base"), tiny.pictures(tmp_path / "pictures", 2)
    job = tiny.train_job(base, pictures, optimizer__type="gated", save__every=2, sample__every=6, place__kind="ssh", place__options=options, **changes)
    return create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, job))


def there(desk) -> list:
    """The folders of runs on the other machine."""
    return list(desk.home.glob(".easel-away/runs/*/outputs/run"))


def in_its_second_step(run: Run) -> bool:
    """Its first step came from there in this attempt, or it is over."""
    return run.view().first_step_t > 0 or run.status() != "running"


@pytest.mark.slow
def test_a_run_is_stopped_there_and_cut_off_and_comes_home_the_same(desk, home, gate, tmp_path):
    run = made(home, tmp_path, desk.options)
    supervisor.start(run, home)
    assert not supervisor.uses_gpu(run)
    assert until(lambda: in_its_second_step(run), 90) and run.status() == "running", run.log_tail()
    run.command("stop")
    [folder] = there(desk)
    assert until(lambda: "stop" in (folder / "control.jsonl").read_text() if (folder / "control.jsonl").exists() else False)
    gate.unlink()
    assert until(lambda: run.status() == "stopped", 60), run.log_tail()
    assert [step for step, _ in run.checkpoints()] == [2] and os.listdir(desk.home) == [], "what it goes on from is here, and nothing stays there"

    gate.touch()
    supervisor.start(run, home)
    assert until(lambda: in_its_second_step(run), 90) and run.status() == "running", run.log_tail()
    assert run.view().first_step == 3, "it goes on there from what came home"
    desk.off()
    assert until(lambda: "cannot be reached" in run.view().phase or run.status() != "running", 60)
    gate.unlink()
    desk.on()
    assert until(lambda: run.status() == "finished", 90), (run.view().error, run.log_tail())
    assert os.listdir(desk.home) == [] and not desk.workers()
    view = run.view()
    assert view.step == 6 and [step for step, *_ in view.samples][-1] == 6 and all((run.path / path).is_file() for _, _, _, path, _ in view.samples)
    assert (run.path / "README.md").is_file() and not list(run.path.rglob("*.part"))

    here = create(home.outputs, run.config().model_copy(update={"place": PlacePart()}))
    registry.get("jobs", "train").run(here.config(), Context(here, home, 1))
    assert hashlib.sha256(run.result().read_bytes()).digest() == hashlib.sha256(here.result().read_bytes()).digest()


@pytest.mark.slow
def test_a_run_that_is_killed_there_says_so_and_leaves_nothing(desk, home, gate, tmp_path):
    run = made(home, tmp_path, desk.options)
    supervisor.start(run, home)
    assert until(lambda: any((folder / "events.jsonl").exists() for folder in there(desk)) or run.status() != "running", 90), run.log_tail()
    [worker] = desk.workers()
    worker.kill()
    assert until(lambda: run.status() == "failed", 60), run.log_tail()
    said = run.view()
    assert said.error.startswith("On desk: It ended without a word") and "Resume" in said.hint and os.listdir(desk.home) == []


@pytest.mark.slow
def test_half_an_upload_goes_on_where_it_was(desk, tmp_path):
    host, data = Host("desk", python=sys.executable), os.urandom(8 << 20)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(b"b")
    files = {"inner/a ö'.bin": (tmp_path / "a", hashlib.sha256(data).hexdigest(), len(data)), "b": (tmp_path / "b", hashlib.sha256(b"b").hexdigest(), 1)}
    root = f"{desk.home}/half"

    def cut(text, share):
        if share > 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        host.put(root, files, cut, "sending")
    part = desk.home / "half" / ".parts" / files["inner/a ö'.bin"][1]
    assert until(lambda: part.is_file() and part.stat().st_size > 1 << 20, 10), "some of it is there"
    shares = []
    host.put(root, files, lambda text, share: shares.append(share), "sending")
    assert (desk.home / "half" / "inner" / "a ö'.bin").read_bytes() == data and (desk.home / "half" / "b").read_bytes() == b"b"
    assert shares[0] > 0.1, "it did not begin anew"
    assert not (desk.home / "half" / ".parts").exists()
    shares.clear()
    host.put(root, files, lambda text, share: shares.append(share), "sending")
    assert shares == [], "what is there is not sent again"
    (desk.home / "half" / "b").write_bytes(b"x")
    host.put(root, files, lambda text, share: None, "sending")
    assert (desk.home / "half" / "b").read_bytes() == b"b"
    subprocess.run(["rm", "-r", root], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("locked", "does not take your key"),
        ("stranger", "is not known to this computer yet. Connect once in a terminal"),
    ],
)
def test_a_wrong_key_and_an_unknown_host_are_refused(desk, host, says):
    assert says in ssh.ready(ssh.Options(host=host))
    with pytest.raises(Refused, match=says):
        ssh.send(None, ssh.Options(host=host), {"id": "0" * 16}, lambda text, share: None)


@pytest.mark.slow
def test_another_host_key_than_before_is_refused(desk):
    known = desk.root / "known"
    before = known.read_text()
    known.write_text(f"[127.0.0.1]:{desk.port} {(desk.root / 'other.pub').read_text()}")
    try:
        with pytest.raises(Refused, match="another host key than before"):
            Host("desk").receiving("probe")
    finally:
        known.write_text(before)


@pytest.mark.slow
def test_a_python_that_is_not_there_and_a_network_that_is_away(desk):
    with pytest.raises(Refused, match="desk has no /no/python3"):
        Host("desk", python="/no/python3").receiving("probe")
    with pytest.raises(Unreachable):
        Host("127.0.0.1", port=1).receiving("probe")
    begun = time.monotonic()
    assert ssh.ready(ssh.Options(host="desk", python=sys.executable)) == "" and time.monotonic() - begun < 10
    [machine] = ssh.machines(ssh.Options(host="desk", python=sys.executable, price_per_hour=0.5))
    assert machine.price_per_hour == 0.5 and machine.ram_bytes > 0


@pytest.mark.parametrize(
    "options",
    [
        {"host": "-oProxyCommand=touch x"}, {"host": "a b"}, {"host": "desk;id"}, {"host": "$(id)"}, {"host": "me@desk"}, {"host": "desk\nHost x"}, {"host": "desk", "user": "-l"},
        {"host": "desk", "user": "a b"}, {"host": "desk", "folder": "/etc"}, {"host": "desk", "folder": "../up"}, {"host": "desk", "folder": "a;id"}, {"host": "desk", "easel": "$(id)"},
        {"host": "desk", "python": "python3 -c 'x'"}, {"host": "desk", "python": "-x"}, {"host": "desk", "port": 70000}, {"host": "desk", "hots": "x"},
    ],
)  # fmt: skip
def test_what_ssh_or_a_shell_could_take_for_something_else_is_refused(options):
    with pytest.raises(ValueError):
        ssh.Options.model_validate(options)


@pytest.mark.slow
def test_what_is_said_there_reaches_it_as_it_is(desk):
    odd = ["a b", "$(id)", "`id`", "'", '"', ";", "&&", "\\", "*", "ö日", "-x"]
    said = Host("desk", python=sys.executable).run([sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))", *odd])
    assert said.decode().strip() == ascii(odd)


def test_a_folder_that_is_gone_there_is_told_from_every_other_fault():
    host = Host("desk")
    there = host._line(["sh", "-c", "exit 3"], "/no/such folder")[-1]
    assert subprocess.run(["sh", "-c", there], capture_output=True, check=False).returncode == 96
    assert subprocess.run(["sh", "-c", host._line(["sh", "-c", "exit 3"], "/")[-1]], capture_output=True, check=False).returncode == 3
    assert isinstance(host._fault(96, b"sh: cd: no such folder"), Gone) and not isinstance(host._fault(3, b"x"), Gone)


@pytest.mark.slow
def test_what_somebody_removed_there_is_gone_and_can_be_ended(desk):
    options = ssh.Options.model_validate(desk.options)
    handle = {"id": "a" * 16, "root": f"{desk.home}/.easel-away", "folder": f"{desk.home}/.easel-away/runs/easel-{'a' * 16}", "code": f"{desk.home}/.easel-away/code-1", "python": sys.executable, "set_up": True}
    assert ssh.look(handle, options, 7).status == "gone" and ssh.look(handle, options, 7).offset == 7
    with pytest.raises(Gone):
        ssh.tell(handle, options, '{"kind": "stop"}')
    assert ssh.end(handle, options) == ""


@pytest.mark.slow
def test_what_was_given_up_while_it_was_sent_is_removed(desk, tmp_path):
    half = desk.home / ".easel-away" / "runs" / f"easel-{'a' * 16}" / ".parts"
    half.mkdir(parents=True)
    (half / "part").write_bytes(b"x")
    other = desk.home / ".easel-away" / "runs" / f"easel-{'b' * 16}"
    other.mkdir()
    options = ssh.Options.model_validate(desk.options)
    assert ssh.end({"id": "a" * 16}, options) == "" and os.listdir(other.parent) == [other.name], "another run there is left alone"
    assert ssh.end({"id": "b" * 16}, options) == "" and os.listdir(desk.home) == []
