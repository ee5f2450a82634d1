"""What the home's disk can do: write at all, lock, keep rights, link, tell the time, and be fast enough."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..files import fsync_folder, rights
from ..home import REPO, Home, unwritable
from ..outside import size
from .check import Check, some

TRIAL_BYTES = 16 << 20
SLOW_BYTES_S = 20e6  # a checkpoint of 150 MB then takes longer than many steps
CLOCK_APART_S = 120.0
AHEAD_S = 86_400.0


def look(home: Home) -> Iterator[Check]:
    """A row for each folder that is written to, and for what its disk can do."""
    from ..runs.lock import NO_LOCKS, RunLock, has_locks

    for name, folder in (("outputs", home.outputs), ("cache", home.cache), ("datasets", home.datasets)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
                lock = RunLock(Path(file.name + ".lock"))
                held = lock.acquire(wait_s=0)
                lock.release()
                os.unlink(lock.path)
        except OSError as error:
            mend = _rights(folder, error)
            yield Check(name, "broken", unwritable(folder, error), mend)
            continue
        yield Check(name, "ok" if held else "broken", f"{folder}" + ("" if held else " does not support file locks; choose another --home"))
        if held and not has_locks(folder):  # some network drives
            yield Check(f"{name}' disk", "note", NO_LOCKS)
        if name != "cache":
            yield from _abilities(name, folder)
    yield from _clock(home)


def _rights(folder: Path, error: OSError):
    """Gives the owner the right to write in a folder of their own; None where that is not what is wrong."""
    try:
        found = folder.stat()
    except OSError:
        return None
    if os.name == "nt" or not isinstance(error, PermissionError) or found.st_uid != os.getuid() or os.access(folder, os.W_OK | os.X_OK):
        return None

    def mend() -> str:
        os.chmod(folder, stat.S_IMODE(found.st_mode) | stat.S_IRWXU)
        return f"you may write in {folder} again"

    return mend


def _abilities(name: str, folder: Path) -> Iterator[Check]:
    """What is not bad enough to stop, but to know."""
    one, two = (folder / f".doctor-{secrets.token_hex(6)}" for _ in range(2))
    lacks = []
    try:
        began = time.monotonic()
        with open(one, "xb") as file:
            file.write(secrets.token_bytes(TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
        rate = TRIAL_BYTES / max(time.monotonic() - began, 1e-6)
        try:
            os.link(one, two)
            two.unlink()
        except (OSError, NotImplementedError):
            lacks.append("hard links (a version of a dataset that is trained on again is then a copy, and takes its room twice)")
        if os.name != "nt" and (not rights(one, 0o600) or stat.S_IMODE(one.stat().st_mode) != 0o600):
            lacks.append("rights of files (everybody who reaches the disk can read what lies there)")
        if os.name != "nt" and not fsync_folder(folder):
            lacks.append("way to write the names of files through at once (after a power cut the newest checkpoint may be missing; the one before it is taken)")
        apart_s = abs(one.stat().st_mtime - time.time())
    except OSError as error:
        yield Check(f"{name}' disk", "note", f"could not be tried: {error.strerror or error}")
        return
    finally:
        for path in (one, two):
            path.unlink(missing_ok=True)
    if lacks:
        yield Check(f"{name}' disk", "note", f"has no {' and no '.join(lacks)}. It works; a disk of another kind (--home) does more")
    if apart_s > CLOCK_APART_S:
        yield Check(f"{name}' disk", "note", f"its clock is {apart_s / 60:.0f} min from this computer's; set both by the network's time, or pictures are read anew at each look")
    slow = rate < SLOW_BYTES_S
    more = "; checkpoints and cached pictures will take long. Choose a faster disk with --home" if slow else ""
    yield Check(f"{name}' speed", "note" if slow else "ok", f"{size(int(rate))}/s written through to the disk{more}")


def _clock(home: Home) -> Iterator[Check]:
    """A wrong clock puts runs out of order and makes every secured connection fail."""
    now = time.time()
    ours = (REPO / "training" / "doctor.py").stat().st_mtime
    if now < ours - AHEAD_S:
        yield Check("clock", "broken", f"says {time.strftime('%Y-%m-%d', time.localtime(now))}, but Easel's own files are newer; set the date, or nothing can be downloaded")
        return
    ahead = []
    for folder in (home.outputs, home.datasets):
        with os.scandir(folder) if folder.is_dir() else _nothing() as entries:
            for entry in entries:
                marked = Path(entry.path) / "events.jsonl" if folder == home.outputs else Path(entry.path) / ".easel"
                try:
                    if not entry.name.startswith(".") and marked.lstat().st_mtime > now + AHEAD_S:
                        ahead.append(entry.name)
                except OSError:
                    continue
    if ahead:
        yield Check("clock", "note", f"{some(sorted(ahead))} {'is' if len(ahead) == 1 else 'are'} from the future: the clock was wrong then, or is now ({time.strftime('%Y-%m-%d %H:%M', time.localtime(now))})")
    else:
        yield Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(now)))


class _nothing:
    def __enter__(self):
        return ()

    def __exit__(self, *args):
        return None
