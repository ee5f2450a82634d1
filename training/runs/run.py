"""A run: a folder that holds a config and everything that ever happened to it.  A path with methods, no state of its own."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors, outside
from ..away import state
from ..sentences import sentences
from . import death, journal, origin
from .events import ENDINGS, LAST_T, RunView, fold
from .lock import RunLock, is_held

if TYPE_CHECKING:
    from ..config import JobConfig

COMMANDS = {"stop": (), "save": (), "sample": ("prompt",), "prompts": ("lines",), "draw": ("request",), "weigh": ("picture", "weight")}
STATUSES = ("queued", "running", "finished", "stopped", "failed", "interrupted")
LOG_TAIL_BYTES = 256 * 1024
MAX_CONTROL_BYTES = 64 << 20
_STAMP = "%Y-%m-%d_%H%M"
_STAMP_CHARS = len("2026-01-31_1420")
_TITLE_CHARS = 200
_FILES = ("events.jsonl", "control.jsonl", "worker.lock", "log.txt", "votes.jsonl", "notes.jsonl")  # what a run's folder may hold besides job.yaml,
_FOLDERS = ("samples", "checkpoints")  # which everybody who lists runs looks into
_MOST_BYTES = {"events.jsonl": journal.MAX_BYTES, "control.jsonl": MAX_CONTROL_BYTES}
_REMEMBERED = 10_000

# (path, time, size) -> what job.yaml holds, or why it cannot be read: it is written once, so what was read stays true
_read_jobs: dict[tuple[str, int, int], dict[str, Any] | str] = {}
# (path, kind) -> (time, size, file), and the record that was found: what did not change is not searched again
_last_records: dict[tuple[str, str], tuple[tuple[int, int, int], dict[str, Any] | None]] = {}


@dataclass(frozen=True)
class RanksWish:
    """How many processes train a run on this computer (None: as its config says), on how many computers, and where these meet (HOST:PORT)."""

    gpus: int | None
    nodes: int
    rdzv: str


@dataclass(frozen=True)
class Run:
    """One run folder.  `open` is for ids that come from outside; the constructor trusts its path."""

    path: Path

    @classmethod
    def open(cls, outputs: Path, id: str) -> Run:
        """The run called `id`.  Raises ValueError when there is none, or when the id would lead out of `outputs`."""
        inside = isinstance(id, str) and id and not id.startswith(".") and not any(c in id for c in "/\\\0") and Path(id).name == id
        path = outputs / id if inside else outputs
        if not inside or not outside.is_folder(path) or not outside.is_plain(path / "job.yaml"):
            raise ValueError(f"there is no run called {id!r}; choose one from the list of runs")
        if trouble := cls(path).trouble():
            raise ValueError(f"the run {id!r} cannot be opened: {trouble}")
        return cls(path)

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def title(self) -> str:
        """The name that the user gave."""
        return str(self.job()["name"])[:_TITLE_CHARS]

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
        written_t = min(max((self.path / "job.yaml").lstat().st_mtime, 0.0), LAST_T)  # an archive may have set it to anything
        try:
            minute_t = max(time.mktime(time.strptime(self.id[:_STAMP_CHARS], _STAMP)), 0.0)
        except (ValueError, OverflowError):
            return written_t
        return written_t if minute_t <= written_t < minute_t + 60 else minute_t

    def job(self) -> dict[str, Any]:
        """The mapping in job.yaml, as it stands there; every job has kind and name.  Raises ValueError, OSError."""
        path = self.path / "job.yaml"
        stat = path.lstat()
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        if key not in _read_jobs:
            if len(_read_jobs) >= _REMEMBERED:
                _read_jobs.clear()
            _read_jobs[key] = _job_or_why_not(path)
        found = _read_jobs[key]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def trouble(self) -> str:
        """Why its files cannot be trusted, or read; "" where they are what they should be.  Looks at their names only, not into them."""
        try:
            folder = os.fspath(self.path)  # texts: each run is looked at so at each look of each browser
            for name in _FILES:
                path = os.path.join(folder, name)
                try:
                    there = os.lstat(path)
                except FileNotFoundError:
                    continue
                try:
                    outside.check_plain(there)
                except outside.Refused as error:
                    return f"{name} {error}"
                if not os.access(path, os.R_OK):
                    return f"{name} cannot be read by this user"
                if there.st_size > _MOST_BYTES.get(name, there.st_size):
                    return "its events take more room than any training writes"
            for name in _FOLDERS:
                if os.path.lexists(os.path.join(folder, name)):
                    outside.folder_inside(self.path, name)
        except (ValueError, OSError) as error:
            return _sentence_of(error)
        return ""

    def config(self) -> Any:
        """The whole config, of the run's own kind, which its job's file declares.  Raises ValueError for a job that this version cannot read."""
        from .. import jobfile, registry

        return jobfile.parse(registry.get("jobs", self.kind, self.plugins).Config, self.job(), f"{self.id}/job.yaml")

    def events(self, cursor: int = 0) -> tuple[list[dict[str, Any]], int]:
        """(events after byte `cursor`, the cursor for the next call)."""
        records, cursor, _ = journal.read(self.events_path, cursor)
        return records, cursor

    def view(self) -> RunView:
        """Everything that happened, folded."""
        view = RunView()
        for records, _, bad in journal.pieces(self.events_path):
            view = fold(view, records)
            view = dataclasses.replace(view, bad_lines=view.bad_lines + bad) if bad else view
        return view

    def last(self, kind: str = "") -> dict[str, Any] | None:
        """The newest event, or the newest of a kind; reads only the end of the file, and what has not changed not again."""
        try:
            found = self.events_path.lstat()
        except FileNotFoundError:
            return None
        key, state = (str(self.events_path), kind), (found.st_mtime_ns, found.st_size, found.st_ino)
        if key not in _last_records or _last_records[key][0] != state:
            if len(_last_records) >= _REMEMBERED:
                _last_records.clear()
            _last_records[key] = state, self._newest(kind)
        return _last_records[key][1]

    def _newest(self, kind: str) -> dict[str, Any] | None:
        for record in journal.backwards(self.events_path, f'"{kind}"'.encode() if kind else b""):
            if fold(RunView(), [record]).last_kind and kind in ("", record["kind"]):
                return record
        return None

    def last_kind(self) -> str:
        """view().last_kind without reading everything."""
        record = self.last()
        return record["kind"] if record else ""

    def chosen_step(self) -> int:
        """Whose checkpoint was made the result; 0 where that is what it had learnt in the end."""
        told = (self.last("finished") or {}).get("step", 0)
        return told if type(told) is int and told > 0 else 0

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

    def killed_for_memory(self) -> bool:
        """Whether the system ended the newest attempt for want of memory, as of a container whose limit was reached."""
        started = self.last("started")
        if started is None or self.last_kind() in (*ENDINGS, "milder"):
            return False
        return death.killed_for_memory(str(started["boot_id"]), int(started.get("oom_kills", -1)), self.log_tail())

    def command(self, kind: str, **data: Any) -> None:
        """Asks the worker to stop, save, sample {prompt}, take other sample prompts {lines}, draw {request}, or weigh {picture, weight}.  Stop takes a queued run out of the queue.

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
        told = {key: mask(value) if isinstance(value, str) else [mask(str(line)) for line in value] if key == "lines" else value for key, value in data.items()}
        # also after leaving the queue: a worker that is being spawned right now must see it
        journal.append(self.control_path, {"t": round(time.time(), 3), "kind": kind, **told})

    def asked_t(self, kind: str, since_t: float) -> float | None:
        """When a command of this kind was first given since then; None when it was not."""
        records, _, _ = journal.read(self.control_path)
        times = [r["t"] for r in records if r.get("kind") == kind and isinstance(r.get("t"), (int, float)) and since_t <= r["t"] <= LAST_T]
        return float(times[0]) if times else None

    def accept_changes(self) -> None:
        """The next attempt may go on although its pictures, captions or base model are no longer those of its last checkpoint."""
        journal.append(self.control_path, {"t": round(time.time(), 3), "kind": "accept_changes"})

    def changes_accepted(self) -> bool:
        """Was accept_changes() said since the last checkpoint?"""
        saved = self.last("checkpoint")
        return self.asked_t("accept_changes", saved["t"] if saved else 0.0) is not None

    def wish_for_card(self, uuid: str) -> None:
        """The next attempt takes that card, where this computer has it; "" for any.  Not in job.yaml: a run may go on elsewhere."""
        journal.append(self.control_path, {"t": round(time.time(), 3), "kind": "wish", "gpu": uuid})

    def wished_card(self) -> str:
        """The UUID of the card that was chosen for it; "" for any free one."""
        return self._told("wish")

    def card(self) -> str:
        """The UUID of the card that its newest worker was given; "" where none was its own."""
        return self._told("card")

    def given_card(self, uuid: str) -> None:
        """On record for every process that looks for a free card."""
        if uuid or self.card():
            journal.append(self.control_path, {"t": round(time.time(), 3), "kind": "card", "gpu": uuid})

    def wish_for_ranks(self, gpus: int | None, nodes: int = 1, rdzv: str = "") -> None:
        """How many processes train it from the next attempt on, None for what its config says; nodes, rdzv: of the next attempt alone."""
        started = self.last("started")
        attempt = int(started["attempt"]) + 1 if started else 1
        journal.append(self.control_path, {"t": round(time.time(), 3), "kind": "ranks", "gpus": gpus, "nodes": nodes, "rdzv": rdzv, "attempt": attempt})

    def wished_ranks(self, attempt: int = 0) -> RanksWish:
        """What was asked for an attempt; whatever is wrong in the record counts as not asked."""
        records, _, _ = journal.read(self.control_path)
        said = next((r for r in reversed(records) if r.get("kind") == "ranks"), {})
        gpus: Any = said.get("gpus")
        nodes: Any = said.get("nodes")
        whole = lambda n: isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 4096
        mine = whole(nodes) and nodes > 1 and said.get("attempt") == attempt
        return RanksWish(gpus if whole(gpus) else None, nodes if mine else 1, str(said.get("rdzv", "")) if mine else "")

    def _told(self, kind: str) -> str:
        records, _, _ = journal.read(self.control_path)
        return next((str(r.get("gpu", "")) for r in reversed(records) if r.get("kind") == kind), "")

    def log_tail(self, max_lines: int = 200) -> str:
        """The last lines of log.txt, masked; of a line that was redrawn, what it showed in the end."""
        from ..hub.secrets import mask

        try:
            with outside.open_plain(self.log_path) as file:
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
        if not outside.is_folder(folder):
            return []
        whole = [p for p in folder.iterdir() if p.name.isascii() and p.name.isdigit() and len(p.name) < 16 and _is_checkpoint(p)]
        return sorted((int(p.name), p) for p in whole)

    def result(self) -> Path | None:
        """The finished .safetensors, or the folder of a whole denoiser; None while there is none, and for jobs that make no such thing."""
        record = self.last("finished")
        return self.made(str(record["path"])) if record and record["path"] else None

    def made(self, path: str) -> Path | None:
        """What `finished` named, where it is a result and truly lies in the run."""
        try:
            made = outside.inside(self.path, path) if path.endswith(".safetensors") else outside.folder_inside(self.path, path)
            whole = outside.is_folder(made) and any(made.glob("*/config.json")) and not outside.strange(made)
        except (ValueError, OSError):
            return None
        return made if whole or path.endswith(".safetensors") else None

    def samples(self, pattern: str = "*") -> list[Path]:
        """The plain files in samples/ whose names match."""
        folder = self.path / "samples"
        return sorted(p for p in folder.glob(pattern) if outside.is_plain(p)) if outside.is_folder(folder) else []

    def why(self, view: RunView | None = None) -> str:
        """Why it ended, and what to do next, for a failed or interrupted run; "" for any other.  view: where it is known already."""
        status = self.status()
        if status not in ("failed", "interrupted"):
            return ""
        view = view or self.view()
        if status == "failed":
            return sentences(view.error, view.hint)
        return death.of_silence(view, [step for step, _ in self.checkpoints()], self.log_tail(2000), str(self.path), state.remembered(self.path) is not None)

    def error_kind(self, view: RunView | None = None) -> errors.Kind:
        """What kind of error a failed or interrupted run ended with.  view: where it is known already."""
        view = view or self.view()
        return errors.of(view.error if view.last_kind == "failed" else self.why(view))

    def why_numbered(self, view: RunView | None = None) -> str:
        """why(), with the number of the error behind it."""
        why = self.why(view)
        return f"{why} ({self.error_kind(view).code})" if why else ""

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


