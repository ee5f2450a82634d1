"""ZIP files, unpacked with suspicion: each entry is streamed to a name that we choose, real bytes counted."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..outside import open_plain
from .noise import is_archive, is_system

MAX_ENTRIES = 20_000
MAX_ENTRY_BYTES = 100_000_000
MAX_TOTAL_BYTES = 2_000_000_000
BEYOND = "does not fit into the"  # so begins what is said of an entry for which one archive is too large
MAX_RATIO = 250
RATIO_FROM_BYTES = 1_000_000  # below this, a good ratio harms nobody: a caption of spaces, a plain white picture
MAX_DIRECTORY_BYTES = 64_000_000
CHUNK = 1 << 20
_OTHER_ARCHIVES = {
    b"7z\xbc\xaf": "it is a 7z archive", b"Rar!": "it is a RAR archive", b"\x1f\x8b": "it is a gzip archive",
    b"BZh": "it is a bzip2 archive", b"\xfd7zXZ": "it is an xz archive",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How much one ZIP may hold."""

    entries: int = MAX_ENTRIES
    entry_bytes: int = MAX_ENTRY_BYTES
    total_bytes: int = MAX_TOTAL_BYTES


PICTURES = Limits()


@dataclass(frozen=True)
class Entry:
    """One file of a ZIP.  path: where its bytes are, None if refused.  folder, name: as in the ZIP, for pairing and messages only.

    hidden: a system or dot file that nobody misses; it is counted, not refused.
    """

    folder: str
    name: str
    path: Path | None
    reason: str = ""
    hidden: bool = False

    @property
    def label(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


def names(source: Path, limits: Limits | None = None) -> list[str]:
    """The names of the files in a ZIP, with '/' between folders, before anything is unpacked.  Raises ValueError where the ZIP as a whole is refused."""
    try:
        _check_directory(source, limits or PICTURES)
        with open_plain(source, linked=True) as file, zipfile.ZipFile(file) as archive:
            return ["/".join(filter(None, _place(info))) for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, struct.error, NotImplementedError) as error:
        raise ValueError(_unopened(source, error)) from None


def unpack(
    source: Path, into: Path, max_total_bytes: int = MAX_TOTAL_BYTES, limits: Limits | None = None, unwanted: Callable[[str, str], str] = lambda folder, name: ""
) -> Iterator[Entry]:
    """Each entry of a ZIP, its content in a file of `into`.  Raises ValueError where the ZIP as a whole is refused.

    unwanted: (folder, name) -> why an entry is not unpacked at all, "" where it is.
    """
    limits = limits or PICTURES
    try:
        _check_directory(source, limits)
        file = open_plain(source, linked=True)
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, struct.error, NotImplementedError) as error:
        raise ValueError(_unopened(source, error)) from None
    with file, archive:
        infos = archive.infolist()
        if len(infos) > limits.entries:
            raise ValueError(_too_many(source, len(infos), limits))
        overlapping = _overlapping(infos)
        total_bytes = 0
        for number, info in enumerate(infos):
            if info.is_dir():
                continue
            folder, name = _place(info)
            if is_system(folder, name):
                yield Entry(folder, name, None, hidden=True)
                continue
            reason = unwanted(folder, name) or _why_not(info, name, id(info) in overlapping, limits)
            target = into / f"{number:05d}"
            if not reason:
                reason, count = _stream(archive, info, target, max_total_bytes - total_bytes, limits)
                total_bytes += count
            if reason:
                target.unlink(missing_ok=True)
            yield Entry(folder, name, None if reason else target, reason)


def real_bytes(source: Path) -> int:
    """How many bytes the ZIP says it holds unpacked, at most the limit; for the free-space check.  0 if it cannot be opened."""
    try:
        _check_directory(source, PICTURES)
        with open_plain(source, linked=True) as file, zipfile.ZipFile(file) as archive:
            return min(MAX_TOTAL_BYTES, sum(min(i.file_size, MAX_ENTRY_BYTES) for i in archive.infolist()))
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError):
        return 0


def _unopened(source: Path, error: Exception) -> str:
    return f"{source.name} is not a ZIP that can be opened: {_other_archive(source) or error}; pack it again"


