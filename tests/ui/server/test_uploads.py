"""Uploads that nobody took are removed; what is being taken in is not, and nothing of other programs ever."""

from __future__ import annotations

import os
import time

from training.home import Home
from ui.server import uploads


def test_only_what_is_old_and_unused_goes(tmp_path):
    place, outside = tmp_path / "uploads", tmp_path / "mine.png"
    outside.write_bytes(b"x")
    for name in ("old/a.png", "new/b.png", "taken/c.png"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_bytes(b"x")
    (place / "link").symlink_to(tmp_path, target_is_directory=True)
    later = time.time() + uploads.AGE_S + 60
    os.utime(place / "new" / "b.png", (later, later))
    assert uploads.sweep(place, {place / "taken" / "c.png"}, now=later) == 1
    assert not (place / "old").exists() and (place / "new" / "b.png").exists() and (place / "taken" / "c.png").exists() and outside.exists()
    assert uploads.sweep(place, age_s=0) >= 2 and outside.exists()
    assert uploads.sweep(tmp_path / "none") == 0


def test_a_folder_that_a_person_chose_is_shared_with_others_so_ours_is_below_it(tmp_path):
    home = Home(tmp_path)
    assert uploads.folder(home, {}) == tmp_path / ".easel" / "uploads"
    ours = uploads.folder(home, {"GRADIO_TEMP_DIR": "/big/tmp"})
    assert ours.parent.as_posix() == "/big/tmp" and uploads.folder(home, {"GRADIO_TEMP_DIR": str(ours)}) == ours
