"""A run: a folder that holds a config and everything that ever happened to it.  A path with methods, no state of its own."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sentences import sentences
from . import death, journal
from .events import ENDINGS, RunView, fold
from .lock import RunLock, is_held

if TYPE_CHECKING:
    from ..config import JobConfig

COMMANDS = {"stop": (), "save": (), "sample": ("prompt",)}
STATUSES = ("queued", "running", "finished", "stopped", "failed", "interrupted")
LOG_TAIL_BYTES = 256 * 1024
_STAMP = "%Y-%m-%d_%H%M"
_STAMP_CHARS = len("2026-01-31_1420")

# (path, time, size) -> what job.yaml holds: it is written once, so what was read stays true
_read_jobs: dict[tuple[str, int, int], dict[str, Any]] = {}


@dataclass(frozen=True)
class Run:
    """One run folder.  `open` is for ids that come from outside; the constructor trusts its path."""

    path: Path

    @classmethod
    def open(cls, outputs: Path, id: str) -> Run:
        """The run called `id`.  Raises ValueError when there is none, or when the id would lead out of `outputs`."""
        inside = isinstance(id, str) and id and not id.startswith(".") and not any(c in id for c in "/\\\0") and Path(id).name == id
        path = outputs / id if inside else outputs
        if not inside or path.resolve().parent != outputs.resolve() or not (path / "job.yaml").is_file():
            raise ValueError(f"there is no run called {id!r}; choose one from the list of runs")
        return cls(path)

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def title(self) -> str:
        """The name that the user gave."""
        return str(self.job()["name"])

    @property
    def kind(self) -> str:
        """The job kind."""
        return str(self.job()["kind"])

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def control_path(self) -> Path:
        return self.path / "control.jsonl"

    @property
    def lock_path(self) -> Path:
        return self.path / "worker.lock"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def plugins(self) -> Path:
        """<home>/plugins of the home that this run lies in."""
        return self.path.parent.parent / "plugins"

    @property
    def created_t(self) -> float:
        """When the run was made, UTC seconds.  A copied folder has lost the second, but its name keeps the minute."""
        written_t = (self.path / "job.yaml").stat().st_mtime
        try:
            minute_t = time.mktime(time.strptime(self.id[:_STAMP_CHARS], _STAMP))
        except (ValueError, OverflowError):
            return written_t
        return written_t if minute_t <= written_t < minute_t + 60 else minute_t

    def job(self) -> dict[str, Any]:
        """The mapping in job.yaml, as it stands there; every job has kind and name.  Raises ValueError, OSError."""
        from .. import jobfile

        path = self.path / "job.yaml"
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        if key not in _read_jobs:
            job = jobfile.load_mapping(path)
            if not job.get("kind") or not job.get("name"):
                raise ValueError(f"{self.id}/job.yaml has no kind or no name")
            _read_jobs[key] = job
        return _read_jobs[key]

    def config(self) -> JobConfig:
        """The whole config, of the run's own kind.  Raises ValueError for a job that this version cannot read."""
        from .. import jobfile, registry

        return jobfile.parse(registry.get("jobs", self.kind, self.plugins).Config, self.job(), f"{self.id}/job.yaml")

    def events(self, cursor: int = 0) -> tuple[list[dict[str, Any]], int]:
        """(events after byte `cursor`, the cursor for the next call)."""
        records, cursor, _ = journal.read(self.events_path, cursor)
        return records, cursor

    def view(self) -> RunView:
        """Everything that happened, folded."""
        records, _, bad = journal.read(self.events_path)
        view = fold(RunView(), records)
        return dataclasses.replace(view, bad_lines=view.bad_lines + bad)

    def last(self, kind: str = "") -> dict[str, Any] | None:
        """The newest event, or the newest of a kind; reads only the end of the file."""
        for record in journal.backwards(self.events_path):
            if fold(RunView(), [record]).last_kind and kind in ("", record["kind"]):
                return record
        return None

    def last_kind(self) -> str:
        """view().last_kind without reading everything."""
        record = self.last()
        return record["kind"] if record else ""

    def locked(self) -> bool:
        """Does a worker live?  It may have written its last event already."""
        return is_held(self.lock_path)

    def status(self) -> str:
        """One of STATUSES, computed from the last event and the lock; never stored."""
        if (last := self.last_kind()) in ENDINGS:
            return last
        if self.locked():
            return "running"
        last = self.last_kind()  # the worker may have ended well between the two looks
        return last if last in ENDINGS else "interrupted" if last else "queued"

    def command(self, kind: str, **data: Any) -> None:
        """Asks the worker to stop, save, or sample {prompt}.  Stop takes a queued run out of the queue.

        Raises ValueError when nobody is there to do it.
        """
        from ..hub.secrets import mask

        if kind not in COMMANDS or set(data) != set(COMMANDS[kind]):
            raise ValueError(f"there is no command {kind!r} with {sorted(data)}; there are: {COMMANDS}")
        status = self.status()
        if status != "running" and not (kind == "stop" and status == "queued"):
            raise ValueError(f"'{self.title}' is not running (it is {status}), so it cannot {kind}")
        if status == "queued":
            self._leave_the_queue()
        told = {key: mask(value) if isinstance(value, str) else value for key, value in data.items()}
        # also after leaving the queue: a worker that is being spawned right now must see it
        journal.append(self.control_path, {"t": round(time.time(), 3), "kind": kind, **told})

    def accept_changes(self) -> None:
        """The next attempt may go on although its pictures or captions are no longer those of its last checkpoint."""
        journal.append(self.control_path, {"t": round(time.time(), 3), "kind": "accept_changes"})

    def changes_accepted(self) -> bool:
        """Was accept_changes() said since the last checkpoint?"""
        saved = self.last("checkpoint")
        records, _, _ = journal.read(self.control_path)
        return any(r.get("kind") == "accept_changes" and r.get("t", 0) >= (saved or {"t": 0})["t"] for r in records)

    def log_tail(self, max_lines: int = 200) -> str:
        """The last lines of log.txt, masked; of a line that was redrawn, what it showed in the end."""
        from ..hub.secrets import mask

        try:
            with open(self.log_path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LOG_TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
        return mask("\n".join(lines[-max_lines - 1 :]).strip("\n"))

    def checkpoints(self) -> list[tuple[int, Path]]:
        """[(step, folder)] of the checkpoints that are whole on disk, oldest first."""
        folder = self.path / "checkpoints"
        if not folder.is_dir():
            return []
        whole = [p for p in folder.iterdir() if p.name.isascii() and p.name.isdigit() and (p / "MANIFEST.json").is_file()]
        return sorted((int(p.name), p) for p in whole)

    def result(self) -> Path | None:
        """The finished .safetensors, or the folder of a whole denoiser; None while there is none, and for jobs that make no such thing."""
        record = self.last("finished")
        return self.made(str(record["path"])) if record and record["path"] else None

    def made(self, path: str) -> Path | None:
        """What `finished` named, where it is a result and truly lies in the run."""
        made = self.path / path
        whole = made.is_dir() and made != self.path and any(made.glob("*/config.json"))
        ours = path and (whole or (made.suffix == ".safetensors" and made.is_file())) and made.resolve().is_relative_to(self.path.resolve())
        return made if ours else None

    def why(self) -> str:
        """Why it ended, and what to do next, for a failed or interrupted run; "" for any other."""
        status = self.status()
        if status == "failed":
            view = self.view()
            return sentences(view.error, view.hint)
        if status != "interrupted":
            return ""
        return death.of_silence(self.view(), [step for step, _ in self.checkpoints()], self.log_tail(2000), str(self.path))

    def size_bytes(self) -> int:
        """What the folder takes on disk; a file that disappears meanwhile counts nothing."""
        total, folders = 0, [self.path]
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError:
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    try:
                        total += entry.stat(follow_symlinks=False).st_size
                    except OSError:
                        continue
        return total

    def _leave_the_queue(self) -> None:
        lock = RunLock(self.lock_path)
        if lock.acquire(wait_s=0):  # a run without a worker has no writer: with its lock, we may be it
            try:
                if not self.last_kind():
                    journal.append(self.events_path, {"t": round(time.time(), 3), "kind": "stopped", "step": 0}, fsync=True)
            finally:
                lock.release()


def create(outputs: Path, config: JobConfig) -> Run:
    """A new, queued run.  It appears with its whole job.yaml or not at all.  Raises ValueError, OSError."""
    from ..files import fsync_folder, write_atomic
    from ..hub.secrets import mask
    from ..jobfile import MAX_BYTES, dump_yaml
    from ..names import folder_name

    text = dump_yaml(config)
    if mask(text) != text:
        raise ValueError("the job holds what looks like an access token; sign in with it instead, a job file is kept as plain text")
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"the job takes {len(text.encode())} bytes; {MAX_BYTES} is the most. Shorten its longest text")
    outputs.mkdir(parents=True, exist_ok=True)
    fresh = outputs / f".new-{secrets.token_hex(6)}"
    fresh.mkdir()
    try:
        write_atomic(fresh / "job.yaml", text.encode())
        path = _take_name(fresh, outputs, f"{time.strftime(_STAMP)}_{folder_name(config.name)}")
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    fsync_folder(outputs)
    return Run(path)


