"""What Easel keeps, on a disk that knows no locks, no rights and no folder sync: `python poor_disk.py FOLDER`.

Only the system's own calls are made to say what such a disk says; our code runs as it is.  Prints one JSON line.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path


def make_poor(root: Path) -> None:
    """From here on calls about files below `root` fail as on exFAT behind FUSE, or a network drive: EPERM, ENOLCK, EINVAL."""
    sync, lock, change = os.fsync, fcntl.lockf, os.chmod
    below = lambda handle: os.path.realpath(f"/proc/self/fd/{handle}").startswith(str(root))

    def no_fsync(handle):
        if below(handle) and stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    def no_lock(handle, *how):
        if below(handle):
            raise OSError(errno.ENOLCK, "No locks available")
        lock(handle, *how)

    def no_chmod(path, mode, **how):
        if str(path).startswith(str(root)):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        change(path, mode, **how)

    os.fsync, fcntl.lockf, os.chmod = no_fsync, no_lock, no_chmod


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    make_poor(root)
    from training.checkup import disk
    from training.files import write_atomic
    from training.home import Home
    from training.runs.lock import RunLock, has_locks, is_held

    if len(sys.argv) > 2:  # another process, which looks
        print(is_held(root / "worker.lock"), RunLock(root / "worker.lock").acquire(wait_s=0))
        return 0
    write_atomic(root / "a.json", b"1")
    write_atomic(root / "a.json", b"2")
    lock = RunLock(root / "worker.lock")
    first = lock.acquire(wait_s=0)
    look = lambda: subprocess.run([sys.executable, __file__, str(root), "look"], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}).stdout.split()
    held = look()
    lock.release()
    home = Home(root / "home").made()
    told = [check.text for check in disk.look(home) if check.state == "note"]
    broken = [check.text for check in disk.look(home) if check.state == "broken"]
    print(json.dumps({"content": (root / "a.json").read_text(), "first": first, "held": held, "after": look(), "locks": has_locks(root), "told": told, "broken": broken, "left": sorted(p.name for p in root.iterdir())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
