"""The launchers' files that this system cannot run, read for the mistakes that break them elsewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from launchers import packages

REPO = Path(__file__).resolve().parent.parent.parent
LAUNCHERS = REPO / "launchers"


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
    assert not {"torchvision", "torchaudio", "timm"} & set(pins)


def test_the_notebook_is_valid():
    notebook = json.loads((LAUNCHERS / "colab.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))


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


def test_the_space_asks_for_the_versions_we_test():
    front = (LAUNCHERS / "space" / "README.md").read_text(encoding="utf-8").split("---")[1]
    pins = packages.pins(REPO / "requirements.txt")
    assert re.search(r"^sdk: gradio$", front, re.MULTILINE)
    assert re.search(rf"^sdk_version: {re.escape(pins['gradio'])}$", front, re.MULTILINE)
    assert (REPO / re.search(r"^app_file: (\S+)$", front, re.MULTILINE)[1]).is_file()


def test_the_default_test_run_leaves_out_the_slow_ones():
    settings = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert "not slow and not browser" in settings["addopts"]
    assert "launchers/test.sh" in (REPO / ".ci" / "run").read_text(encoding="utf-8")