def create(outputs: Path, config: JobConfig, furnish: Callable[[Run], None] = lambda run: None) -> Run:
    """A new, queued run.  It appears with its whole job.yaml or not at all.  Raises ValueError, OSError.

    furnish: puts into the folder what must be there before the queue can see it.
    """
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
        origin.adopt(fresh)
        furnish(Run(fresh))
        path = take_name(fresh, outputs, f"{time.strftime(_STAMP)}_{folder_name(config.name)}")
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    fsync_folder(outputs)
    return Run(path)


def list_runs(outputs: Path, kinds: set[str] | None = None) -> list[Run]:
    """The runs, newest first, or those of some kinds; what cannot be read as one is left out, and in broken_runs()."""
    return of_kinds(look_through(outputs)[0], kinds) if kinds else look_through(outputs)[0]


def broken_runs(outputs: Path) -> list[tuple[str, str]]:
    """(name of the folder, why it cannot be read) of what should be a run: it holds a job.yaml, or is a link."""
    return look_through(outputs)[1]


def of_kinds(runs: Iterable[Run], kinds: set[str]) -> list[Run]:
    """Those of some kinds; one that became unreadable since it was listed is left out."""
    found = []
    for run in runs:
        with suppress(OSError, ValueError):
            if run.kind in kinds:
                found.append(run)
    return found


