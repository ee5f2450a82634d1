"""Disks without locks, rights and folder sync: Easel works there, and says what they lack."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.home import REPO


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="which file a handle is of is read from /proc")
def test_a_disk_that_knows_no_locks_rights_or_folder_sync_works_and_is_named(tmp_path):
    poor = tmp_path / "stick"
    poor.mkdir()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("poor_disk.py")), str(poor)],
        cwd=REPO, env=os.environ | {"PYTHONPATH": str(REPO), "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["content"] == "2" and found["left"] == ["a.json", "home", "worker.lock"]
    assert found["first"] and not found["locks"]
    assert found["held"] == ["True", "False"], "another process sees it"
    assert found["after"] == ["False", "True"]
    told = " ".join(found["told"])
    assert "no file locks" in told and "rights of files" in told and "names of files" in told and not found["broken"]
