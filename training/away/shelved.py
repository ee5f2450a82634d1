"""The end of a shelf on the other machine: lays out what was sent, trains, and puts what comes of it on the shelf.  Standard library only.

    python shelved.py run SHELF WORK LIMIT_S [HUB_ID=FOLDER]    one run; LIMIT_S that this machine is had for, 0 for ever; where a base model is mounted
    python shelved.py queue FOLDER                runs every shelf in FOLDER, one after the other
    python shelved.py names SHELF FOLDER          what lies there, as JSON        (these four serve docker.py)
    python shelved.py take SHELF                  a tar from standard input
    python shelved.py give SHELF                  names from standard input, a tar to standard output
    python shelved.py remove SHELF

A shelf is a folder, perhaps a mounted one (a bucket of the Hub, a volume of Modal), in which every file is written once, whole, and never changed, because
such mounts can neither append nor lock, and show a change late (10 to 30 s for a bucket):

    order.json              what was sent: {checkout: {name: [sha256, bytes]}, bundle: {…}}
    go                      that all is there, for a queue: LIMIT_S
    objects/<sha256>        contents, of what was sent and of what was made
    control/<n>             the n-th line for the run's control.jsonl
    cancel                  end at once.  done: a queue has
    out/<n>-<from>-<to>     the n-th report: {status, why, log, files: {name: [sha256, bytes]}, events}; its events are those bytes of events.jsonl
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

RUN = PurePosixPath("outputs/run")  # where run-bundle makes the run's folder, below the bundle's
PAUSE_S = float(os.environ.get("EASEL_SHELF_S", "10"))  # between two looks, each of which may write a report
AT_ONCE = 16  # files that are laid out
LOG_BYTES = 8000
REPORT_BYTES = 8 << 20  # of events in one report
OWN = ("worker.lock", "control.jsonl")  # files of a run that are no part of what it made
EARLY = ("samples", "checkpoints")  # folders whose files appear whole, so that they can go before the end
CLOSE_S = 240  # before the machine is taken away, the training stops, with a checkpoint, and what it made goes onto the shelf
GRACE_S = 90.0  # between asking the training to stop and ending it
AWAY_S = 600.0  # a shelf that cannot be read or written for so long does not come back


class Wrong(Exception):
    """What was sent cannot be run; the message is a sentence."""


class Shelf:
    """A shelf as a folder.  refresh: shows what others put there; settle: shows others what we put there.

    mounted: a file is shown to others when it is closed, and cannot be renamed; else it is written beside its place.
    """

    def __init__(self, folder: Path, mounted: bool = False, refresh: Callable[[], None] = lambda: None, settle: Callable[[], None] = lambda: None):
        self.folder, self.mounted, self.refresh, self.settle = folder, mounted, refresh, settle

    def names(self, part: str) -> list[str]:
        folder = self.folder / part
        return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def write(self, name: str, data: bytes | Path) -> None:
        """In one go from the front: that is all a mount can do."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target if self.mounted else target.with_name(f".{target.name}")
        try:
            with open(part, "wb") as out:
                if isinstance(data, bytes):
                    out.write(data)
                else:
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, out, 1 << 20)
            if part != target:
                os.replace(part, target)
        except OSError:
            with suppress(OSError):  # half a report would be read as one
                part.unlink(missing_ok=True)
            raise

    def drop(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


class Report:
    """What the shelf was told last, and what comes next."""

    def __init__(self, shelf: Shelf, run: Path):
        self.shelf, self.run = shelf, run
        known = [_numbers(name) for name in shelf.names("out")]
        self.n = max((n for n, _, _ in known), default=0)
        self.offset = max((to for _, _, to in known), default=0)
        self.last: dict = {}
        self.hashes: dict[str, tuple[tuple[int, int], list]] = {}
        self.there = set(shelf.names("objects"))
        self.ours: set[str] = set()  # objects that we put there, and so may take away

    def tell(self, status: str, why: str = "", log: str = "", files: Callable[[], dict[str, list]] | None = None) -> None:
        """One report, if there is anything new in it.  files: asked after the events were read, so that no event names a file which is not among them."""
        while True:
            events = self._events()
            said = {"status": status, "why": why, "log": log, "files": files() if files else self.last.get("files", {})}
            if not events and said == self.last:
                return
            self.n += 1
            name = f"out/{self.n:08d}-{self.offset}-{self.offset + len(events)}"
            self.shelf.write(name, json.dumps({**said, "events": events.decode("utf-8", "replace")}).encode())
            self.offset += len(events)
            self.last = said
            if len(events) < REPORT_BYTES // 2:
                return

    def _events(self) -> bytes:
        """Whole lines of events.jsonl that were not told yet."""
        try:
            with (self.run / "events.jsonl").open("rb") as file:
                file.seek(self.offset)
                data = file.read(REPORT_BYTES) if _begun(self.run) else b""
        except FileNotFoundError:
            return b""
        return data[: data.rfind(b"\n") + 1]

    def carry(self, over: bool) -> dict[str, list]:
        """{name: [sha256, bytes]} of the run's files that now lie on the shelf; all of them when the run is over."""
        made = {}
        for path in sorted(self.run.rglob("*")):
            name = path.relative_to(self.run).as_posix()
            parts = PurePosixPath(name).parts
            early = parts[0] in EARLY and len(parts) > 1
            if not path.is_file() or path.is_symlink() or any(p.startswith(".") for p in parts) or name in OWN or not (over or early):
                continue
            try:
                made[name] = self._put(name, path)
            except FileNotFoundError:  # a checkpoint that was tidied away meanwhile
                continue
        wanted = {digest for digest, _ in made.values()}
        for digest in self.ours - wanted:
            self.shelf.drop(f"objects/{digest}")
            self.there.discard(digest)
        self.ours &= wanted
        return made

    def _put(self, name: str, path: Path) -> list:
        stat = path.stat()
        state = (stat.st_size, stat.st_mtime_ns)
        if name not in self.hashes or self.hashes[name][0] != state:
            self.hashes[name] = state, [_sha256(path), stat.st_size]
        digest, size = self.hashes[name][1]
        if digest not in self.there:
            self.shelf.write(f"objects/{digest}", path)
            self.there.add(digest)
            self.ours.add(digest)
        return [digest, size]


class Stop:
    """Whether this machine is about to be taken away: its SIGTERM means Stop."""

    def __init__(self, hears: bool = True):
        self.asked = False
        if hears:
            signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number, frame) -> None:
        self.asked = True