def list_runs(outputs: Path, kinds: set[str] | None = None) -> list[Run]:
    """The runs, newest first, or those of some kinds; folders without a readable job.yaml are left out."""
    try:
        folders = [Path(entry.path) for entry in os.scandir(outputs) if entry.is_dir() and not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    found = []
    for run in map(Run, folders):
        try:
            if kinds is None or run.kind in kinds:
                run.job()
                found.append(((run.id[:_STAMP_CHARS], (run.path / "job.yaml").stat().st_mtime_ns, run.id), run))
        except (OSError, ValueError):
            continue
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]


def delete(run: Run) -> None:
    """The run is gone, at once as far as anyone can see.  Raises ValueError while a worker lives in it."""
    lock = RunLock(run.lock_path)
    if not lock.acquire(wait_s=0.5):
        raise ValueError(f"'{run.title}' is running; stop it, then delete it")
    trash = run.path.with_name(f".trash-{secrets.token_hex(4)}-{run.id}"[:200])
    try:
        if os.name == "nt":  # an open file keeps its folder from being renamed there
            lock.release()
        try:
            _rename(run.path, trash)
        except PermissionError as error:
            raise ValueError(f"{run.id} could not be deleted ({error.strerror}); close what has a file of it open, then try again") from None
    finally:
        lock.release()
    for old in run.path.parent.glob(".trash-*"):  # also what an earlier delete could not finish
        shutil.rmtree(old, ignore_errors=True)


def _take_name(fresh: Path, outputs: Path, name: str) -> Path:
    for number in range(1, 10_000):
        path = outputs / (name if number == 1 else f"{name}-{number}")
        if path.exists():
            continue
        try:
            _rename(fresh, path)
        except OSError:  # somebody else took the name since we looked
            if path.exists():
                continue
            raise
        return path
    raise ValueError(f"there are too many runs called {name!r}; choose another name")


def _rename(folder: Path, to: Path) -> None:
    """On Windows a virus scanner may hold a fresh file for a moment, and its folder cannot be renamed meanwhile."""
    for tries_left in range(20 if os.name == "nt" else 0, -1, -1):
        try:
            folder.rename(to)
            return
        except PermissionError:
            if not tries_left or to.exists():
                raise
            time.sleep(0.05)
