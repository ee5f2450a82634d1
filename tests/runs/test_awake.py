"""The computer is kept from sleeping as long as a training runs, and no longer; where that cannot be, the training runs all the same."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from training.home import REPO
from training.runs import awake

from .conftest import until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the system's helpers of Linux and macOS")
NAME = "caffeinate" if sys.platform == "darwin" else "systemd-inhibit"


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """helper(script): the system's helper is this script; all that it is told goes to the file 'told'."""

    def put(body: str):
        path = tmp_path / "bin" / NAME
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "told"

    return put


def test_sleep_is_held_off_inside_and_no_longer(helper, tmp_path):
    told = helper(f"cat; echo over >> {tmp_path}/told")
    with awake.held() as said:
        assert until(told.exists, 10) and NAME in said() and "is held off" in said()
        assert "over" not in told.read_text()
    assert until(lambda: "over" in told.read_text(), 10)


def test_a_helper_that_cannot_is_said_and_stops_nothing(helper):
    helper("echo 'Failed to connect to bus' >&2; exit 1")
    with awake.held() as said:
        assert until(lambda: "not held off: Failed to connect to bus" in said(), 10)


def test_where_there_is_no_helper_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with awake.held() as said:
        assert "has neither" in said()


def test_a_training_that_is_killed_keeps_nobody_awake(helper, tmp_path):
    told = helper(f"cat; echo over >> {tmp_path}/told")
    script = "import os, signal, time\nfrom training.runs import awake\nwith awake.held():\n    print('in', flush=True)\n    time.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=REPO, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n" and until(told.exists, 10)
    process.kill()
    process.wait()
    assert until(lambda: "over" in told.read_text(), 10)
