"""Files on their way in: where the browser's uploads wait, and an end for those that nobody took."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from training.home import Home

from . import instance

AGE_S = 6 * 3600.0  # an upload that nobody took in for so long is nobody's; a slow one is written to all the time
EVERY_S = 3600.0


def folder(home: Home, environ: Mapping[str, str] = os.environ) -> Path:
    """This home's own folder for uploads: beside its other things, or below GRADIO_TEMP_DIR where a person has set that.

    Never GRADIO_TEMP_DIR itself: other programs keep their files there, and here what is old is removed.
    """
    chosen = environ.get("GRADIO_TEMP_DIR", "")
    if not chosen:
        return instance.folder(home) / "uploads"
    mark = hashlib.sha256(str(home.root).encode()).hexdigest()[:10]
    place = Path(chosen)
    return place if place.name == f"easel-uploads-{mark}" else place / f"easel-uploads-{mark}"


def sweep(place: Path, used: Collection[Path] = (), age_s: float = AGE_S, now: float | None = None) -> int:
    """How many files were removed: those that nobody has written to for `age_s` (0: all) and that are not in `used`.  Links are never followed."""
    now = time.time() if now is None else now
    kept, removed = {os.path.realpath(p) for p in used}, 0
    for root, folders, files in os.walk(place, topdown=False):
        for name in files:
            path = os.path.join(root, name)
            try:
                about = os.lstat(path)
                quiet_s = now - max(about.st_mtime, about.st_ctime)  # below zero where the clock was set back
                if os.path.realpath(path) not in kept and (not age_s or quiet_s >= age_s):
                    os.unlink(path)
                    removed += 1
            except OSError:  # taken in at this moment, or held by another program: the next round may have it
                continue
        for name in folders:
            try:
                os.rmdir(os.path.join(root, name))
            except OSError:  # not empty
                continue
    return removed


class Sweeper(threading.Thread):
    """Sweeps once an hour while the app runs.  used: the files that are being taken in now."""

    def __init__(self, place: Path, used: Callable[[], Collection[Path]]):
        super().__init__(name="easel-uploads", daemon=True)
        self.place, self.used = place, used

    def run(self) -> None:
        while True:
            time.sleep(EVERY_S)
            try:
                sweep(self.place, self.used())
            except OSError:
                logging.getLogger("easel").exception("old uploads could not be removed")
