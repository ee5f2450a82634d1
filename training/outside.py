"""Files that somebody else may have made: opened only where they are plain files, and never read further than they may be long.

A run that was mailed, a dataset that was copied, a preset from somewhere: each may hold a link to another file, a pipe that waits for
ever, a device that never ends, or text that is nested ten thousand deep.  Everything that is read out of outputs/, datasets/ and
plugins/ goes through here; tests/test_outside.py walks all readers, and finds one that does not.

outputs/, datasets/ and plugins/ themselves may be links: they are where the owner of this home put them.  So may a dataset's folder,
which somebody with a large disk elsewhere links on purpose, and of which only what the gate has passed is shown.  A run's folder may
not: a worker writes there.
"""

from __future__ import annotations

import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

# Windows has no O_NOFOLLOW and no O_NONBLOCK, but neither pipes in folders; links and junctions are seen by lstat there
PIECE_BYTES = 1 << 20
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_LINK_TAGS = (0xA000000C, 0xA0000003)  # Windows' reparse tags of a symbolic link and of a junction
LINK = "is a link, not a file; put the file that it points to in its place"


class Refused(ValueError):
    """A file that cannot be used.  The message says why and, where there is one, the way out."""


def check_plain(found: os.stat_result) -> None:
    """Nothing, or Refused with what the thing is instead of a plain file.  found: of lstat or fstat."""
    if _is_link(found):
        raise Refused(LINK)
    if stat.S_ISDIR(found.st_mode):
        raise Refused("is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise Refused("is a pipe or a device, not a file")


def open_plain(path: str | os.PathLike, most_bytes: int | None = None, *, linked: bool = False) -> BufferedReader:
    """An open plain file.  Never follows a link, never waits for a pipe.  Raises Refused, whose message begins with the name; OSError.

    most_bytes: refused where it says that it is longer; what may grow or lie is read by read_plain.  linked: may be a link to a plain
    file, for a path that a person named.
    """
    return os.fdopen(open_fd(path, most_bytes, linked=linked), "rb")


def open_fd(path: str | os.PathLike, most_bytes: int | None = None, *, linked: bool = False) -> int:
    """The same as a file descriptor."""
    return _opened(path, _READ, most_bytes, linked)


def check_length(path: str | os.PathLike, most_bytes: int) -> None:
    """Nothing, or Refused for a file that is no plain one or says that it is longer.  Raises OSError."""
    os.close(open_fd(path, most_bytes))


def read_plain(path: str | os.PathLike, most_bytes: int, *, linked: bool = False) -> bytes:
    """The bytes of a plain file.  Raises Refused, also when more than most_bytes come out of it, whatever it says; OSError."""
    with open_plain(path, most_bytes, linked=linked) as file:
        data = file.read(min(os.fstat(file.fileno()).st_size, most_bytes) + 1)  # a read of n bytes holds n, however few there are
        while len(data) <= most_bytes and (more := file.read(min(PIECE_BYTES, most_bytes + 1 - len(data)))):
            data += more
    if len(data) > most_bytes:
        raise Refused(f"{Path(path).name} {_too_long(len(data), most_bytes)}")
    return data


def read_text(path: str | os.PathLike, most_bytes: int, *, linked: bool = False) -> str:
    """The UTF-8 text of a plain file, with or without a byte order mark.  Raises Refused, OSError."""
    try:
        return read_plain(path, most_bytes, linked=linked).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(f"{Path(path).name} is not UTF-8 text; save it again as UTF-8") from None


def read_json(path: str | os.PathLike, most_bytes: int, *, linked: bool = False) -> Any:
    """What a JSON file holds.  Raises Refused where it is not JSON, or nested too deeply; OSError."""
    return parse_json(read_text(path, most_bytes, linked=linked), Path(path).name)


def parse_json(text: str | bytes, name: str, **options: Any) -> Any:
    """What JSON text holds.  Raises Refused, whose message begins with `name`."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise Refused(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"{name}: {' '.join(str(error).split())}") from None


def open_to_append(path: str | os.PathLike) -> int:
    """A file descriptor for reading and appending; the file is made where there is none, and is never one behind a link.  Raises Refused, OSError."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return _opened(path, flags, None, False)


def inside(root: Path, relative: str | os.PathLike) -> Path:
    """root/relative, a plain file that is reached through no link below root.  Raises Refused, OSError."""
    path = _walk(root, relative)
    _check(path, os.lstat(path), check_plain)
    return path


def folder_inside(root: Path, relative: str | os.PathLike) -> Path:
    """The same for a folder."""
    path = _walk(root, relative)
    _check(path, os.lstat(path), _check_folder)
    return path


def is_plain(path: Path) -> bool:
    """Whether a plain file is there, which is no link."""
    return _is(path, check_plain)


def is_folder(path: Path) -> bool:
    """Whether a folder is there, which is no link."""
    return _is(path, _check_folder)


def strange(folder: Path) -> str:
    """The first thing below a folder that is neither a plain file nor a plain folder, and what it is; "" where there is none."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode) and not _is_link(found):
                    waiting.append(Path(entry.path))
                    continue
                try:
                    check_plain(found)
                except Refused as error:
                    return f"{Path(entry.path).relative_to(folder).as_posix()} {error}"
    return ""


def _walk(root: Path, relative: str | os.PathLike) -> Path:
    """root/relative, the folders on the way to it looked at: each is plain."""
    text = os.fspath(relative).replace("\\", "/")
    parts = text.split("/")
    if not text or "\0" in text or any(part in ("", ".", "..") for part in parts) or (":" in parts[0] and os.name == "nt"):
        raise Refused(f"{text!r} does not lie inside {root.name}")
    path = root
    for part in parts[:-1]:
        path = path / part
        _check(path, os.lstat(path), _check_folder)
    return path / parts[-1]


def _opened(path: str | os.PathLike, flags: int, most_bytes: int | None, linked: bool) -> int:
    path = Path(path)
    try:
        _check(path, os.stat(path) if linked else os.lstat(path), check_plain)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    # it may have been swapped since: NONBLOCK so that a pipe cannot hang us, NOFOLLOW, and look again
    handle = os.open(path, flags | (0 if linked else _NOFOLLOW), 0o644)
    try:
        found = os.fstat(handle)
        _check(path, found, check_plain)
        if most_bytes is not None and found.st_size > most_bytes:
            raise Refused(f"{path.name} {_too_long(found.st_size, most_bytes)}")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check(path: Path, found: os.stat_result, check) -> None:
    try:
        check(found)
    except Refused as error:
        raise Refused(f"{path.name} {error}") from None


def _check_folder(found: os.stat_result) -> None:
    if _is_link(found):
        raise Refused("is a link, not a folder; put the folder that it points to in its place")
    if not stat.S_ISDIR(found.st_mode):
        raise Refused("is not a folder")


def _is(path: Path, check) -> bool:
    try:
        check(os.lstat(path))
    except (OSError, ValueError):
        return False
    return True


def _is_link(found: os.stat_result) -> bool:
    return stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) in _LINK_TAGS


def _too_long(size_bytes: int, most_bytes: int) -> str:
    return f"is {size(size_bytes)} long; {size(most_bytes)} is the most"


def size(size_bytes: int) -> str:
    """A number of bytes for a person: 3.2 MB."""
    for unit, power in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= power:
            return f"{size_bytes / power:.3g} {unit}"
    return f"{size_bytes} bytes"
