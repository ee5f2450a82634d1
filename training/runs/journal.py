"""A journal: one JSON object a line, only ever appended to.  One writer a file, any number of readers.

A reader never holds more than one piece of it, whatever the file is: a line that does not end is passed over.
"""

from __future__ import annotations

import errno
import json
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..outside import open_plain, open_to_append

BLOCK_BYTES = 64 * 1024
PIECE_BYTES = 1 << 20
MAX_LINE_BYTES = 4 << 20  # a record that is longer is none
MAX_BYTES = 2 << 30  # ten million events; what is longer was not written by a worker
_APPENDING = threading.Lock()  # two threads of the UI may append to one control.jsonl

Records = list[dict[str, Any]]


def append(path: Path, record: dict[str, Any], fsync: bool = False) -> None:
    """`path` has one more record, in one write().  A torn last line is closed first.  Raises OSError, also for a half write; Refused."""
    data = line(record)
    with _APPENDING:
        handle = open_to_append(path)
        try:
            size = os.fstat(handle).st_size
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                if os.read(handle, 1) != b"\n":
                    data = b"\n" + data
            if os.write(handle, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            if fsync:
                os.fsync(handle)
        finally:
            os.close(handle)


def read(path: Path, cursor: int = 0) -> tuple[Records, int, int]:
    """(records after byte `cursor`, the cursor for the next call, lines that could not be read).

    A last line without its newline is left for the next call.  A file that is not there yet is an empty one.  Raises Refused, OSError.
    """
    records, bad = [], 0
    for some, at, some_bad in pieces(path, cursor):
        records += some
        cursor, bad = at, bad + some_bad
    return records, cursor, bad


def pieces(path: Path, cursor: int = 0) -> Iterator[tuple[Records, int, int]]:
    """read() in pieces of about 1 MB, each with the cursor behind it; none where nothing was added."""
    try:
        file = open_plain(path, MAX_BYTES)
    except FileNotFoundError:
        return
    with file:
        file.seek(cursor)
        rest, endless = b"", False  # endless: inside a line that is too long to be a record
        while block := file.read(PIECE_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            cursor += sum(map(len, lines)) + len(lines)
            if endless and lines:
                lines, endless = lines[1:], False
            records, bad = _parsed(lines)
            if endless or len(rest) > MAX_LINE_BYTES:
                bad += not endless
                cursor, rest, endless = cursor + len(rest), b"", True
            if lines or bad or endless:
                yield records, cursor, bad


def backwards(path: Path, mention: bytes = b"") -> Iterator[dict[str, Any]]:
    """Records from the newest to the oldest, reading no more of the file than is asked for.  Skips what read() skips.

    mention: only lines that hold these bytes are looked into, which is much faster where one of a million is looked for.
    """
    try:
        file = open_plain(path, MAX_BYTES)
    except FileNotFoundError:
        return
    with file:
        at = file.seek(0, os.SEEK_END)
        tail: list[bytes] = []  # pieces of the line that `at` lies in, newest first
        held = 0
        torn = True  # what follows the last newline is not a record yet
        while at:
            size = min(BLOCK_BYTES, at)
            at -= size
            file.seek(at)
            *heads, last = file.read(size).split(b"\n")[::-1]  # newest first; `last` may go on in the block before
            for piece in heads:
                if not torn and held + len(piece) <= MAX_LINE_BYTES and (record := _record(b"".join([piece, *reversed(tail)]), mention)) is not None:
                    yield record
                tail, held, torn = [], 0, False
            held += len(last)
            if held <= MAX_LINE_BYTES:
                tail.append(last)
            else:
                tail = []
        if not torn and held <= MAX_LINE_BYTES and (record := _record(b"".join(reversed(tail)), mention)) is not None:
            yield record


def size_bytes(path: Path) -> int:
    """Length of the journal; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def line(record: dict[str, Any]) -> bytes:
    """A record as it stands in a journal."""
    # a file name that is not UTF-8 reaches us as half a surrogate pair, which no page could show: it becomes '?'
    return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: both become null, which a reader counts as a bad record."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def _parsed(lines: list[bytes]) -> tuple[Records, int]:
    """(records, how many of the lines are none)."""
    found = [_record(line) for line in lines if line.strip()]
    records = [record for record in found if record is not None]
    return records, len(found) - len(records)


def _record(line: bytes, mention: bytes = b"") -> dict[str, Any] | None:
    if mention not in line or len(line) > MAX_LINE_BYTES:
        return None
    try:
        record = json.loads(line.decode("utf-8"))  # left to itself, json would guess at UTF-16 and UTF-32
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
