"""`bash launchers/start.sh` on every state of the environment: real virtual environments, real pip, toy packages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from .conftest import wheel

pytestmark = pytest.mark.skipif(os.name == "nt", reason="start.bat's own twin of these needs Windows")


def pip_ran(copy, before: str) -> bool:
    return "+ pip" in copy.log()[len(before) :]


def test_first_start_installs_and_starts(ready):
    assert "app one [] " in ready.first.stdout
    assert "Ready after" in ready.first.stdout
    assert json.loads((ready.venv / "easel.json").read_text())["torch"] == "cpu"
    assert "+ pip install -r" in ready.log()


def test_second_start_installs_nothing_and_is_quick(ready):
    before = ready.log()
    began = os.times()
    second = ready.start("--port", "7 861", "--flag=ä'&", cwd=ready.wheels, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    ended = os.times()
    # seconds of processor, not of the clock: other tests may share the machine
    assert ended.children_user + ended.children_system - began.children_user - began.children_system < 2
    assert second.returncode == 0
    # flags arrive as they were typed, in the folder the person called from
    assert second.stdout == f"app one ['--port', '7 861', \"--flag=ä'&\"] {ready.wheels}\n"
    assert not pip_ran(ready, before)


@pytest.mark.slow
def test_changed_requirements_are_installed_alone(ready):
    before = ready.log()
    (ready.root / "requirements.txt").write_text("torch==2.13.0\ntiny==2.0\n")
    assert "app two" in ready.start().stdout
    assert "Installing torch" not in ready.log()[len(before) :]
    (ready.root / "requirements.txt").write_text("# pins\ntorch==2.13.0\ntiny==1.0\n")
    assert "app one" in ready.start().stdout


def test_a_comment_in_the_requirements_reinstalls_nothing(ready):
    before = ready.log()
    (ready.root / "requirements.txt").write_text("# other words\ntiny==1.0\ntorch==2.13.0\n")
    assert ready.start().returncode == 0
    assert not pip_ran(ready, before)


def test_a_half_installed_package_is_noticed_and_repaired(ready):
    # what a power cut inside pip leaves: no RECORD, a ~ folder of the package that was being replaced
    record = ready.site / "tiny-1.0.dist-info" / "RECORD"
    record.unlink()
    (ready.site / "tiny" / "__init__.py").unlink()
    (ready.site / "~iny").mkdir()
    third = ready.start()
    assert "app one" in third.stdout, third.stdout + third.stderr
    assert record.is_file() and not (ready.site / "~iny").exists()


def test_a_package_that_lost_its_files_is_repaired_at_the_failed_start(ready):
    (ready.site / "tiny" / "__init__.py").write_text("")  # a truncated file: RECORD still says it is whole
    again = ready.start()
    assert "its environment is damaged" in again.stdout and "app one" in again.stdout
    assert "Installing torch" not in again.stdout


@pytest.mark.slow
def test_repair_checks_files_that_nobody_imports(ready):
    (ready.site / "tiny" / "data.txt").unlink()
    assert "tiny is damaged" in ready.start("--repair").stdout
    assert (ready.site / "tiny" / "data.txt").read_text() == "data\n"


@pytest.mark.slow
def test_a_graphics_card_that_appears_brings_its_torch_and_one_that_vanishes_changes_nothing(ready):
    assert "Installing torch 2.13.0 for cu126" in ready.start(EASEL_TORCH="cu126").stdout
    assert "12.6" in (ready.site / "torch" / "version.py").read_text()
    before = ready.log()
    assert ready.start(EASEL_TORCH="cpu").returncode == 0
    assert not pip_ran(ready, before)


@pytest.mark.slow
def test_dev_packages_come_on_top_and_stay(ready):
    python = [sys.executable, str(ready.root / "launchers" / "install.py")]
    subprocess.run([*python, "ensure", "--dev"], env=ready.environment(), check=True, capture_output=True)
    assert (ready.site / "more.py").is_file()
    before = ready.log()
    assert ready.start().returncode == 0
    subprocess.run([*python, "ensure", "--dev"], env=ready.environment(), check=True, capture_output=True)
    assert not pip_ran(ready, before)


@pytest.mark.slow
def test_a_broken_environment_is_made_anew(ready):
    python = ready.venv / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    again = ready.start()
    assert "does not run; making a new one" in again.stdout and "app one" in again.stdout


@pytest.mark.slow
def test_the_folder_may_be_moved(ready):
    moved = ready.root.with_name("moved here")
    ready.root.rename(moved)
    try:
        again = subprocess.run(
            ["bash", str(moved / "launchers" / "start.sh")],
            env=ready.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "app one" in again.stdout
        assert "Installing torch" not in again.stdout  # what is right is not installed again
    finally:
        moved.rename(ready.root)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["python -m venv", "+ pip install --no-deps", "+ pip install -r"])
def test_an_interrupted_first_installation_goes_on(fresh, moment):
    """Killed without a word in the middle; the next start ends complete."""
    process = subprocess.Popen(
        ["bash", str(fresh.root / "launchers" / "start.sh")], env=fresh.environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    log = fresh.root / ".easel" / "launcher.log"
    while time.monotonic() < deadline:
        if (moment == "python -m venv" and fresh.venv.exists()) or (log.is_file() and moment in fresh.log()):
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (fresh.venv / "easel.json").exists()
    again = fresh.start()
    assert again.returncode == 0 and "app one" in again.stdout, again.stdout + again.stderr


def test_two_launchers_do_not_install_at_once(fresh):
    pytest.importorskip("fcntl")
    import fcntl

    (fresh.root / ".easel").mkdir()
    with (fresh.root / ".easel" / "launcher.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            ["bash", str(fresh.root / "launchers" / "start.sh")],
            env=fresh.environment(),
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert "Another launcher is installing Easel; waiting for it" in waiting.stdout.readline()
        assert not fresh.venv.exists()
        waiting.terminate()
        waiting.wait()


def test_a_folder_that_is_no_environment_is_left_alone(fresh, tmp_path):
    precious = tmp_path / "documents"
    precious.mkdir()
    (precious / "novel.txt").write_text("chapter 1")
    refused = fresh.start(EASEL_VENV=str(precious))
    assert refused.returncode == 1 and "is not a virtual environment" in refused.stdout
    assert (precious / "novel.txt").read_text() == "chapter 1"


@pytest.mark.slow
def test_no_way_to_the_packages_is_one_sentence(fresh):
    shutil.rmtree(fresh.wheels)
    fresh.wheels.mkdir()
    offline = fresh.start(
        PIP_NO_INDEX="0",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        EASEL_TORCH_INDEX="http://127.0.0.1:9",
        PIP_RETRIES="0",
        PIP_FIND_LINKS="",
    )
    assert offline.returncode == 1
    assert "cannot be reached" in offline.stdout and "Traceback" not in offline.stdout + offline.stderr
    # and when it is there again, the next start goes on
    for name, version, files in (
        ("torch", "2.13.0+cpu", {"torch/version.py": "cuda = None\n"}),
        ("tiny", "1.0", {"tiny/__init__.py": "WORD = 'one'\n"}),
    ):
        wheel(fresh.wheels, name, version, files)
    assert "app one" in fresh.start().stdout


@pytest.mark.parametrize("version", ["", "import sys; sys.version_info = (3, 9, 2)\n"])
def test_without_a_new_enough_python_there_is_a_sentence(fresh, tmp_path, version):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "readlink", "dirname", "cat"):
        (tools / tool).symlink_to(shutil.which(tool))
    if version:  # an old Python, as far as the launcher can tell
        old = tools / "python3"
        old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
        old.chmod(0o755)
        (tools / "sh").symlink_to(shutil.which("sh"))
    refused = fresh.start(PATH=str(tools), EASEL_PYTHON="")
    assert refused.returncode == 1
    assert "Easel needs Python 3.11 or newer" in refused.stderr
    assert ("this computer has Python 3.9.2" in refused.stderr) == bool(version)
