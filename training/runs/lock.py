"""The lock that a living process holds on its folder.  The system lets it go when the process ends, however it ends.

POSIX record locks, not flock: a child does not inherit them, so an orphan of a dead worker keeps nothing locked.
A disk may know no locks (some network drives, FUSE): then a stand-in for the file is locked, in a folder of this computer's own, which two
computers that share such a disk do not see of each other; the doctor and the start of the app say so.

They have a trap: closing *any* handle of the file drops the lock, so this process never opens a file that it holds.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import threading
import time
from pathlib import Path

from ..outside import Refused, open_fd, open_to_append

RETRY_S = 0.05
_UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}  # what a disk says that knows none
NO_LOCKS = "has no file locks. Easel keeps its locks in a folder of this computer instead, which works as long as no second computer uses the same home at the same time"  # what a person reads of a disk
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

    def lend(self) -> None:
        """A program that takes this process's place (exec) keeps the lock: it is the process's, as long as no handle of the file is closed."""
        if self._handle is not None:
            os.set_inheritable(self._handle, True)

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
            try:
                got = _lock(handle, shared=False)
            except OSError as error:
                os.close(handle)
                if error.errno not in _UNKNOWN:
                    raise
                handle = open_to_append(stand_in(self.path))
                got = _lock(handle, shared=False)
            if not got:
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
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        finally:
            os.close(handle)
        handle = open_to_append(stand_in(path))
        try:
            return not _lock(handle, shared=True)
        finally:
            os.close(handle)


def stand_in(path: Path) -> Path:
    """The file that is locked in the place of `path` on a disk without locks.  Raises OSError where somebody else owns its folder."""
    folder = Path(tempfile.gettempdir()) / f"easel-locks-{os.getuid() if hasattr(os, 'getuid') else ''}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise OSError(errno.EPERM, "the folder for locks belongs to somebody else", str(folder))
    return folder / f"{hashlib.sha256(_key(path).encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.lock"


def has_locks(folder: Path) -> bool:
    """Whether the disk of a folder knows locks; True on one that is full, where it cannot be tried.  Raises OSError where nothing may be written there."""
    path = folder / f".locks-{os.getpid()}"
    try:
        handle = open_to_append(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return True
    try:
        return _lock(handle, shared=False)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        return False
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)


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