def serve(shelf: Shelf, work: Path, limit_s: int = 0, mounted: dict[str, str] | None = None, stop: Stop | None = None, goes_on: bool = False) -> int:
    """0 when the run has ended as it should, 1 when not; either way the last report says so.

    limit_s: that this machine is had for, from now; 0 for ever.  mounted: {Hub id of a base model: its folder here}.  goes_on: a run that is stopped because
    the machine is, is not over; it goes on from its checkpoint when this is called again.
    """
    began_t = time.monotonic()
    shelf.refresh()
    bundle = work / "bundle"
    report = Report(shelf, bundle / RUN)
    stop = stop or Stop(hears=False)
    try:
        if shelf.has("cancel"):
            raise Wrong("it was cancelled before it began")
        order = json.loads(shelf.read("order.json"))
        lay(shelf, order["checkout"], work / "easel")
        lay(shelf, order["bundle"], bundle)
        log = work / "setup.log"
        report.tell("running", log="setting up")
        python = interpreter(work, log, lambda: _keep_telling(report, shelf, log, stop))
        left_s = max(60, int(began_t + limit_s - CLOSE_S - time.monotonic())) if limit_s else 0
        command = [str(python), "-m", "training", "run-bundle", str(bundle), "--limit", str(left_s)]
        environment = {**os.environ, "EASEL_MOUNTED": json.dumps(mounted or {}), "PYTHONUTF8": "1"}
        code = _watch(command, work, environment, report, shelf, stop)
    except (Wrong, OSError, ValueError, KeyError) as error:
        why = str(error) or type(error).__name__
        _insist(lambda: report.tell("failed", why, _tail(report.run / "log.txt", work / "setup.log"), partial(report.carry, over=True)))
        shelf.settle()
        return 1
    if stop.asked and goes_on:
        report.tell("running", log="The machine is being stopped; the run goes on when it is started again.", files=partial(report.carry, over=False))
        shelf.settle()
        return 1
    why = "" if code == 0 else _why(report.run, code, _tail(work / "bundle.log"))
    _insist(lambda: report.tell("finished" if code == 0 else "failed", why, _tail(report.run / "log.txt", work / "bundle.log"), partial(report.carry, over=True)))
    shelf.settle()
    return 0 if code == 0 else 1


