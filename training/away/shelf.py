"""Our end of a shelf: a run there by way of files that are each written once.  What lies on it, and the other end: shelved.py."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from .. import jobfile, outside
from ..formats.basemodel import BUILTIN_SOURCE
from . import checkout, shelved
from .place import Look, Refused, Unreachable

if TYPE_CHECKING:
    from .bundle import Bundle

AT_ONCE_BYTES, AT_ONCE_FILES = 64 << 20, 200  # sent together: so far an interruption sets back
MOST_REPORT_BYTES = 64 << 20
STATUSES = ("running", "finished", "failed")
START = "start.py"  # shelved.py, under the name that the other machine starts


class Store(Protocol):
    """Where a shelf lies.  Each raises Unreachable or Refused."""

    def put(self, files: Mapping[str, Path | bytes]) -> None: ...

    def names(self, folder: str) -> dict[str, int]: ...  # {name in that folder: bytes}, also of a folder that is not there yet

    def get(self, files: Mapping[str, Path]) -> None: ...  # {name: where it is to lie here}


@dataclass(frozen=True)
class Peek:
    """What the other end says.  report: its newest one, empty where there is none yet; events: what came behind the offset."""

    report: dict[str, Any]
    events: bytes
    offset: int


def send(store: Store, bundle: Bundle, source: str, say: Callable[[str, float], None]) -> None:
    """Puts a bundle and the code on the shelf, those contents alone that do not lie there whole, and the list of them last.  source: the base model."""
    code = checkout.files(builtin=source == BUILTIN_SOURCE)
    contents = {digest: (size, path) for path, digest, size in code.values()}
    contents |= {digest: (size, bundle.folder / name) for name, (digest, size) in bundle.files.items()}
    there = store.names("objects")
    missing = [(f"objects/{digest}", size, path) for digest, (size, path) in contents.items() if there.get(digest) != size]
    of, done, batch, batch_bytes = sum(size for _, size, _ in missing), 0, {}, 0
    for name, size, path in [*missing, ("", 0, Path())]:
        if batch and (not name or batch_bytes + size > AT_ONCE_BYTES or len(batch) >= AT_ONCE_FILES):
            store.put(batch)
            done, batch, batch_bytes = done + batch_bytes, {}, 0
            say("sending", done / of if of else 1.0)
        if name:
            batch[name], batch_bytes = path, batch_bytes + size
    rows = {"checkout": {name: row[1:] for name, row in code.items()}, "bundle": {name: list(row) for name, row in bundle.files.items()}}
    store.put({START: Path(shelved.__file__)})
    store.put({"order.json": json.dumps(rows).encode()})


def begin(store: Store, limit_s: int) -> None:
    """Says to a queue that all is there.  limit_s: seconds that it may take, 0 for ever."""
    store.put({"go": str(limit_s).encode()})


def load_job(bundle: Bundle) -> dict[str, Any]:
    """The bundle's job, as it stands there."""
    return jobfile.load_mapping(bundle.folder / "job.yaml")


def names_of(answer: bytes) -> dict[str, int]:
    """What shelved.py's `names` printed.  Raises Unreachable."""
    try:
        return {str(name): int(size) for name, size in json.loads(answer).items()}
    except (ValueError, AttributeError, TypeError):
        raise Unreachable("the other machine answers in a way that Easel does not know") from None


def peek(store: Store, offset: int) -> Peek:
    """The newest report, and the events behind `offset`, put together from all reports that hold some."""
    names = sorted((_numbers(name), name) for name in store.names("out"))
    if not names:
        return Peek({}, b"", offset)
    chosen = [(key, name) for key, name in names if key[2] > offset] or names[-1:]
    if chosen[-1] != names[-1]:
        chosen.append(names[-1])
    events = b""
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        store.get({f"out/{name}": Path(folder) / name for _, name in chosen})
        for (_, start, to), name in chosen:
            report = _report(Path(folder) / name)
            data = report["events"].encode()
            at = offset + len(events)
            if start <= at < to:
                events += data[at - start :]
    return Peek(report, events, offset + len(events))


def look(found: Peek, why: str) -> Look:
    """How the run is doing.  why: the machine is over, says its owner, in a sentence; "" while it works or waits."""
    said = found.report.get("status", "")
    log = found.report.get("log", "")
    if said in ("finished", "failed"):
        return Look(said, found.events, found.offset, log, found.report["why"])
    if why:  # it ended, and the other end did not come to say how
        return Look("failed", found.events, found.offset, log, why)
    return Look("running" if said else "waiting", found.events, found.offset, log, "")


def tell(store: Store, line: str) -> None:
    """One more line for the run's control.jsonl."""
    last = max((int(name) for name in store.names("control") if name.isdigit()), default=0)
    store.put({f"control/{last + 1:06d}": line.strip().encode()})


def listing(store: Store) -> dict[str, tuple[str, int]]:
    """{name: (sha256, bytes)} of the run's files that lie there."""
    behind_all = max((_numbers(name)[2] for name in store.names("out")), default=0)
    return {name: (digest, size) for name, (digest, size) in peek(store, behind_all).report.get("files", {}).items()}


def fetch(store: Store, name: str, target: Path) -> None:
    """One file of the run, as fetch_many does it."""
    fetch_many(store, {name: target})


def fetch_many(store: Store, files: Mapping[str, Path]) -> None:
    """Files of the run, {name: where it is to lie}, each compared with its hash; one that arrived damaged does not lie there, and whoever asked decides."""
    there = listing(store)
    for name in files:
        if name not in there:
            raise Refused(f"{name} is not among what was made there")
    wanted = {f"objects/{there[name][0]}": target for name, target in files.items()}  # of several with one content, one
    store.get(wanted)
    for name, target in files.items():
        first = wanted[f"objects/{there[name][0]}"]
        if first != target:
            shutil.copyfile(first, target)
        if hash_of(target) != there[name][0]:
            target.unlink()


def hash_of(path: Path) -> str:
    """The sha256 of a file."""
    with outside.open_plain(path, linked=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _numbers(name: str) -> tuple[int, int, int]:
    try:
        return shelved._numbers(name)
    except ValueError:
        raise Refused(f"{name!r} lies among the reports from the other machine and is none of them") from None


def _report(path: Path) -> dict[str, Any]:
    """A report, looked at as what a stranger wrote.  Raises Refused."""
    try:
        report = outside.read_json(path, MOST_REPORT_BYTES)
        texts = all(isinstance(report[key], str) for key in ("status", "why", "log", "events"))
        files = all(_plain(n) and isinstance(d, str) and len(d) == 64 and d.isalnum() and isinstance(b, int) for n, (d, b) in report["files"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        texts = files = False
    if not texts or not files or report["status"] not in STATUSES:
        raise Refused("what the other machine reports makes no sense, or names a file outside the run's folder")
    return report


def _plain(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and not any(p == ".." or p.startswith(".") for p in path.parts) and "\\" not in name and ":" not in name
