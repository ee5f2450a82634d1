"""The lock that a living process holds on its folder.  The system lets it go when the process ends, however it ends.

POSIX record locks, not flock: a child does not inherit them, so an orphan of a dead worker keeps nothing locked.
They have a trap: closing *any* handle of the file drops the lock, so this process never opens a file that it holds.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from ..outside import Refused, open_fd, open_to_append

RETRY_S = 0.05
_WINDOWS_BYTE = 1 << 30  # Windows locks are mandatory: one far beyond the content lets the folder be copied and zipped
_mine: set[str] = set()  # files that this process holds
_opening = threading.Lock()  # no thread may probe (open, close) a file while another takes it


class RunLock:
    """An exclusive lock on one file between processes, and between the objects of one process."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self._handle: int | None = None

    def acquire(self, wait_s: float = 2.0) -> bool:
        """True once it is held; False when somebody else still holds it after `wait_s`.

        The wait outlasts a probe, which on Windows takes the lock for a moment.  Raises OSError where the file cannot be made, Refused where it is none.
        """
        deadline = time.monotonic() + wait_s
        while not self._try():
            if time.monotonic() >= deadline:
                return False
            time.sleep(RETRY_S)
        return True

    def release(self) -> None:
        """Nobody holds it any more through this object."""
        with _opening:
            if self._handle is not None:
                if os.name == "nt":
                    _unlock(self._handle)
                os.close(self._handle)
                self._handle = None
                _mine.discard(_key(self.path))

    def _try(self) -> bool:
        with _opening:
            key = _key(self.path)
            if key in _mine:
                return False
            handle = open_to_append(self.path)
            if not _lock(handle, shared=False):
                os.close(handle)
                return False
            _mine.add(key)
            self._handle = handle
            return True


def is_held(path: Path) -> bool:
    """Does a living process hold the lock?  Takes it for a moment, shared, so two askers do not see each other.

    What is no plain file, nobody holds.
    """
    with _opening:
        if _key(path) in _mine:
            return True
        try:
            if not os.path.lexists(path):
                return False
            handle = open_fd(path) if os.name != "nt" else open_to_append(path)
        except (FileNotFoundError, NotADirectoryError, Refused):
            return False
        try:
            return not _lock(handle, shared=True)
        finally:
            os.close(handle)


def _key(path: Path) -> str:
    return os.path.realpath(path)


if os.name == "nt":
    import msvcrt

    def _lock(handle: int, shared: bool) -> bool:
        for _ in range(3 if shared else 1):  # msvcrt has no shared lock: another asker is gone after some ms
            os.lseek(handle, _WINDOWS_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            except OSError:
                time.sleep(0.01)
                continue
            if shared:
                _unlock(handle)
            return True
        return False

    def _unlock(handle: int) -> None:
        os.lseek(handle, _WINDOWS_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(handle: int, shared: bool) -> bool:
        try:
            fcntl.lockf(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: POSIX allows both
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_UN)
