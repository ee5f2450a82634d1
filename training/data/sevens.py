"""7z files, unpacked with the same suspicion as ZIPs where py7zr is there, which does not come with Easel."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from ..outside import open_plain
from .noise import is_archive, is_system
from .zips import MAX_ENTRIES, MAX_ENTRY_BYTES, MAX_RATIO, MAX_TOTAL_BYTES, RATIO_FROM_BYTES, Entry

SUFFIX = ".7z"


def can_read() -> bool:
    """Whether 7z is read here."""
    return find_spec("py7zr") is not None


def unpack(source: Path, into: Path, max_total_bytes: int = MAX_TOTAL_BYTES) -> Iterator[Entry]:
    """Each entry of a 7z, its content in a file of `into`.  Raises ValueError where the 7z as a whole is refused."""
    import py7zr

    with open_plain(source, linked=True) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        try:
            with py7zr.SevenZipFile(file) as archive:
                if archive.needs_password():
                    raise ValueError(f"{source.name} is encrypted; pack it without a password")
                infos = archive.list()
                if len(infos) > MAX_ENTRIES:
                    raise ValueError(f"{source.name} holds {len(infos)} entries; {MAX_ENTRIES} is the most, so split it")
                total = sum(info.uncompressed or 0 for info in infos)
                if total > max_total_bytes:
                    raise ValueError(f"{source.name} unpacks to {total / 1e9:.1f} GB; {max_total_bytes / 1e9:g} GB is the most, so split it")
                if total > RATIO_FROM_BYTES and total > MAX_RATIO * max(size_bytes, 1):
                    raise ValueError(f"{source.name} unpacks to more than {MAX_RATIO} times its size, as bombs do")
                entries = [_entry(info, into / f"{number:05d}") for number, info in enumerate(infos) if not info.is_directory]
                wanted = {entry.label: entry.path for entry in entries if entry.path}
                archive.extract(into, targets=list(wanted), factory=_writers(into, wanted, total))
        except Exception as error:  # what is in a damaged 7z decides what py7zr and each of its decompressors raise: LZMAError, zlib.error, struct.error …
            if type(error) is ValueError or getattr(error, "errno", None) == errno.ENOSPC:  # ours, and the disk's
                raise
            raise ValueError(f"{source.name} is not a 7z that can be opened: {error or type(error).__name__}; pack it again") from None
    for entry in entries:
        gone = entry.path is not None and not entry.path.exists()
        yield Entry(entry.folder, entry.name, None, "did not come out of the 7z") if gone else entry


def _entry(info, target: Path) -> Entry:
    path = info.filename.replace("\\", "/")
    folder, _, name = path.rpartition("/")
    if is_system(folder, name):
        return Entry(folder, name, None, hidden=True)
    reason = ""
    if path.startswith("/") or path[1:2] == ":" or ".." in PurePosixPath(path).parts:
        reason = "points outside the 7z"
    elif info.is_symlink or not info.is_file:
        reason = "is a link or a device, not a file"
    elif name.lower().endswith(".zip") or is_archive(name):
        reason = "is an archive inside the 7z and was not opened; unpack it and add what it holds"
    elif (info.uncompressed or 0) > MAX_ENTRY_BYTES:
        reason = f"is {info.uncompressed / 1e6:.0f} MB large; {MAX_ENTRY_BYTES // 10**6} MB is the most"
    return Entry(folder, name, None if reason else target, reason)


def _writers(into: Path, wanted: dict[str, Path], most_bytes: int):
    """What py7zr writes through: each entry to the file that we chose for it, no more bytes in all than the 7z said that it holds."""
    from py7zr.io import Py7zIO, WriterFactory

    left = [most_bytes]

    class Writer(Py7zIO):
        def __init__(self, target: Path):
            self.file = open(target, "x+b")  # noqa: SIM115 closed by py7zr

        def write(self, data):
            left[0] -= len(data)
            if left[0] < 0:
                raise OSError("more comes out of it than it said")
            return self.file.write(data)

        def read(self, size=None):
            return self.file.read(-1 if size is None else size)

        def seek(self, offset, whence=0):
            return self.file.seek(offset, whence)

        def flush(self):
            self.file.flush()

        def size(self):
            self.file.flush()
            return os.fstat(self.file.fileno()).st_size

        def close(self):
            self.file.close()

    class Writers(WriterFactory):
        def create(self, filename):
            return Writer(wanted[Path(filename).relative_to(into.resolve()).as_posix()])

    return Writers()
