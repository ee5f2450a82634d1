"""A place without a network, for jobs that are done elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path


def next_folder(home, folder: Path) -> dict:
    """`place` of a job for the example of a place, another folder of this computer, which the home then has as a plugin."""
    from training.home import REPO

    shutil.copytree(REPO / "docs" / "examples" / "cloud", home.plugins / "cloud", dirs_exist_ok=True)
    folder.mkdir(exist_ok=True)
    return {"kind": "next_folder", "options": {"folder": str(folder)}}