def _check_directory(source: Path, limits: Limits) -> None:
    """The number of entries and size of the directory, before Python's zipfile reads all of it into memory."""
    with open_plain(source, linked=True) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - 65_557))  # 22 bytes and a comment of at most 65,535
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < 22:
            raise zipfile.BadZipFile("its directory is missing, so it was probably not copied completely")
        count, directory_bytes = struct.unpack("<HI", tail[at + 10 : at + 16])
        if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":  # ZIP64 has its own figures, and Python believes those
            file.seek(struct.unpack("<Q", tail[at - 12 : at - 4])[0])
            record = file.read(56)
            if len(record) == 56 and record[:4] == b"PK\x06\x06":
                count, directory_bytes = struct.unpack("<QQ", record[32:48])
    if count > limits.entries or directory_bytes > MAX_DIRECTORY_BYTES:
        raise ValueError(_too_many(source, count, limits))


def _other_archive(source: Path) -> str:
    """What a file is that is called .zip and is none; "" where that is not clear."""
    with open_plain(source, linked=True) as file:
        head = file.read(8)
    return next((said for mark, said in _OTHER_ARCHIVES.items() if head.startswith(mark)), "")


def _too_many(source: Path, count: int, limits: Limits) -> str:
    return f"{source.name} holds {count} entries; {limits.entries} is the most, so split it"


def _place(info: zipfile.ZipInfo) -> tuple[str, str]:
    """(folder, name) with '/' between folders.  Names that say neither UTF-8 nor mean the old IBM letters are mended."""
    text = info.orig_filename.split("\0")[0] if info.orig_filename else info.filename
    if not info.flag_bits & 0x800:
        try:
            text = text.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    folder, _, name = text.replace("\\", "/").rpartition("/")
    return folder, name


def _why_not(info: zipfile.ZipInfo, name: str, overlapping: bool, limits: Limits) -> str:
    """Why an entry is not even unpacked, or ''."""
    path = (info.orig_filename or info.filename).replace("\\", "/")
    mode = info.external_attr >> 16
    if path.startswith("/") or path[1:2] == ":" or ".." in PurePosixPath(path).parts:
        return "points outside the ZIP"
    if info.flag_bits & 0x1:
        return "is encrypted; pack it without a password"
    if stat.S_ISLNK(mode):
        return "is a link, not a file"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is a device or a pipe, not a file"
    if overlapping:
        return "shares its bytes with another entry, as ZIP bombs do"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that is not supported; pack it as an ordinary ZIP (deflate)"
    if name.lower().endswith(".zip") or is_archive(name):
        return "is an archive inside the ZIP and was not opened; unpack it and add what it holds"
    if info.file_size > limits.entry_bytes:
        return f"is {info.file_size / 1e6:.0f} MB large; {limits.entry_bytes // 10**6} MB is the most"
    if info.file_size > RATIO_FROM_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
        return f"unpacks to more than {MAX_RATIO} times its size, as ZIP bombs do"
    return ""


def _overlapping(infos: list[zipfile.ZipInfo]) -> set[int]:
    """id() of the entries whose bytes lie inside another's.  A local header is at least 30 bytes long."""
    found: set[int] = set()
    end, before = -1, None
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.header_offset < end:
            found |= {id(info), id(before)}
        reach = info.header_offset + 30 + info.compress_size
        if reach > end:
            end, before = reach, info
    return found


def _stream(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, left_bytes: int, limits: Limits) -> tuple[str, int]:
    """(why it was refused or '', bytes unpacked).  Believes what comes out, not what the directory says."""
    count = 0
    try:
        with archive.open(info) as source, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb") as out:
            while chunk := source.read(CHUNK):
                count += len(chunk)
                if count > limits.entry_bytes:
                    return f"is larger than {limits.entry_bytes // 10**6} MB", count
                if count > RATIO_FROM_BYTES and count > MAX_RATIO * max(1, info.compress_size):
                    return f"unpacks to more than {MAX_RATIO} times its size, as ZIP bombs do", count
                if count > left_bytes:
                    return f"{BEYOND} {limits.total_bytes // 10**9} GB that one ZIP may hold; put it into a second one", count
                out.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        return f"is damaged in the ZIP: {error}", count
    return "", count
