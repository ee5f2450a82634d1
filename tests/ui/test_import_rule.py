"""The page never computes: nothing heavy is imported by ui/, not even when the whole page is built."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate", "bitsandbytes", "training.engine")
UI = Path(__file__).resolve().parents[2] / "ui"


def test_building_the_page_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from pathlib import Path; import app; from training.home import Home; from ui import shell; from ui.server import media, guard; "
        f"home = Home(Path({str(tmp_path)!r})).made(); shell.build(home); media.routes(home); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=UI.parent, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")


def test_no_file_of_ui_names_a_heavy_library():
    for file in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found = [n for n in names if n.split(".")[0] in HEAVY or n.startswith("training.engine")]
            assert not found, f"{file.name} imports {found}"


def test_no_file_of_ui_goes_around_the_escaping():
    for file in UI.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "sanitize_html=False" not in text and 'datatype="html"' not in text and "shell=True" not in text, file.name
