"""Several processes, started as a person does: why they ended is said by the one it happened to, and Stop is the user's alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.runs.conftest import ended, make, until
from training.engine import launching
from training.home import REPO
from training.runs import rank, supervisor
from training.runs.context import Context, Follower
from training.runs.ranks import Alone
from training.runs.worker import LOST

posix = pytest.mark.skipif(os.name == "nt", reason="needs signals")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where the processes' temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_where_the_run_goes_on_the_launcher_is_told_how_far_the_first_one_heard_commands(workshop, tmp_path, monkeypatch):
    run = make(workshop)
    folders = [tmp_path / "ranks" / "attempt_0" / str(number) for number in range(2)]
    for folder, ctx in zip(folders, (Context(run, workshop, 1, 17), Follower(run, workshop, 1, 17)), strict=True):
        folder.mkdir(parents=True)
        ctx.ranks = type("One", (Alone,), {"rank": int(folder.name), "world": 2})()
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))
        rank.leave_note(ctx, LOST)
        assert (launching.heard_in(folder) == 17) == (folder.name == "0")
    assert launching.heard_in(tmp_path) == 17 and launching.heard_in(folders[1]) is None


@pytest.mark.slow
@posix
def test_a_failure_while_another_one_prepares_is_no_stop_and_what_could_not_be_exchanged_is_said(workshop, scratch):
    wrong, mute = make(workshop, "paired", how="value"), make(workshop, "paired", how="backend", name="mute")
    for run in (wrong, mute):  # at once: most of it is waiting
        supervisor.start(run, workshop)
    for run in (wrong, mute):
        assert ended(run, 90) == "failed", run.log_tail()
        assert until(lambda run=run: not run.locked())
    assert wrong.view().error.startswith("Process 2 of 2 failed, so the others were ended too: the picture 'a.png' is broken; ")
    assert "ValueError" in wrong.view().trace and "hf_" not in wrong.log_tail()
    assert mute.view().error == "The processes could not exchange their gradients: Invalid scalar type"
    assert "Traceback" in mute.log_tail() and "Lost" in mute.view().trace
    assert not list(scratch.glob("*"))


@pytest.mark.slow
@posix
def test_stop_is_heard_by_processes_that_prepare_and_by_who_waits_for_other_computers(workshop, scratch):
    both = make(workshop, "paired", how="waits")
    supervisor.start(both, workshop)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lonely = make(workshop, "paired", how="waits", name="lonely", gpus=1, rdzv=f"127.0.0.1:{port}")
    supervisor.start(lonely, workshop)
    assert until(lambda: lonely.view().phase == "waiting for the other computers" and both.view().phase == "encoding", 60), lonely.log_tail()
    for run in (both, lonely):
        run.command("stop")
        assert ended(run, 30) == "stopped", run.log_tail()
        assert until(lambda run=run: not run.locked())
    assert not list(scratch.glob("*"))


def test_a_process_whose_launcher_is_gone_ends_at_once(home):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    made = subprocess.run([sys.executable, "-m", "training.runs.rank", home.root, "", "0", "0", str(gone.pid)], check=False, cwd=REPO, timeout=60, capture_output=True)
    assert made.returncode == LOST, made.stderr


def failures(tmp_path: Path, *of: tuple[int, dict | None]):
    """The launcher's own error, of processes that ended with these codes and left these words."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    made = {}
    for number, (code, word) in enumerate(of):
        file = tmp_path / f"{number}.json"
        if word:
            file.write_text(json.dumps(word))
        made[number] = ProcessFailure(number, 1, code, str(file))
    return ChildFailedError("rank", made)


def test_why_names_the_one_that_began_it(tmp_path):
    def told(*of, nodes=1):
        return launching.why(failures(tmp_path, *of), len(of), launching.Nodes(nodes), "cuda", False)[0]

    word = {"message": "NCCL error: unhandled system error", "hint": "", "trace": "", "timestamp": 1}
    assert told((-9, None), (LOST, word)) == "The processes could not exchange their gradients: NCCL error: unhandled system error", "the other one was ended half a minute later"
    assert told((LOST, word), (LOST, word | {"message": "closed", "timestamp": 2})).endswith("unhandled system error")
    assert "another computer" in told((LOST, word), nodes=2)


def test_a_cards_memory_is_no_other_ones_end():
    import torch

    from training.engine.ranks import _lost
    from training.runs.ranks import Lost

    with pytest.raises(torch.OutOfMemoryError), _lost():
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(Lost, match="NCCL"), _lost():
        raise RuntimeError("NCCL error")
