"""The half of Easel that stands beside a run which somebody sent here: starts it, says how it is doing, hands its files out.

    python -m training.away.there launch FOLDER [SECONDS]    starts it, detached from whoever calls, and returns when it lives
    python -m training.away.there look FOLDER OFFSET         one line of JSON, then the bytes of events.jsonl behind OFFSET
    python -m training.away.there tell FOLDER LINE           one line for control.jsonl
    python -m training.away.there listing FOLDER             {name: [sha256, bytes]} of the run's files
    python -m training.away.there give FOLDER NAME OFFSET    the bytes of one of them
    python -m training.away.there hand FOLDER                stdin: a list of names; of each a line of JSON, {name, size}, and its bytes
    python -m training.away.there end FOLDER [--remove]      stops all; with --remove nothing is left

FOLDER is a bundle (bundle.py).  `python -m training run-bundle FOLDER` is run() below.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from .. import jobfile, outside
from ..config import TrainConfig, config_hash
from ..files import write_atomic
from ..home import REPO, Home
from ..runs import journal, origin, supervisor
from ..runs.events import ENDINGS
from ..runs.lock import RunLock, is_held
from ..runs.run import Run
from .bundle import BEFORE, JOB, MANIFEST, RUN, settled, sha256_of

LOCK, TROUBLE = "there.lock", "trouble.txt"  # held while run() lives; why it could not begin
CARD = "card.lock"  # beside the bundles: held by the one that trains, as they share the machine's card
PENDING = "pending.jsonl"  # commands that came before the run could hear
WAITS, ENDED = "waits.txt", "ended.txt"  # another one trains; it was ended from outside, and does not begin any more
LOG = "there.log"
MOST_EVENTS_BYTES = 4 << 20  # in one look
MAX_MANIFEST_BYTES = 64 << 20
LAUNCH_WAIT_S = 60.0
BEGUN_WITHIN_S = 60.0
STOP_WAIT_S = 10.0
TICK_S = 0.2
NOT_HELD = ("worker.lock", "control.jsonl")  # files of a run that are no part of what it made


def run(folder: Path, limit_s: float = 0) -> int:
    """Does the job of a bundle, or goes on with it.  0: finished or stopped; 1: failed; 2: not whole, ended before it began, or another does it already.

    One at a time of those that lie beside each other; the others wait.  limit_s: seconds after which it is stopped, with a checkpoint; 0 means never.  A SIGTERM stops it as well.
    """
    lock = RunLock(folder / LOCK)
    if not lock.acquire(wait_s=2.0):
        print("it is being done already", file=sys.stderr)
        return 2
    try:
        (folder / TROUBLE).unlink(missing_ok=True)
        try:
            made = _made(folder)
        except (ValueError, OSError) as error:
            return _trouble(folder, str(error))
        card = RunLock(folder.parent / CARD)
        try:
            if not _may_begin(folder, card):
                return 2
            return _done(made, Home(folder), limit_s)
        except ValueError as error:  # it cannot be started on this machine
            return _trouble(folder, str(error))
        finally:
            card.release()
    finally:
        lock.release()


def _may_begin(folder: Path, card: RunLock) -> bool:
    """True once no other one trains on this machine; False where it was ended, or removed, meanwhile."""
    while not card.acquire(wait_s=TICK_S):
        if not _is_wanted(folder):
            return False
        (folder / WAITS).touch()
    return _is_wanted(folder)


def _is_wanted(folder: Path) -> bool:
    return outside.is_folder(folder) and not outside.is_plain(folder / ENDED)


def _made(folder: Path) -> Run:
    """The run of a bundle, its files checked before it is made.  Raises ValueError, OSError."""
    made = Run(folder / RUN)
    if outside.is_plain(made.path / JOB):
        return made
    for name, (sha256, size) in manifest(folder).items():
        if not _is_wanted(folder):
            raise ValueError("it was ended while it was looked through")
        path = outside.inside(folder, name)
        if path.lstat().st_size != size or sha256_of(path) != sha256:
            raise ValueError(f"{name} did not arrive whole; send it again")
    config = TrainConfig.model_validate(settled(jobfile.load_mapping(folder / JOB), folder.resolve()))
    made.path.mkdir(parents=True, exist_ok=True)
    for _, checkpoint in made.checkpoints():
        _as_of(checkpoint / MANIFEST, config)
    if outside.is_plain(folder / BEFORE):
        write_atomic(made.events_path, outside.read_plain(folder / BEFORE, MAX_MANIFEST_BYTES))
    write_atomic(made.path / JOB, jobfile.dump_yaml(config).encode())
    origin.adopt(made.path)  # whoever may write into this folder has sent it
    return made


def _begun(folder: Path) -> bool:
    """Whether the run has said a word there, behind what came along."""
    return journal.size_bytes(folder / RUN / "events.jsonl") > journal.size_bytes(folder / BEFORE)


def _as_of(path: Path, config: TrainConfig) -> None:
    """A checkpoint that came along is one of this job: its files have other paths here, and nothing else differs, as a job is written once."""
    told = outside.read_json(path, MAX_MANIFEST_BYTES)
    if not isinstance(told, dict):
        raise ValueError(f"{path.parent.name}/{path.name} is not one that Easel wrote")
    write_atomic(path, json.dumps({**told, "config_hash": config_hash(config)}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def manifest(folder: Path) -> dict[str, tuple[str, int]]:
    """{name: (sha256, bytes)} of what a bundle says that it holds, itself left out.  Raises ValueError, OSError."""
    told = outside.read_json(folder / MANIFEST, MAX_MANIFEST_BYTES)
    if not isinstance(told, dict):
        raise ValueError(f"{MANIFEST} is not a list of files")
    return {name: (str(row[0]), int(row[1])) for name, row in told.items()}


def _done(run: Run, home: Home, limit_s: float) -> int:
    told: list[int] = []  # a signal handler may do little: it says so here
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda number, frame: told.append(number))
    ends = time.monotonic() + limit_s if limit_s else float("inf")
    if run.status() == "finished":
        return 0
    heard = journal.size_bytes(home.root / PENDING) if _begun(home.root) else 0  # what an earlier attempt was told is not for this one
    supervisor.start(run, home)
    goes_on = True
    while goes_on:
        while run.locked() or supervisor.starting(run) or supervisor.ending(run):
            heard = _passed_on(home.root / PENDING, heard, run)
            if (told or time.monotonic() > ends) and run.status() == "running":
                run.command("stop")
                told.clear()
                ends = float("inf")
            time.sleep(TICK_S)
        # the system may have killed it for want of memory; nobody else looks after it here
        goes_on = not told and time.monotonic() < ends and _is_wanted(home.root) and bool(supervisor.resume_milder(home))
    return 0 if run.status() in ("finished", "stopped") else 1


def _passed_on(pending: Path, heard: int, run: Run) -> int:
    """How much of what came too early the run has been given, which it is when its worker can hear it."""
    if not _begun(pending.parent):
        return heard
    records, heard, _ = journal.read(pending, heard)
    for record in records:
        journal.append(run.control_path, record)
    return heard


def _trouble(folder: Path, why: str) -> int:
    print(why, file=sys.stderr)
    write_atomic(folder / TROUBLE, why.encode())
    return 2


def launch(folder: Path, limit_s: float = 0) -> None:
    """run() in a process of its own, which outlives whoever asked for it; alive, or over, when this returns.  One that runs already is left alone."""
    if is_held(folder / LOCK):
        return
    for name in (WAITS, ENDED):
        (folder / name).unlink(missing_ok=True)
    with os.fdopen(outside.open_to_append(folder / LOG), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training", "run-bundle", str(folder), "--limit", str(int(limit_s))],
            cwd=REPO, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + LAUNCH_WAIT_S
    while process.poll() is None and not _begun(folder) and not (folder / WAITS).exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def look(folder: Path, offset: int) -> tuple[dict[str, object], bytes]:
    """({status, offset, log, why}, events behind `offset` up to a line's end): see place.Look."""
    run, alive = Run(folder / RUN), is_held(folder / LOCK)  # asked before the events are read: who is gone has said all
    if not outside.is_folder(folder):
        return {"status": "gone", "offset": offset, "log": "", "why": "it is no longer there"}, b""
    begun = _begun(folder)
    events = _events(run.events_path, offset) if begun else b""
    behind = offset + len(events)
    more = len(events) >= MOST_EVENTS_BYTES // 2
    status, why = ("running" if begun else "waiting"), ""
    if not alive and not run.locked() and not more and (begun or not _just_came(folder)):
        status, why = _over(folder, run)
    return {"status": status, "offset": behind, "log": run.log_tail(40), "why": why}, events


def _just_came(folder: Path) -> bool:
    """Whether it may be that nobody has begun it yet: its list of files is some seconds old."""
    try:
        return not outside.is_plain(folder / TROUBLE) and time.time() - (folder / MANIFEST).lstat().st_mtime < BEGUN_WITHIN_S
    except OSError:
        return False


def _over(folder: Path, run: Run) -> tuple[str, str]:
    if outside.is_plain(folder / TROUBLE):
        return "failed", outside.read_text(folder / TROUBLE, 100_000)
    if not outside.is_plain(run.path / JOB):
        return "failed", "it was not begun there"
    status = run.status()
    if status in ENDINGS:
        return ("failed" if status == "failed" else "finished"), run.why()
    return "failed", (run.why() if _begun(folder) else "") or "it ended there before it began; the log has more"


def _events(path: Path, offset: int) -> bytes:
    try:
        with outside.open_plain(path) as file:
            file.seek(offset)
            found = file.read(MOST_EVENTS_BYTES)
    except FileNotFoundError:
        return b""
    return found[: found.rfind(b"\n") + 1]


def tell(folder: Path, line: str) -> None:
    """The run is told one line of JSON, as soon as it can hear.  Raises ValueError for what is none."""
    record = outside.parse_json(line, "the line")
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise ValueError(f"{line!r} is no command")
    run = Run(folder / RUN)
    journal.append(run.control_path if _begun(folder) else folder / PENDING, record)


def listing(folder: Path) -> dict[str, tuple[str, int]]:
    """{name: (sha256, bytes)} of the files that a run has made."""
    root, found = folder / RUN, {}
    for path in sorted(root.rglob("*")) if outside.is_folder(root) else []:
        name = path.relative_to(root).as_posix()
        if outside.is_plain(path) and name not in NOT_HELD and not any(part.startswith(".") for part in name.split("/")):
            found[name] = (sha256_of(path), path.lstat().st_size)
    return found


def hand(folder: Path, names: list[str], out: BinaryIO) -> None:
    """Several of the run's files, one behind the other; one that is not there is passed over."""
    for name in names:
        try:
            file = outside.open_plain(outside.inside(folder / RUN, name))
        except (ValueError, OSError):
            continue
        with file:
            size = os.fstat(file.fileno()).st_size
            out.write(json.dumps({"name": name, "size": size}).encode() + b"\n")
            while size and (piece := file.read(min(size, 1 << 20))):
                out.write(piece)
                size -= len(piece)
            out.write(b"\0" * size)  # it became shorter: its hash will not be the one that was said


def end(folder: Path, remove: bool) -> None:
    """Nothing of it runs any more; with `remove`, nothing of it is left.  Raises ValueError for a folder that is no bundle."""
    if not outside.is_folder(folder):
        return
    if not outside.is_plain(folder / MANIFEST):
        raise ValueError(f"{folder} is not what was sent, so it is left alone")
    (folder / ENDED).touch()  # one that waits, or is looked through, does not begin any more
    run = Run(folder / RUN)
    if run.locked():
        supervisor.kill(run)
    deadline = time.monotonic() + STOP_WAIT_S
    while is_held(folder / LOCK) and time.monotonic() < deadline:  # it sees that its worker is gone
        time.sleep(0.05)
    if remove:
        shutil.rmtree(folder)


def main(words: list[str]) -> int:
    """The exit status."""
    what, folder, rest = words[0], Path(words[1]).absolute(), words[2:]
    try:
        if what == "launch":
            launch(folder, float(rest[0]) if rest else 0)
        elif what == "look":
            head, events = look(folder, int(rest[0]))
            sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + events)
        elif what == "tell":
            tell(folder, rest[0])
        elif what == "listing":
            print(json.dumps(listing(folder)))
        elif what == "give":
            with outside.open_plain(outside.inside(folder / RUN, rest[0])) as file:
                file.seek(int(rest[1]))
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        elif what == "hand":
            hand(folder, json.loads(sys.stdin.buffer.read()), sys.stdout.buffer)
        elif what == "end":
            end(folder, "--remove" in rest)
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
