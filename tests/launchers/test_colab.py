"""The notebook's cells, executed with stand-ins for what only Colab has."""

from __future__ import annotations

import json
import os
import sys
import tomllib
import types
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent.parent
BOOK = json.loads((REPO / "launchers" / "colab.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in BOOK["cells"] if cell["cell_type"] == "code"]
INSTALL = """
import os, sys
print("install", sys.argv[1:], os.environ["EASEL_HOME"], os.environ.get("HF_HOME"))
sys.exit(int(os.environ.get("TOY_STATUS", "0")))
"""


@pytest.fixture
def content(tmp_path, monkeypatch):
    """/content of a Colab machine, with google.colab's drive and files in place; files.upload() brings easel.zip."""
    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as file:
        file.writestr("easel-main/app.py", "")
        file.writestr("easel-main/launchers/install.py", INSTALL)
    content = tmp_path / "content"
    content.mkdir()

    def upload():
        (content / "easel.zip").write_bytes((tmp_path / "toy.zip").read_bytes())
        return {"easel.zip": b""}

    drive = types.SimpleNamespace(mount=lambda where: Path(str(where).replace("/content", str(content)), "MyDrive").mkdir(parents=True))
    colab = types.ModuleType("google.colab")
    colab.drive, colab.files = drive, types.SimpleNamespace(upload=upload)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    return content


def execute(content: Path, **ticked: bool) -> None:
    """Run all, with these boxes ticked."""
    for code in CODE:
        for name in ticked:
            assert f"{name} = False" in code
            code = code.replace(f"{name} = False", f"{name} = True")
        exec(compile(code.replace('Path("/content")', f"Path({str(content)!r})"), "cell", "exec"), {})  # noqa: S102


def test_one_click_asks_for_no_address_and_starts(content, capsys):
    assert len(CODE) == 1 and not BOOK["cells"][1]["outputs"]
    execute(content)
    assert f"install ['start', '--no-browser', '--share'] {content}/easel-home " in capsys.readouterr().out
    execute(content)  # a second time the files are there


def test_a_failed_start_fails_the_cell(content, monkeypatch):
    monkeypatch.setenv("TOY_STATUS", "1")
    with pytest.raises(RuntimeError, match="the lines above say why"):
        execute(content)


def test_results_and_base_models_are_kept_in_drive_when_ticked(content, capsys):
    execute(content, keep_in_drive=True, keep_models_in_drive=True)
    kept = content / "drive" / "MyDrive" / "Easel"
    assert f"{kept} {kept}/huggingface" in capsys.readouterr().out
    assert "HF_HOME" not in os.environ or str(content) not in os.environ["HF_HOME"]


def test_another_zip_is_said(content, tmp_path):
    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as file:
        file.writestr("holiday.txt", "")
    with pytest.raises(RuntimeError, match="does not hold Easel"):
        execute(content)


def test_the_address_stands_at_one_place():
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["easel"]
    assert f'OFFICIAL = "{project["repository"]}"' in CODE[0]