def look_through(outputs: Path) -> tuple[list[Run], list[tuple[str, str]]]:
    """(list_runs(), broken_runs()), each folder looked at once."""
    found, broken = [], []
    for folder in _folders(outputs):
        run = Run(folder)
        if os.path.islink(folder):
            broken.append((run.id, "is a link; a worker writes into a run's folder, so put the folder itself here, or move all of them with --home"))
            continue
        try:
            written_ns = (folder / "job.yaml").lstat().st_mtime_ns
        except OSError:
            if os.path.lexists(folder / "job.yaml"):
                broken.append((run.id, _why_broken(run)))
            continue
        if why := _why_broken(run):
            broken.append((run.id, why))
        else:
            found.append(((run.id[:_STAMP_CHARS], written_ns, run.id), run))
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)], sorted(broken)


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
    shutil.rmtree(run.path.parent / ".tracked" / run.id, ignore_errors=True)  # what trackers were told of it
    for end in ("json", "lock"):  # and what became of the message of its end
        (run.path.parent / ".told" / f"{run.id}.{end}").unlink(missing_ok=True)
    for old in run.path.parent.glob(".trash-*"):  # also what an earlier delete could not finish
        shutil.rmtree(old, ignore_errors=True)


def _folders(outputs: Path) -> list[Path]:
    try:
        with os.scandir(outputs) as entries:
            return [Path(entry.path) for entry in entries if not entry.name.startswith(".") and (entry.is_symlink() or entry.is_dir())]
    except FileNotFoundError:
        return []