def _insist(say: Callable[[], None]) -> None:
    """What is said last, said again while the shelf cannot be written.  Raises OSError after AWAY_S."""
    ends = time.monotonic() + AWAY_S
    while True:
        try:
            return say()
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(PAUSE_S)


def _watch(command: list[str], work: Path, environment: dict[str, str], report: Report, shelf: Shelf, stop: Stop) -> int:
    """The exit status of the training, whose events, samples and checkpoints go onto the shelf while it runs.

    A shelf that cannot be read or written is waited for.  Raises OSError after AWAY_S; the training has ended then, with a checkpoint where it could.
    """
    asked_t, told, well_t = 0.0, 0, time.monotonic()
    with open(work / "bundle.log", "wb") as log:
        child = subprocess.Popen(command, cwd=work / "easel", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            while child.poll() is None:
                asked = stop.asked
                try:
                    shelf.refresh()
                    told = _forward(shelf, report.run, told)
                    asked = asked or shelf.has("cancel")
                    report.tell("running", log=_tail(report.run / "log.txt", work / "bundle.log"), files=partial(report.carry, over=False))
                    shelf.settle()
                    well_t = time.monotonic()
                except OSError:
                    if time.monotonic() > well_t + AWAY_S:
                        raise
                if asked and not asked_t:
                    asked_t = time.monotonic()
                    child.send_signal(signal.SIGTERM)
                if asked_t and time.monotonic() > asked_t + GRACE_S:
                    child.kill()
                try:
                    child.wait(PAUSE_S)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            _end(child)
    return child.returncode


def _end(child: subprocess.Popen) -> None:
    """Whatever happened, it does not go on by itself."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _begun(run: Path) -> bool:
    """Whether the run has said a word, behind what came along of earlier attempts."""
    events, before = run / "events.jsonl", run.parent.parent / "before.jsonl"
    return events.is_file() and events.stat().st_size > (before.stat().st_size if before.is_file() else 0)


def _forward(shelf: Shelf, run: Path, told: int) -> int:
    """How many lines of the shelf's control the run has been given."""
    if not _begun(run):  # the worker is given what comes after its start
        return told
    for name in shelf.names("control"):
        if name.isdigit() and int(name) > told:
            with (run / "control.jsonl").open("ab") as out:
                out.write(shelf.read(f"control/{name}").strip() + b"\n")
            told = int(name)
    return told


def lay(shelf: Shelf, files: dict[str, list], folder: Path) -> None:
    """Copies what was sent to `folder`, each file compared with its hash; many at a time, as each may come from far away.  Raises Wrong."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda row: _lay(shelf, folder, row[0], *row[1]), files.items()):
            pass


def _lay(shelf: Shelf, folder: Path, name: str, digest: str, size: int) -> None:
    target = folder / _inside(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file() and target.stat().st_size == size and _sha256(target) == digest:
        return
    if not shelf.has(f"objects/{digest}"):
        raise Wrong(f"{name} did not arrive on the other machine; send it again")
    shutil.copyfile(shelf.folder / "objects" / digest, target)
    if _sha256(target) != digest:
        raise Wrong(f"{name} arrived damaged on the other machine; send it again")


def interpreter(work: Path, log: Path, meanwhile: Callable[[], None]) -> Path:
    """A Python with the packages that are pinned in the checkout: the image's own where it has them, else a new environment.  Raises Wrong."""
    given = Path(os.environ.get("EASEL_VENV", "")) / "bin" / "python"
    if os.environ.get("EASEL_CONTAINER") and given.is_file():
        return given
    venv = work / "venv"
    environment = {**os.environ, "EASEL_VENV": str(venv)}
    with open(log, "wb") as out:
        child = subprocess.Popen([sys.executable, "launchers/install.py", "ensure"], cwd=work / "easel", env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            while child.poll() is None:
                with suppress(OSError):  # a shelf that cannot be read just now keeps no installer from its work
                    meanwhile()
                try:
                    child.wait(PAUSE_S)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            _end(child)
    if child.returncode:
        raise Wrong(f"the packages could not be installed on the other machine: {(_tail(log).strip().splitlines() or ['no word of why'])[-1]}")
    return venv / "bin" / "python"


def _keep_telling(report: Report, shelf: Shelf, log: Path, stop: Stop) -> None:
    shelf.refresh()
    if stop.asked or shelf.has("cancel") or _told_to_stop(shelf):
        raise Wrong("it was cancelled while the packages were being installed")
    report.tell("running", log=_tail(log))
    shelf.settle()


def _told_to_stop(shelf: Shelf) -> bool:
    """Whether Stop lies among the commands, which nobody obeys before the training has begun."""
    return any(_is_stop(shelf.read(f"control/{name}")) for name in shelf.names("control") if name.isdigit())


def _is_stop(line: bytes) -> bool:
    try:
        return json.loads(line)["kind"] == "stop"
    except (ValueError, LookupError, TypeError):  # a mount may show half of it
        return False


def _why(run: Path, code: int, log: str) -> str:
    """Why the training failed: its own last word, else what was said where it could not begin, else what became of its process."""
    try:
        event = json.loads((run / "events.jsonl").read_bytes().splitlines()[-1])
        if event["kind"] == "failed":
            return str(event["error"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    if code < 0:
        return f"the training's process on the other machine was ended from outside (signal {-code})"
    return (log.strip().splitlines() or [f"the training's process on the other machine ended with {code}"])[-1]


def _tail(*logs: Path) -> str:
    """The end of the first of them that is there."""
    for log in logs:
        if log.is_file():
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - LOG_BYTES))
                return file.read().decode("utf-8", "replace")
    return ""


def is_over(report: bytes) -> bool:
    """Does a report say that the run has ended?"""
    return json.loads(report)["status"] != "running"


def _numbers(name: str) -> tuple[int, int, int]:
    n, start, to = name.split("-")
    return int(n), int(start), int(to)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or ":" in name:
        raise Wrong(f"{name!r} is no name for a file of a run")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def queue(folder: Path) -> None:
    """Runs every shelf that may begin, the oldest first, one at a time, until it is told to stop.  One that was cut off goes on from its checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    stop = Stop()
    while not stop.asked:
        _spare(folder)
        waiting = sorted(_waiting(folder), key=lambda p: (p / "go").stat().st_mtime)
        for shelf in waiting[:1]:
            work = shelf.with_name(f".{shelf.name}")
            serve(Shelf(shelf, refresh=partial(_spare, folder, shelf)), work, int((shelf / "go").read_text()), stop=stop, goes_on=True)
            if not stop.asked:
                shutil.rmtree(work, ignore_errors=True)
                (shelf / "done").touch()
        if not waiting:
            time.sleep(PAUSE_S)


def _waiting(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if (p / "go").is_file() and not (p / "done").is_file()]


def _spare(folder: Path, served: Path | None = None) -> None:
    """A shelf that was cancelled while it waits is done at once, also while another one trains."""
    for shelf in _waiting(folder):
        if shelf != served and (shelf / "cancel").is_file():
            with suppress(FileNotFoundError):  # it is being removed just now
                (shelf / "done").touch()


def take(folder: Path) -> None:
    """Unpacks a tar from standard input; each file appears whole."""
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        for entry in tar:
            target = folder / _inside(entry.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not entry.isfile() or (source := tar.extractfile(entry)) is None:
                raise Wrong(f"{entry.name!r} is not a plain file")
            part = target.with_name(f".{target.name}")
            with open(part, "wb") as out:
                shutil.copyfileobj(source, out)
            os.replace(part, target)


def give(folder: Path) -> None:
    """A tar on standard output with the files that standard input names, one to a line."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name in sys.stdin.read().splitlines():
            tar.add(folder / _inside(name), name, recursive=False)


def main(words: list[str]) -> int:
    what, folder = words[0], Path(words[1])
    if what == "run":
        return serve(Shelf(folder, mounted=True), Path(words[2]), int(words[3]), dict(word.split("=", 1) for word in words[4:]), Stop())
    if what == "queue":
        queue(folder)
    elif what == "names":
        inside = folder / words[2]
        print(json.dumps({p.name: p.stat().st_size for p in inside.iterdir() if not p.name.startswith(".")} if inside.is_dir() else {}))
    elif what == "remove":
        for path in (folder, folder.with_name(f".{folder.name}")):
            shutil.rmtree(path, ignore_errors=True)
    else:
        {"take": take, "give": give}[what](folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
