"""Easel as a package: what the wheel holds, what it asks for, and that it works where there is no checkout."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

import hatch_build
from easel import _entry, _rooms
from launchers import places, release
from training.home import Home, data_folder
from training.version import VERSION

REPO = Path(__file__).resolve().parents[2]
JOB = """
kind: train
name: toy
trigger: zibbo
steps: 2
model: {family: sd15, source: builtin, dtype: fp32}
data: {datasets: [{name: %s}], resolutions: [64], batch_size: 1}
adapter: {rank: 2}
sample: {prompts: []}
keep: {"on": false}
"""


def test_what_asks_for_torch_is_left_to_the_extra():
    """By what the installed packages say of themselves: else a plain `pip install` would bring CUDA's torch to every computer."""
    page, training = hatch_build.divided((REPO / "requirements.txt").read_text(encoding="utf-8"))
    names = [re.match(r"[\w.-]+", line)[0] for line in [*page, *training]]
    assert len(names) == len(set(names)) > 20 and all("==" in line for line in [*page, *training])
    asks = {
        name
        for name in names
        if any(re.match(r"torch\b", asked) and "extra" not in asked for asked in importlib.metadata.requires(name) or [])
    }
    assert asks | {"torch"} == hatch_build.BRINGS_TORCH


def test_the_readme_stands_alone():
    text = hatch_build.on_its_own((REPO / "README.md").read_text(encoding="utf-8"))
    assert "Six steps" in text and not re.findall(r"\]\((?!http|#)", text)


def test_the_wheel_takes_the_pythons_that_the_launchers_take():
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest, newest = places.OLDEST, places.NEWEST
    assert project["requires-python"] == f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    told = [c.rpartition(" ")[2] for c in project["classifiers"] if c.startswith("Programming Language :: Python :: 3.")]
    assert told == [f"3.{minor}" for minor in range(oldest[1], newest[1] + 1)]


def test_the_changelog_has_this_version():
    release.check((REPO / "CHANGELOG.md").read_text(encoding="utf-8"), VERSION)


def test_a_release_needs_tag_version_and_changelog_to_agree():
    log = "# Changes\n\n## 1.2.0 (2026-03-01)\n\n- Better.\n\n## 1.1.0 (2026-01-01)\n\n- Good.\n"
    assert release.notes("v1.2.0", log, "1.2.0") == "- Better."
    for tag, version, text, words in (
        ("v1.3.0", "1.2.0", log, "the tag is v1.3.0, but training/version.py says 1.2.0"),
        ("v1.2.0", "1.2.0", log.replace("1.2.0 (2026-03-01)", "Unreleased"), "still calls its first section Unreleased"),
        ("v1.1.0", "1.1.0", log, "first section is 1.2.0"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            release.notes(tag, text, version)
    with pytest.raises(ValueError, match=re.escape("1.1.0 is released already")):
        release.check(log.replace("## 1.2.0 (2026-03-01)", "## Unreleased"), "1.1.0")


def test_an_installed_easel_keeps_its_things_where_the_system_keeps_data():
    assert data_folder("win32", {"LOCALAPPDATA": "/c/Local"}) == Path("/c/Local/Easel")
    assert data_folder("darwin", {}) == Path("~/Library/Application Support/Easel")
    assert data_folder("linux", {"XDG_DATA_HOME": "/data"}) == Path("/data/easel")
    assert data_folder("linux", {"XDG_DATA_HOME": "data"}) == data_folder("linux", {}) == Path("~/.local/share/easel")


def test_setup_touches_nothing_that_is_not_its_own(monkeypatch, capsys):
    assert _entry.main(["setup", "--repare"]) == 2 and "'--repare'" in capsys.readouterr().err
    assert _entry.main(["setup"]) == 2 and "checkout" in capsys.readouterr().err
    monkeypatch.setattr(_rooms, "INSTALLED", True)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert _entry.main(["setup"]) == 2 and "an environment of its own" in capsys.readouterr().err


class Place:
    """A virtual environment with the wheel in it, apart from the checkout; the packages are the ones of the tests."""

    def __init__(self, root: Path):
        self.root, self.cwd = root, root / "elsewhere"
        self.cwd.mkdir()
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root / "dist")], cwd=REPO, check=True, capture_output=True)
        (self.wheel,) = (root / "dist").glob("*.whl")
        venv.create(root / "venv", with_pip=False)
        self.python = root / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(self.wheel)]
        subprocess.run(command, check=True, capture_output=True)
        self.site = Path(subprocess.run([self.python, "-c", "import sysconfig as s; print(s.get_path('purelib'))"], capture_output=True, text=True, check=True).stdout.strip())
        self.home = Home(root / "data" / "easel")
        self.env = {**os.environ, "XDG_DATA_HOME": str(root / "data")}
        self.env.pop("EASEL_HOME")
        self.packages([path for path in sys.path if path.endswith("site-packages")])

    def packages(self, folders: list[str]) -> None:
        (self.site / "shared.pth").write_text("".join(f"import site; site.addsitedir({folder!r})\n" for folder in folders), encoding="utf-8")

    def start(self, *words: str, **options) -> subprocess.Popen:
        return subprocess.Popen([str(self.python.with_name("easel")), *words], cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL, text=True, **options)

    def easel(self, *words: str) -> tuple[int, str]:
        """(exit status, what it said)."""
        with self.start(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            said = process.communicate(timeout=300)[0]
        return process.returncode, said


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(tmp_path):
    place = Place(tmp_path)
    with zipfile.ZipFile(place.wheel) as wheel:
        names = wheel.namelist()
    assert {name.partition("/")[0] for name in names} == {"easel", f"easel_lora-{VERSION}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    assert place.easel("--version") == (0, f"easel {VERSION}\n")

    job = place.cwd / "job.yaml"
    job.write_text(JOB % next(place.site.rglob("presets/builtin/example")), encoding="utf-8")
    code, said = place.easel("train", "job.yaml")
    assert code == 0 and "finished" in said, said
    (made,) = place.home.outputs.glob("*_toy/toy.safetensors")
    assert made.stat().st_size > 1000
    assert "toy" in place.easel("runs")[1]

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = place.start("--no-browser", "--port", str(port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        page = httpx.get(_ready(app), headers={"Accept": "text/html"}, timeout=30)
        assert page.status_code == 200 and "Easel" in page.text
        app.send_signal(signal.SIGINT)
        assert app.wait(120) == 0
    finally:
        app.kill()

    without = tmp_path / "no-torch"
    without.mkdir()
    for folder in [path for path in sys.path if path.endswith("site-packages")]:
        for entry in Path(folder).iterdir():
            if not entry.name.startswith(("torch", "easel")) and entry.suffix != ".pth" and not (without / entry.name).exists():
                (without / entry.name).symlink_to(entry)
    place.packages([str(without)])
    code, said = place.easel("runs")
    assert code == 0 and _entry.NO_TORCH in said and "toy" in said


def _ready(app: subprocess.Popen) -> str:
    said = []
    for line in app.stdout:
        said.append(line)
        if found := re.search(r"Easel is ready: (\S+)", line):
            return found[1]
    raise AssertionError("".join(said))