def _why_broken(run: Run) -> str:
    """"" for a run that everybody may read; else why not."""
    try:
        if not outside.is_folder(run.path):
            return "is a link"
        run.job()
        return run.trouble()
    except (OSError, ValueError) as error:
        return _sentence_of(error)


def _sentence_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(str(error.filename or '')).name} cannot be read: {error.strerror}".strip()
    return str(error)


def _job_or_why_not(path: Path) -> dict[str, Any] | str:
    from .. import jobfile

    try:
        job = jobfile.load_mapping(path)
    except ValueError as error:
        return str(error)
    if not isinstance(job.get("kind"), str) or not job["kind"] or not isinstance(job.get("name"), (str, int, float)) or not str(job["name"]).strip():
        return f"{path.parent.name}/job.yaml has no kind or no name"
    return job


def _is_checkpoint(folder: Path) -> bool:
    """Whether it is a plain folder with a manifest, and nothing in it is a link or worse."""
    try:
        return outside.is_folder(folder) and outside.is_plain(folder / "MANIFEST.json") and not outside.strange(folder)
    except OSError:
        return False


def take_name(fresh: Path, outputs: Path, name: str) -> Path:
    """Where the folder `fresh` lies now: in outputs, under that name or one like it that was free.  Raises ValueError, OSError."""
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
