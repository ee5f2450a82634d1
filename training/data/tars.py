"""tar files, plain or compressed, unpacked with the same suspicion as ZIPs: each entry is streamed to a name that we choose, real bytes counted."""

from __future__ import annotations

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..outside import open_plain
from .noise import is_archive, is_system
from .zips import BEYOND, CHUNK, MAX_ENTRIES, MAX_ENTRY_BYTES, MAX_RATIO, MAX_TOTAL_BYTES, RATIO_FROM_BYTES, Entry

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)


def is_tar(name: str) -> bool:
    """Whether a file is by its name one that unpack() opens."""
    return name.lower().endswith(SUFFIXES)


def unpack(source: Path, into: Path, max_total_bytes: int = MAX_TOTAL_BYTES) -> Iterator[Entry]:
    """Each entry of a tar, its content in a file of `into`.  Raises ValueError where the tar as a whole is refused.

    A damaged one gives what came before the damage, then an entry that says so.
    """
    with open_plain(source, linked=True) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        try:
            archive = tarfile.open(fileobj=file, mode="r|*")  # noqa: SIM115 closed below
        except _BROKEN as error:
            raise ValueError(f"{source.name} is not a tar that can be opened: {error}; pack it again") from None
        with archive:
            yield from _entries(archive, source, into, max_total_bytes, MAX_RATIO * max(size_bytes, 1))


def _entries(archive: tarfile.TarFile, source: Path, into: Path, left_bytes: int, most_bytes: int) -> Iterator[Entry]:
    number = passed_bytes = 0
    try:
        for number, info in enumerate(archive):
            passed_bytes += info.size  # what is refused is unpacked too, on the way to what comes after it
            if passed_bytes > 2 * MAX_TOTAL_BYTES:
                yield Entry("", source.name, None, f"holds more than {2 * MAX_TOTAL_BYTES // 10**9} GB; what came before is used, so split it for the rest")
                return
            if number >= MAX_ENTRIES:
                raise ValueError(f"{source.name} holds more than {MAX_ENTRIES} entries, which is the most; split it")
            if info.isdir():
                continue
            folder, _, name = info.name.replace("\\", "/").rpartition("/")
            if is_system(folder, name):
                yield Entry(folder, name, None, hidden=True)
                continue
            reason = _why_not(info, name)
            target = into / f"{number:05d}"
            if not reason and info.size > left_bytes:
                reason = f"{BEYOND} {MAX_TOTAL_BYTES // 10**9} GB that one tar may hold; put it into a second one"
            if not reason and info.size > RATIO_FROM_BYTES and info.size > most_bytes:
                reason = f"unpacks to more than {MAX_RATIO} times the size of its tar, as bombs do"
            if not reason:
                count = _stream(archive, info, target)
                left_bytes, most_bytes = left_bytes - count, most_bytes - count
            yield Entry(folder, name, None if reason else target, reason)
    except _BROKEN as error:
        yield Entry("", source.name, None, f"is damaged after {number} entries: {error or 'it ends too early'}; what came before is used")


def _why_not(info: tarfile.TarInfo, name: str) -> str:
    """Why an entry is not even unpacked, or ''."""
    path = info.name.replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":" or ".." in PurePosixPath(path).parts:
        return "points outside the tar"
    if info.issym() or info.islnk():
        return "is a link, not a file"
    if not info.isreg():
        return "is a device or a pipe, not a file"
    if name.lower().endswith(".zip") or is_archive(name):
        return "is an archive inside the tar and was not opened; unpack it and add what it holds"
    if info.size > MAX_ENTRY_BYTES:
        return f"is {info.size / 1e6:.0f} MB large; {MAX_ENTRY_BYTES // 10**6} MB is the most"
    return ""


def _stream(archive: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> int:
    """Bytes unpacked.  Raises what tarfile does where the archive ends within them."""
    count = 0
    with archive.extractfile(info) as source, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb") as out:  # type: ignore[union-attr]
        while chunk := source.read(CHUNK):
            count += len(chunk)
            out.write(chunk)
    if count < info.size:
        target.unlink(missing_ok=True)
        raise EOFError(f"{info.name} ends too early")
    return count
