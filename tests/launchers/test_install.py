"""`bash launchers/start.sh` on every state of the environment: real virtual environments, real pip, toy packages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import toy_torch, wheel

REPO = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="start.bat's own twin of these needs Windows")


def pip_ran(copy, before: str) -> bool:
    return "+ pip" in copy.log()[len(before) :]


@pytest.mark.slow
def test_first_start_installs_and_starts(ready):
    assert "app one [] " in ready.first.stdout
    assert "Ready after" in ready.first.stdout
    assert json.loads((ready.venv / "easel.json").read_text())["torch"] == "cpu"
    assert "+ pip install --require-hashes" in ready.log()


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
    ready.require(torch="2.13.0", tiny="2.0")
    assert "app two" in ready.start().stdout
    assert "Installing torch" not in ready.log()[len(before) :]
    ready.require(torch="2.13.0", tiny="1.0")
    assert "app one" in ready.start().stdout


def test_a_comment_in_the_requirements_reinstalls_nothing(ready):
    before = ready.log()
    (ready.root / "requirements.txt").write_text("# other words\ntiny==1.0\ntorch==2.13.0\n")
    lock = ready.root / "launchers" / "locks" / "app.txt"
    lock.write_text("# more words\n" + lock.read_text())
    assert ready.start().returncode == 0
    assert not pip_ran(ready, before)


@pytest.mark.slow
def test_a_half_installed_package_is_noticed_and_repaired(ready):
    # what a power cut inside pip leaves: no RECORD, a ~ folder of the package that was being replaced
    record = ready.site / "tiny-1.0.dist-info" / "RECORD"
    record.unlink()
    (ready.site / "tiny" / "__init__.py").unlink()
    (ready.site / "~iny").mkdir()
    third = ready.start()
    assert "app one" in third.stdout, third.stdout + third.stderr
    assert record.is_file() and not (ready.site / "~iny").exists()


@pytest.mark.slow
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
@pytest.mark.parametrize("moment", ["python -m venv", "+ pip install --no-deps", "+ pip install --require-hashes"])
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
    toy_torch(fresh.wheels, "cpu")
    wheel(fresh.wheels, "tiny", "1.0", {"tiny/__init__.py": "WORD = 'one'\n", "tiny/data.txt": "data\n"})
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
    assert "Easel needs Python 3.11 to 3.14" in refused.stderr
    assert ("this computer has Python 3.9.2" in refused.stderr) == bool(version)


def stand_in(path: Path, version: str, real: str) -> None:
    """A Python that says it is `version`: for the finders, and for install.py, which it runs with that version."""
    major_minor = tuple(int(n) for n in version.split(".")[:2])
    lie = f"import sys, platform; sys.version_info = {(*major_minor, 0, 'final', 0)}; platform.python_version = lambda: {version!r}; "
    path.write_text(
        f"""#!{shutil.which("bash")}
        [ "$1" = --version ] && echo "Python {version}" && exit 0
        if [ "$1" = -c ]; then shift; code=$1; shift; exec {real!r} -c "{lie}$code" "$@"; fi
        script=$1; shift
        exec {real!r} -c "{lie}import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')" "$script" "$@"
        """,
        encoding="utf-8",
    )
    path.chmod(0o755)


def test_a_python_that_the_packages_are_not_built_for_is_passed_over(tmp_path):
    """3.15 beside 3.12: the finder takes the right one, alone it is refused with a sentence, and its environment is replaced."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "cat", "readlink", "dirname"):
        (tools / tool).symlink_to(shutil.which(tool))
    ask = f". '{REPO}/launchers/find-python.sh'; find_python; echo $PYTHON"
    environment = {"PATH": str(tools), "HOME": str(tmp_path)}
    stand_in(tools / "python3", "3.15.0", sys.executable)
    if not any(Path(folder, f"python3.{minor}").exists() for folder in ("/usr/local/bin", "/opt/homebrew/bin") for minor in range(11, 15)):
        alone = subprocess.run(["bash", "-c", ask], env=environment, capture_output=True, text=True, check=False)
        assert alone.returncode == 1 and "needs Python 3.11 to 3.14; this computer has Python 3.15.0" in alone.stderr
    stand_in(tools / "python3.12", "3.12.4", sys.executable)
    both = subprocess.run(["bash", "-c", ask], env=environment, capture_output=True, text=True, check=False)
    assert both.stdout.strip() == "python3.12", both.stderr


