"""A journal: one JSON object a line, only ever appended to.  One writer a file, any number of readers."""

from __future__ import annotations

import errno
import json
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK_BYTES = 64 * 1024
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would turn \n into \r\n
_APPENDING = threading.Lock()  # two threads of the UI may append to one control.jsonl


def append(path: Path, record: dict[str, Any], fsync: bool = False) -> None:
    """`path` has one more record, in one write().  A torn last line is closed first.  Raises OSError, also for a half write."""
    data = _line(record)
    with _APPENDING:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o644)
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


def read(path: Path, cursor: int = 0) -> tuple[list[dict[str, Any]], int, int]:
    """(records after byte `cursor`, the cursor for the next call, lines that could not be read).

    A last line without its newline is left for the next call.  A file that is not there yet is an empty one.
    """
    try:
        with open(path, "rb") as file:
            file.seek(cursor)
            data = file.read()
    except FileNotFoundError:
        return [], cursor, 0
    whole = data.rfind(b"\n") + 1
    records, bad = [], 0
    for line in data[:whole].split(b"\n"):
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            bad += 1
        else:
            records.append(record)
    return records, cursor + whole, bad


def backwards(path: Path) -> Iterator[dict[str, Any]]:
    """Records from the newest to the oldest, reading no more of the file than is asked for.  Skips what read() skips."""
    try:
        file = open(path, "rb")  # noqa: SIM115 closed below, also when the caller stops early
    except FileNotFoundError:
        return
    with file:
        at = file.seek(0, os.SEEK_END)
        tail: list[bytes] = []  # pieces of the line that `at` lies in, newest first
        torn = True  # what follows the last newline is not a record yet
        while at:
            size = min(BLOCK_BYTES, at)
            at -= size
            file.seek(at)
            *heads, last = file.read(size).split(b"\n")[::-1]  # newest first; `last` may go on in the block before
            for piece in heads:
                tail.append(piece)
                line, tail = b"".join(reversed(tail)), []
                if not torn and (record := _record(line)) is not None:
                    yield record
                torn = False
            tail.append(last)
        if not torn and (record := _record(b"".join(reversed(tail)))) is not None:
            yield record


def size_bytes(path: Path) -> int:
    """Length of the journal; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _line(record: dict[str, Any]) -> bytes:
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


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode("utf-8"))  # left to itself, json would guess at UTF-16 and UTF-32
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
