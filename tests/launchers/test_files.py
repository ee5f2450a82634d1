"""The launchers' files that this system cannot run, read for the mistakes that break them elsewhere."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from app import flags
from launchers import packages, places
from ui.server import closing

REPO = Path(__file__).resolve().parent.parent.parent
LAUNCHERS = REPO / "launchers"
LOCKS = LAUNCHERS / "locks"


def test_the_batch_file_survives_every_path():
    raw = (LAUNCHERS / "start.bat").read_bytes()
    text = raw.decode("ascii")  # another code page would read other letters
    assert raw.count(b"\n") == raw.count(b"\r\n")  # cmd loses labels in files with bare line feeds
    assert "DisableDelayedExpansion" in text and "chcp 65001" in text
    for line in text.splitlines():
        assert not re.match(r"\s*call\s", line, re.IGNORECASE)  # call doubles every ^ in a path
        for use in re.finditer(r"%(HERE|EASEL_PYTHON)%", line):
            before = line[: use.start()]
            assert before.count('"') % 2 == 1, f"unquoted path: {line}"


def test_every_package_is_pinned_and_none_pulls_torchvision():
    pins = packages.pins(REPO / "requirements-dev.txt")
    assert pins["torch"] == "2.13.0" and pins["gradio"] == "6.31.0"
    assert not {"torchvision", "torchaudio", "timm"} & packages.locked([*LOCKS.glob("*.txt")])


def test_the_lock_holds_every_requirement_with_hashes():
    """python launchers/lock.py writes it; what it holds comes from anywhere, as long as the hash is right."""
    app, dev, cuda, tools = (LOCKS / f"{name}.txt" for name in ("app", "dev", "cu130", "tools"))
    wanted = packages.pins(REPO / "requirements.txt")
    assert packages.unlocked({"torch": wanted.pop("torch")}, [cuda]) == []
    assert packages.unlocked(wanted, [app]) == []
    more = {name: version for name, version in packages.pins(REPO / "requirements-dev.txt").items() if name not in wanted and name != "torch"}
    assert packages.unlocked(more, [dev]) == []
    assert packages.unlocked(packages.pins(LOCKS / "tools.in"), [tools]) == []
    for lock in LOCKS.glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        names = [line.split("==")[0] for line in text.splitlines() if line and line[0] not in "# "]
        assert len(names) > 1 and "://" not in text and "index" not in text.replace("package index", "")
        for name in names:
            assert "--hash=sha256:" in packages.entries(lock, {name}), f"{lock.name}: {name} has no hash"
    # a bare torch is a download of gigabytes where there is no card; install.py chooses it
    assert not {name for name in packages.locked([app, dev]) if name == "torch" or name.startswith(("nvidia-", "cuda-", "triton"))}
    assert not packages.locked([app]) & packages.locked([dev])


@pytest.mark.parametrize(
    ("said", "build"),
    [
        ("__version__ = '2.13.0+cu126'\ncuda: Optional[str] = '12.6'\nhip: Optional[str] = None\n", "cu126"),
        ("__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", "cu130"),
        ("__version__ = '2.13.0+rocm7.2'\ncuda: Optional[str] = None\nhip: Optional[str] = '7.2.53211'\n", "rocm7.2"),
        ("__version__ = '2.13.0a0'\ncuda: Optional[str] = None\nhip: Optional[str] = '7.1.5'\nxpu: Optional[str] = None\n", "rocm7.1"),
        ("__version__ = '2.13.0+xpu'\ncuda: Optional[str] = None\nxpu: Optional[str] = '20260000'\n", "xpu"),
        ("__version__ = '2.13.0'\ncuda: Optional[str] = None\nhip: Optional[str] = None\nxpu: Optional[str] = None\n", "cpu"),
    ],
)
def test_the_build_of_torch_is_read_from_its_version_file(tmp_path, said, build):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "version.py").write_text(said)
    assert packages.torch_build(tmp_path) == build


def test_a_path_that_windows_would_cut_is_said_before_anything_is_installed():
    fits = "C:\\" + "e" * 60  # with .venv and site-packages 63 letters are left for Easel's folder
    assert places.path_refusal(fits + r"\.venv\Lib\site-packages") == ""
    refused = places.path_refusal(fits + "eee" + r"\.venv\Lib\site-packages")
    assert "3 letters too long" in refused and r"C:\Easel" in refused


@pytest.mark.parametrize(
    ("machine", "system", "apple", "says"),
    [
        ("arm64", "15.1", True, ""),
        ("x86_64", "13.6", False, "has an Intel processor"),
        ("x86_64", "15.1", True, "this Python was built for Intel"),
        ("arm64", "13.6", True, "macOS 14"),
    ],
)
def test_a_mac_that_has_no_torch_is_told_why(machine, system, apple, says):
    refused = places.mac_refusal(machine, system, apple)
    assert says in refused and bool(says) == bool(refused)


def test_a_python_without_ensurepip_still_makes_an_environment(tmp_path, monkeypatch):
    """Colab's has venv and pip, Debian's may have only venv: pip is brought from outside."""
    there = {"venv", "pip"}
    monkeypatch.setattr(places, "has", lambda module: module in there)
    monkeypatch.setattr(places.shutil, "which", lambda name: None)
    [[make, bring]] = places.ways_to_make(tmp_path / "v", tmp_path / "v" / "bin" / "python", "pip==26.3")
    assert "--without-pip" in make and bring[-2:] == ["install", "pip==26.3"]
    subprocess.run(make, check=True)
    assert (tmp_path / "v" / "bin" / "python").exists()
    there.clear()
    assert places.ways_to_make(tmp_path / "v", tmp_path / "p", "pip") == []
    monkeypatch.setattr(places.shutil, "which", lambda name: "/usr/bin/uv")
    assert places.ways_to_make(tmp_path / "v", tmp_path / "p", "pip")[0][0][:2] == ["/usr/bin/uv", "venv"]


def test_every_finder_knows_the_same_pythons():
    assert places.fits("3.11") and places.fits("3.14") and not places.fits("3.15") and not places.fits("3.10") and not places.fits("")
    for name in ("start.bat", "find-python.sh"):
        assert "(3, 11) <= sys.version_info[:2] <= (3, 14)" in (LAUNCHERS / name).read_text(encoding="utf-8")
    assert "winget install --exact --id Python.Python.3.12" in (LAUNCHERS / "start.bat").read_text(encoding="utf-8")


def test_the_finder_can_start_it():
    command = LAUNCHERS / "start.command"
    assert os.access(command, os.X_OK) and "\r" not in command.read_text()
    listed = subprocess.run(["git", "ls-files", "-s", "launchers/start.command"], cwd=REPO, capture_output=True, text=True, check=False).stdout
    assert not listed or listed.startswith("100755")  # a ZIP of the repository keeps that bit


def test_the_menu_entry_starts_easel_from_any_path(nasty):
    repo = nasty / 'a "b" $HOME `x` 100% \\ c'
    (repo / "launchers").mkdir(parents=True)
    shutil.copy(LAUNCHERS / "desktop.sh", repo / "launchers")
    environment = {**os.environ, "XDG_DATA_HOME": str(nasty / "share")}
    subprocess.run(["bash", str(repo / "launchers" / "desktop.sh")], env=environment, check=True, capture_output=True)
    entry = (nasty / "share" / "applications" / "easel.desktop").read_text(encoding="utf-8")
    value = re.search(r"^Exec=bash (.*)$", entry, re.MULTILINE)[1]
    argument = value.replace("\\\\", "\\")  # the string's own escapes
    argument = re.sub(r"\\([\"`$\\])", r"\1", argument[1:-1]).replace("%%", "%")  # then those of a quoted argument
    assert argument == str(repo / "launchers" / "start.sh")


def test_the_guides_command_sends_what_a_space_needs_and_nothing_else():
    from huggingface_hub.utils import filter_repo_objects

    guide = (LAUNCHERS / "space" / "GUIDE.md").read_text(encoding="utf-8")
    first, second = re.search(r"^(hf upload .*)$", guide, re.MULTILINE)[1].split(" && ")
    assert shlex.split(first)[2:] == ["me/easel", "launchers/space/README.md", "README.md", "--repo-type", "space", "--private"]
    words = shlex.split(second)
    left_out = [word for before, word in itertools.pairwise(words) if before == "--exclude"]
    ours = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout.splitlines()
    private = [".venv/bin/python", ".easel/launcher.log", "outputs/cat/job.yaml", "datasets/me/me.png", "ui/__pycache__/x.pyc", ".pytest_cache/x"]
    sent = set(filter_repo_objects([*ours, *private], ignore_patterns=left_out))
    assert not sent & {*private, ".gitattributes", "README.md"}
    assert {"app.py", "requirements.txt", "presets/builtin/base/model_index.json"} <= sent
    assert {path for path in ours if path.startswith(("ui/", "training/", "captioning/", "presets/", "easel/"))} <= sent


def test_the_space_asks_for_the_versions_we_test():
    front = (LAUNCHERS / "space" / "README.md").read_text(encoding="utf-8").split("---")[1]
    pins = packages.pins(REPO / "requirements.txt")
    assert re.search(r"^sdk: gradio$", front, re.MULTILINE)
    assert re.search(rf"^sdk_version: {re.escape(pins['gradio'])}$", front, re.MULTILINE)
    assert re.findall(r"^  - (\S+)$", front, re.MULTILINE) == ["write-repos", "manage-repos", "gated-repos"]
    # gradio's own extras, which the Space's builder adds, take no later one
    assert tuple(int(n) for n in pins["pydantic"].split(".")) <= (2, 12, 5)
    assert (REPO / re.search(r"^app_file: (\S+)$", front, re.MULTILINE)[1]).is_file()


def test_the_image_is_for_todays_cards_and_its_commands_run_as_printed():
    text = (LAUNCHERS / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG TORCH=cu130$", text, re.MULTILINE) and re.search(r"^HEALTHCHECK .*urlopen", text, re.MULTILINE)
    command = shlex.split(re.search(r"^#\s+(docker run .*)$", text, re.MULTILINE)[1])
    assert command[-1] == "easel"  # what stands behind the image's name goes to app.py
    assert {"--gpus", "--init", "--stop-timeout"} <= set(command)
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])
    flags().parse_args(entry[2:])
    compose = yaml.safe_load((LAUNCHERS / "compose.yaml").read_text(encoding="utf-8"))["services"]["easel"]
    assert compose["init"] and compose["stop_grace_period"] == "2m" and closing.STOP_S < 120
    assert (LAUNCHERS / compose["build"]["context"] / compose["build"]["dockerfile"]).is_file()
    notice = (REPO / "NOTICE").read_text(encoding="utf-8")
    assert all(word in notice for word in ("x264", "x265", "pillow-heif", "GNU General Public License"))


def test_the_default_test_run_leaves_out_the_slow_ones():
    settings = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert "not slow and not browser" in settings["addopts"]
    assert "launchers/test.sh" in (REPO / ".ci" / "run").read_text(encoding="utf-8")
