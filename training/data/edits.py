"""The journal of what was changed in a dataset: append-only, shared by the page and the captioning worker, and the way back.

A record is {op, t, source, captions: {picture: [before, after]}} or {op, t, removed: [picture]} or {op, t, focus: {sha256: [before, after]}} or
{op, t, treated: {sha256: [before, after]}} or {op, t, beside: [control picture]} or {op, t, came: {control picture: its sha256}} or {op, t, restored: version, before: version} or {op, t, undo: op}.
Records with the same `op` are one step for undo: a captioner's run, a find-and-replace, one edit.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..outside import open_plain, open_to_append

MAX_BYTES = 512 << 20


@dataclass
class Edits:
    """The journal at `path`, folded as far as it has been read."""

    path: Path
    records: list[dict] = field(default_factory=list)
    undone: set[str] = field(default_factory=set)
    sources: dict[tuple[str, str], str] = field(default_factory=dict)  # (picture, caption) -> who wrote it
    _read_bytes: int = 0
    _inode: int = 0

    def refresh(self) -> Edits:
        """The same journal, with what was appended since, by this process or another."""
        try:
            file = open_plain(self.path, MAX_BYTES)
        except (OSError, ValueError):  # none, or not one of ours: nothing can be undone
            file = None
        if file is None:
            self.records, self.undone, self.sources, self._read_bytes, self._inode = [], set(), {}, 0, 0
            return self
        with file:
            return self._read_on(file)

    def _read_on(self, file) -> Edits:
        found = os.fstat(file.fileno())
        if found.st_size < self._read_bytes or found.st_ino != self._inode:
            self.records, self.undone, self.sources, self._read_bytes = [], set(), {}, 0
            self._inode = found.st_ino
        if found.st_size == self._read_bytes:
            return self
        file.seek(self._read_bytes)
        data = file.read(MAX_BYTES)
        whole = data[: data.rfind(b"\n") + 1]  # a torn tail waits for the next time
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            try:
                self._fold(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
        return self

    def last(self) -> list[dict]:
        """The records of the newest step that has not been undone, oldest first; [] if there is none."""
        self.refresh()
        for record in reversed(self.records):
            if "undo" not in record and record["op"] not in self.undone:
                return [r for r in self.records if r["op"] == record["op"] and "undo" not in r]
        return []

    def captions(self, op: str, source: str, changes: Mapping[str, tuple[str, str]]) -> None:
        """Note changed captions: {picture: (before, after)}; '' is no caption."""
        self._append({"op": op, "source": source, "captions": {k: list(v) for k, v in changes.items()}})

    def removed(self, op: str, names: Sequence[str]) -> None:
        """Note that pictures were put aside."""
        self._append({"op": op, "removed": list(names)})

    def beside(self, op: str, names: Sequence[str]) -> None:
        """Note that control pictures were put aside, and their pictures were not."""
        self._append({"op": op, "beside": list(names)})

    def came(self, op: str, files: Mapping[str, str]) -> None:
        """Note control pictures that were put beside a picture: {name: sha256}."""
        self._append({"op": op, "came": dict(files)})

    def focus(self, op: str, changes: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
        """Note what crops are cut around: {sha256 of a picture: (before, after)}."""
        self._append({"op": op, "focus": {k: [list(before), list(after)] for k, (before, after) in changes.items()}})

    def treated(self, op: str, changes: Mapping[str, tuple[str, str]]) -> None:
        """Note how pictures are turned, mirrored, trimmed or left out: {sha256 of a picture: (before, after)}, as treatment.py writes it."""
        self._append({"op": op, "treated": {k: list(v) for k, v in changes.items()}})

    def restored(self, op: str, version: int, before: int) -> None:
        """Note that a version was brought back, and which one says what was there before."""
        self._append({"op": op, "restored": version, "before": before})

    def undo(self, op: str) -> None:
        """Note that a step was taken back."""
        self._append({"op": new_op(), "undo": op})

    def _fold(self, record: dict) -> None:
        if not _is_op(record["op"]) or type(record.get("t", 0)) not in (int, float):
            raise TypeError
        if not all(len(pair) == 2 for pair in [*record.get("focus", {}).values(), *record.get("treated", {}).values()]):
            raise TypeError
        if {} in (record.get("focus"), record.get("treated")) or not all(isinstance(name, str) for name in [*record.get("removed", []), *record.get("beside", [])]):
            raise TypeError
        if not all(isinstance(word, str) for pair in record.get("came", {}).items() for word in pair):
            raise TypeError
        if "restored" in record and not (type(record["restored"]) is int and type(record["before"]) is int):
            raise TypeError
        if "undo" in record:
            self.undone.add(record["undo"])
        for name, (_, after) in record.get("captions", {}).items():
            self.sources[name, after] = str(record["source"])
        self.records.append(record)

    def _append(self, record: dict) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"t": round(time.time(), 3)} | record).encode("ascii") + b"\n"
        with os.fdopen(open_to_append(self.path), "ab") as file:
            if file.tell() and not _ends_in_newline(self.path):
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())  # the captions themselves are not: this holds what they were and what they became


def new_op() -> str:
    """A name for one step."""
    return f"{time.time_ns():x}-{secrets.token_hex(3)}"


def _is_op(op: object) -> bool:
    """Whether this can be the name of a step: nothing that leads anywhere, whoever wrote the journal."""
    return isinstance(op, str) and op not in ("", ".", "..") and not set(op) & set("/\\\0")


def _ends_in_newline(path: Path) -> bool:
    with open_plain(path) as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
