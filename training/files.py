"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CANNOT = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES}  # what a disk says of a call that it does not know


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """`path` holds `data`, on the disk, when this returns; after any failure it holds what it held before."""
    with replacing(path, mode) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """An open file that becomes `path` when the block ends well, and disappears when it does not.

    Same folder, flush, fsync, rename, fsync of the folder.  The file can be read back and sought (zip needs it).
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        rights(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync(path: Path) -> None:
    """What was written to the file `path` is on the disk; a folder is left alone."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def rights(path: Path | str, mode: int) -> bool:
    """Whether a file has that mode now.  A disk without rights (exFAT, many network drives) gives everything its own, and that is no trouble of the file's."""
    try:
        os.chmod(path, mode)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        return False
    return True


def fsync_folder(folder: Path) -> bool:
    """Whether the names in `folder` are on the disk.  Windows, and some network drives, have no such call; there a rename is all one can have."""
    if os.name == "nt":
        return False
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        return False
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        return False
    finally:
        os.close(handle)
    return True
