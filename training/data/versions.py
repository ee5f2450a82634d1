"""The versions of a dataset: what it was after each step, in small files beside it, so that any of them can be seen, compared and brought back.

A step (an import, a change of many captions, a removal, an undo, a version brought back) is a version when it ends.  What is typed or moved
one by one is gathered: it becomes a version before the next step, when a training starts, when somebody asks for one, and when typing goes on
after a pause of QUIET_S.  So does what was changed in the folder with other programs.

    .easel/versions/000012.version    a line of JSON: what was done, when, how many; then, compressed, what differs from the version before
    .easel/versions/runs.jsonl        which run was trained on which

The pictures themselves are not in there: they lie in the folder or, once removed, in the bin (bin.py), and are found by their sha256.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..files import write_atomic
from ..outside import is_plain, open_plain, open_to_append, parse_json, read_plain
from . import states
from .folder import Folder
from .memory import memory_of
from .states import State
from .verdicts import counted

FOLDER, RUNS = "versions", "runs.jsonl"
QUIET_S = 600.0  # so long a pause in typing ends what is gathered
WHOLE_EVERY = 50  # versions; each of those is written whole, so that none is a change of a change of a hundred others
MOST, MOST_BYTES, NEWEST = 500, 100_000_000, 20  # of more, the oldest that no run was trained on go; the newest always stay
MAX_HEAD_BYTES = 20_000
MAX_BODY_BYTES = 256 << 20
MAX_RUNS_BYTES = 4 << 20
MAX_WORDS = 300
DID = {
    "typed": "{} typed", "replaced": "text replaced in {}", "prefix": "text put in front of {}", "suffix": "text put behind {}", "tags": "tags changed in {}",
    "read again": "{} read in another encoding", "folder": "{} taken from the names of folders", "file": "{} taken from files",
}  # fmt: skip
IN_FOLDER = "changed in its folder"


@dataclass(frozen=True)
class Version:
    """What is said of one version without reading it whole.  id: 1, 2, …  t: UTC seconds.  did: what was done, in words.  change: what that came to.

    before: the version that it is written as a change of; 0 for one that is whole.  depth: how many changes lie on the whole one that it rests on.
    """

    id: int
    t: float
    did: str
    change: str
    pictures: int
    captions: int
    digest: str
    before: int = 0
    depth: int = 0
    size_bytes: int = 0


@dataclass
class Step:
    """What is going on.  did: what it was, in words; the version that it makes is called so."""

    did: str = ""


# -- asking


def listed(folder: Folder) -> list[Version]:
    """All versions, oldest first.  Files that are none of ours are left out."""
    found = []
    try:
        with os.scandir(folder.meta / FOLDER) as entries:
            rows = sorted((int(m[1]), entry) for entry in entries if (m := re.fullmatch(r"(\d{6,9})\.version", entry.name)))
    except OSError:
        return []
    for number, entry in rows:
        try:
            found.append(_head(Path(entry.path), number))
        except (OSError, ValueError):
            continue
    return found


def newest(folder: Folder) -> Version | None:
    """The last one; None where there is none yet."""
    return next(iter(reversed(listed(folder))), None)


def get(folder: Folder, id: int) -> Version:
    """One of them.  Raises ValueError where there is none."""
    try:
        return _head(_path(folder, id), id)
    except FileNotFoundError:
        there = [v.id for v in listed(folder)]
        if len(there) > 1:
            raise ValueError(f"{folder.title!r} has no version {id}; it has versions {there[0]} to {there[-1]}") from None
        raise ValueError(f"{folder.title!r} has no version {id}; it has version {there[0]}" if there else f"{folder.title!r} has no version {id}") from None
    except OSError as error:
        raise ValueError(f"version {id} of {folder.title!r} cannot be read: {error.strerror}") from None


def read(folder: Folder, id: int) -> State:
    """What the dataset was then.  Raises ValueError for a version that is not there or damaged."""
    memory = memory_of(folder.meta)
    with memory.lock:
        if memory.version and memory.version[0].id == id and is_plain(_path(folder, id)) and _head(_path(folder, id), id).digest == memory.version[0].digest:
            return memory.version[1]
        chain, at = [], id
        while at:
            head, change = _body(folder, at)
            chain.append((head, change))
            at = head.before
        state = State()
        try:
            for _, change in reversed(chain):
                state = states.applied(state, change)
        except ValueError as error:
            raise ValueError(f"version {id} of {folder.title!r} is damaged: {error}") from None
        if state.digest != chain[0][0].digest:
            raise ValueError(f"version {id} of {folder.title!r} is damaged: it is not what it says that it is")
        memory.version = chain[0][0], state
        return state


def files_of_each(folder: Folder) -> Iterator[tuple[Version, Mapping[str, str]]]:
    """Each version with the files of then, {name: sha256}, oldest first, at the price of reading each once.  Raises ValueError at a damaged one."""
    before, files = 0, {}
    for version in listed(folder):
        if version.before and version.before != before:
            files = dict(read(folder, version.id).files)
        else:
            change = _body(folder, version.id)[1]
            files = {} if not version.before else files
            for name in change.get("-files", []):
                files.pop(name, None)
            files |= change.get("files", {})
        before = version.id
        yield version, files


def pending(folder: Folder) -> str:
    """What was done since the newest version as far as the journal knows, in words; "" for nothing.  Does not look at the folder."""
    last = newest(folder)
    if last is None:
        return ""
    counts: Counter[str] = Counter()
    seen, crops, treated = set(), set(), set()
    for record in reversed(folder._edits().refresh().records):
        if record.get("t", 0) <= last.t:
            break
        texts = record.get("captions", {}).keys() - seen
        counts[str(record.get("source", ""))] += len(texts)
        seen |= texts
        crops |= record.get("focus", {}).keys()
        treated |= record.get("treated", {}).keys()
    said = [captions_said(n, source) for source, n in counts.items() if n]
    said += [f"{counted(len(treated), 'picture')} turned, mirrored, trimmed or left out"] if treated else []
    return ", ".join(said + ([f"{counted(len(crops), 'crop')} moved"] if crops else []))


def captions_said(count: int, source: str) -> str:
    """'Tags changed in 12 captions', without its capital letter.  source: as set_captions has it."""
    return DID.get(source, f"{{}} by {source}").format(counted(count, "caption"))


# -- making


@contextmanager
def step(folder: Folder, did: str = "") -> Iterator[Step]:
    """Inside, something is done that becomes one version, with what lies before it kept as another.  A step within a step belongs to the outer one."""
    memory = memory_of(folder.meta)
    going = Step(did)
    if threading.get_ident() in memory.stepping:
        yield going
        return
    gather(folder)
    memory.stepping.add(threading.get_ident())
    try:
        yield going
    except BaseException:
        with suppress(OSError, ValueError):  # what went wrong first is what is told
            record(folder, f"{going.did}, cut off" if going.did else "")
        raise
    finally:
        memory.stepping.discard(threading.get_ident())
    record(folder, going.did)


def gather(folder: Folder, did: str = "") -> Version | None:
    """The version of the dataset as it is, made where the newest is not that.  None for a dataset that never held anything.  did: in place of words of our own."""
    return record(folder, did, gathered=True)


def typing(folder: Folder) -> None:
    """Somebody is about to type or move one thing; after a pause, what was done before it is a version first, unless pictures would have to be read for that."""
    memory = memory_of(folder.meta)
    if threading.get_ident() in memory.stepping:
        return
    last = next((r.get("t", 0) for r in reversed(folder._edits().refresh().records)), 0)
    if time.time() - last > QUIET_S and states.known(folder):
        gather(folder)


def record(folder: Folder, did: str, gathered: bool = False) -> Version | None:
    """The version that says what the dataset is now: the newest one, if that is it, else a new one.  None for an empty one that has none.

    It is whole on the disk when this returns, or not there at all.
    """
    with folder._locked():
        state, last = states.now(folder), newest(folder)
        if (last and last.digest == state.digest) or (last is None and state == State()):
            return last
        before = State()
        if last:
            try:
                before = read(folder, last.id)
            except (ValueError, OSError):
                last = replace(last, depth=WHOLE_EVERY)  # it cannot be built upon: this one is whole
        difference = states.compare(before, state)
        if gathered and not did:
            did = pending(folder) if last else "as it was found"
            files = difference.added or difference.removed or difference.replaced
            if last and files:
                did = f"{did}, {IN_FOLDER}" if did else IN_FOLDER
            elif not did:
                did = IN_FOLDER if difference.captions else difference.says()
        on = last if last and last.depth < WHOLE_EVERY - 1 else None
        change = states.delta(before if on else State(), state)
        made = Version(
            (last.id if last else 0) + 1, round(time.time(), 3), _sentence(did)[:MAX_WORDS], difference.says(), state.pictures, len(state.captions), state.digest,
            on.id if on else 0, on.depth + 1 if on else 0,
        )  # fmt: skip
        made = _write(folder, made, change)
        memory_of(folder.meta).version = made, state
        _prune(folder)
        return made


def trained(folder: Folder, id: int, run: str, title: str) -> None:
    """Note that a run was trained on a version, which therefore stays."""
    with folder._locked():
        if any(row["version"] == id and row["run"] == run for row in runs(folder)):
            return
        path = folder.meta / FOLDER / RUNS
        line = json.dumps({"version": id, "run": run, "title": title[:200]}).encode("ascii") + b"\n"
        with os.fdopen(open_to_append(path), "r+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def runs(folder: Folder) -> list[dict[str, Any]]:
    """[{version, run, title}] of the runs that were trained on it, some of which may be gone."""
    try:
        lines = read_plain(folder.meta / FOLDER / RUNS, MAX_RUNS_BYTES).splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        try:
            row = parse_json(line, RUNS)
        except ValueError:
            continue
        if isinstance(row, dict) and type(row.get("version")) is int and isinstance(row.get("run"), str) and isinstance(row.get("title"), str):
            found.append(row)
    return found


# -- inside


def _path(folder: Folder, id: int) -> Path:
    return folder.meta / FOLDER / f"{id:06d}.version"


def _write(folder: Folder, version: Version, change: Mapping[str, Any]) -> Version:
    told = {k: v for k, v in asdict(version).items() if k not in ("id", "size_bytes")}
    data = json.dumps(told).encode("ascii") + b"\n" + zlib.compress(states.canonical(change), 6)
    path = _path(folder, version.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
    return replace(version, size_bytes=len(data))


def _head(path: Path, id: int) -> Version:
    with open_plain(path) as file:
        return _version(file.readline(MAX_HEAD_BYTES), id, os.fstat(file.fileno()).st_size)


def _version(line: bytes, id: int, size_bytes: int) -> Version:
    told = parse_json(line, f"version {id}")
    kinds: dict[str, Any] = {"t": (int, float), "did": str, "change": str, "pictures": int, "captions": int, "digest": str, "before": int, "depth": int}
    if not isinstance(told, dict) or set(told) != set(kinds) or not all(isinstance(told[k], kind) and type(told[k]) is not bool for k, kind in kinds.items()):
        raise ValueError(f"version {id} does not say what it is")
    if not (0 <= told["before"] < id and 0 <= told["t"] < 2**40 and bool(told["before"]) == bool(told["depth"])):
        raise ValueError(f"version {id} does not say what it is")
    return Version(id=id, size_bytes=size_bytes, **told | {"did": told["did"][:MAX_WORDS], "change": told["change"][:MAX_WORDS]})


def _body(folder: Folder, id: int) -> tuple[Version, dict[str, Any]]:
    """(what it says of itself, what it changes).  Raises ValueError, also for a file that unpacks to more than it may."""
    try:
        head, _, body = read_plain(_path(folder, id), MAX_BODY_BYTES).partition(b"\n")
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(body, MAX_BODY_BYTES)
        if not unpacking.eof:
            raise ValueError("it is cut off, or too long")
        change = parse_json(text, f"version {id}")
        if not isinstance(change, dict) or not all(isinstance(change.get(m, {}), dict) and _are_texts(change.get(f"-{m}", [])) for m in states.MAPS):
            raise ValueError("it holds no change")
        return _version(head, id, len(head) + 1 + len(body)), change
    except FileNotFoundError:
        raise ValueError(f"{folder.title!r} has no version {id}") from None
    except (ValueError, OSError, zlib.error) as error:
        raise ValueError(f"version {id} of {folder.title!r} is damaged: {error}") from None


def _prune(folder: Folder) -> None:
    """Of too many, the oldest go that no run was trained on; what they changed is put into the one after them."""
    there = listed(folder)
    if len(there) <= MOST and sum(v.size_bytes for v in there) <= MOST_BYTES:
        return
    kept = {row["version"] for row in runs(folder)}
    for at, version in enumerate(there[:-NEWEST]):
        left = listed(folder)
        if len(left) <= MOST and sum(v.size_bytes for v in left) <= MOST_BYTES:
            return
        if version.id in kept:
            continue
        after = there[at + 1]
        if after.before == version.id:
            try:
                (own, change), (_, later) = _body(folder, version.id), _body(folder, after.id)
            except ValueError:  # a damaged one stays where it is, and is in nobody's way
                continue
            _write(folder, replace(after, before=own.before, depth=own.depth), states.joined(change, later))  # before the other goes
            there[at + 1] = replace(after, before=own.before, depth=own.depth)
        _path(folder, version.id).unlink()


def _are_texts(rows: object) -> bool:
    return isinstance(rows, list) and all(isinstance(row, str) for row in rows)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text else "Changed"