@pytest.mark.slow
def test_an_environment_of_a_wrong_python_is_replaced(ready, tmp_path):
    refused = tmp_path / "python3.15"
    stand_in(refused, "3.15.0", sys.executable)
    answer = subprocess.run([refused, str(ready.root / "launchers" / "install.py"), "ensure", "--repair"], env=ready.environment(), capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and "PyTorch is not built for 3.15.0" in answer.stdout, answer.stdout + answer.stderr
    # an environment that such a Python had made before Easel knew better
    copy, configuration = ready.venv / "bin" / "python", ready.venv / "pyvenv.cfg"
    copy.unlink()
    copy.write_text(f"#!{shutil.which('bash')}\necho 3.15\n")
    copy.chmod(0o755)
    configuration.write_text("home = /usr\nversion = 3.15.0\n")
    again = ready.start()
    assert "is for Python 3.15; making a new one" in again.stdout and "app one" in again.stdout, again.stdout + again.stderr


def test_a_requirement_that_is_not_locked_is_said(ready):
    (ready.root / "requirements.txt").write_text("torch==2.13.0\ntiny==2.0\n")
    refused = ready.start()
    ready.require(torch="2.13.0", tiny="1.0")
    assert refused.returncode == 1 and "ask for tiny==2.0. Run: python launchers/lock.py" in refused.stdout


@pytest.mark.slow
def test_without_torchs_own_index_a_new_card_gets_the_plain_build_by_its_hash(ready):
    """A mirror of the package index alone is enough for cu130, and a torch that is not the locked one is not taken."""
    plain = ready.root / "torch-2.13.0-py3-none-any.whl"
    toy_torch(ready.wheels, "", cuda="12.0")  # somebody else's torch of that version
    refused = ready.start(EASEL_TORCH="cu130", EASEL_TORCH_INDEX="http://127.0.0.1:9")
    assert refused.returncode == 1 and "EASEL_TORCH_INDEX" in refused.stdout
    shutil.copy(plain, ready.wheels)
    try:
        done = ready.start(EASEL_TORCH="cu130", EASEL_TORCH_INDEX="http://127.0.0.1:9")
        assert done.returncode == 0 and "taking torch from the package index" in done.stdout, done.stdout
        assert "13.0" in (ready.site / "torch" / "version.py").read_text()
    finally:
        (ready.wheels / plain.name).unlink()


@pytest.mark.slow
def test_what_only_torchs_own_index_has_comes_from_there(ready):
    """torch for AMD needs triton-rocm, which the plain index does not have; without it the start fails, with it nothing is asked again."""
    index = ready.root / "index" / "rocm7.2"
    for name, version, more in (("torch", "2.13.0+rocm7.2", "Requires-Dist: triton-rocm==3.7.1\n"), ("triton_rocm", "3.7.1", "")):
        folder = index / name.replace("_", "-")
        folder.mkdir(parents=True)
        files = {"torch/version.py": f"__version__ = '{version}'\nhip: Optional[str] = '7.2.5'\n"} if name == "torch" else {"triton_rocm.py": ""}
        built = wheel(folder, name, version, files, more)
        (folder / "index.html").write_text(f'<a href="{built.name.replace("+", "%2B")}">{built.name}</a>')
    amd = {"EASEL_TORCH": "rocm7.2", "EASEL_TORCH_INDEX": (ready.root / "index").as_uri(), "PIP_NO_INDEX": "0"}
    done = ready.start(**amd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ready.site / "triton_rocm.py").is_file() and json.loads((ready.venv / "easel.json").read_text())["torch"] == "rocm7.2"
    before = ready.log()
    assert ready.start(**amd).returncode == 0
    assert not pip_ran(ready, before)
