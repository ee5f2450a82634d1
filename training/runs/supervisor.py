"""Starts workers, keeps the queue moving, ends what is stuck.  Run by the app and by the command line, never by a worker.

A worker is detached: it outlives whoever started it.  What is remembered here about our own children only serves to
collect them and to note how they ended; what a run's status is, its folder says.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .. import outside, registry
from ..away import state as sent
from ..config import HERE
from ..home import REPAIR, REPO, Home
from ..hub.secrets import Secret, mask
from ..plan.hardware import machine
from . import death, journal, milder, needs, origin, placing, queueing, tellside, trackside
from .events import ENDINGS
from .lock import RunLock
from .run import Run, list_runs
from .worker import REFUSED

KILL_OFFERED_AFTER_S = 30.0
ANNOUNCED_WITHIN_S = 8.0
LEFT = "elsewhere"  # what stop_all() says of a run that goes on on another machine
EXIT_WAIT_S = 5.0
LEAVE_WAIT_S = 20.0

# what a worker may see of our environment; tokens and passwords are in nothing here, and _clean() looks again
ALLOWED = {
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "HF_HOME", "HF_ENDPOINT", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_OFFLINE", "TRANSFORMERS_CACHE", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "TOKENIZERS_PARALLELISM", "CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED", "SPACE_ID",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "USERNAME", "HOMEDRIVE", "HOMEPATH",
    "PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "PROCESSOR_IDENTIFIER",
}  # fmt: skip
ALLOWED_PREFIXES = (
    "LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "OMP_", "GOMP_", "MKL_", "KMP_", "OPENBLAS_", "PYTORCH_", "TORCH_", "THP_", "HF_HUB_", "NCCL_", "GLOO_", "EASEL_",
)  # fmt: skip
FORBIDDEN_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "AUTH")


class Busy(ValueError):
    """Another run is being started at this moment."""


@dataclass
class _Child:
    """A worker that this process spawned."""

    run: Run
    process: subprocess.Popen
    attempt_before: int
    oom_kills_before: int


_children: dict[Path, _Child] = {}
_tokens: dict[Path, Secret] = {}  # given for a run that waits in the queue; in memory only, so a restart of the app forgets them
_hopeless: set[Path] = set()  # runs whose worker could not begin, which could not even be put on record
_killed: list[Run] = []  # runs of ours whose worker was killed, for resume_milder() to look at
_one_at_a_time = threading.RLock()


def start(run: Run | Callable[[], Run], home: Home, token: Secret | None = None, spawned: Callable[[], None] = lambda: None, away: bool = False) -> str:
    """"started", or "queued" when a new run has to wait: for another one that uses the GPU, or as the queue says (queueing.why_held).

    Resuming is starting a run that is stopped, failed or interrupted.  token reaches only a job that needs one; then let `run` be
    a function that creates the run, so that the queue cannot start it first, without the token.
    spawned: called when the worker exists, which may be seconds before it says that it lives.
    away: the run that the function will create is trained on another machine; one that is there already is asked itself.
    Raises ValueError when the run is running or finished already, or when a resume would have to wait.
    """
    kept_out = no_accelerator()
    if kept_out and not (is_elsewhere(run) if isinstance(run, Run) else away):
        raise ValueError(kept_out)
    with by_itself(home):
        if not isinstance(run, Run):
            run = run()
        # measured before the status is read: a Stop that comes in between is then neither lost nor taken for an old one
        offset = journal.size_bytes(run.control_path)
        status = run.status()
        if status == "running" or starting(run):
            raise ValueError(f"'{run.title}' is running already")
        if status == "finished":
            raise ValueError(f"'{run.title}' is finished; duplicate it to train again")
        _check_folder(run)
        if asked := origin.question(run.path):
            raise ValueError(f"{asked}; accept that, or duplicate the run to see all its settings")
        if status != "queued" and not sent_away(run) and (lacking := needs.sentence(needs.missing(run, home))):
            raise ValueError(f"'{run.title}' cannot go on here: {lacking}")
        if status == "queued" and queueing.why_held(home, run):
            if token:
                _tokens[run.path] = token
            return "queued"
        card, ahead = _place(run, home)
        if ahead and ahead.status() in ENDINGS:  # it has said its last word, and is on its way out
            _until(lambda: not ahead.locked(), EXIT_WAIT_S)
            card, ahead = _place(run, home)
        if ahead and yields(run):
            if status == "queued":
                run.command("stop")  # it must not begin by itself, long after somebody wanted to play
            raise ValueError(f"'{ahead.title}' is using the machine; the Playground draws again when it has ended")
        if ahead and yields(ahead):
            _send_away(ahead)
            card, ahead = _place(run, home)
        if ahead and status == "queued":
            if token:
                _tokens[run.path] = token
            return "queued"
        if ahead:
            what = "a card" if placing.cards_for(run, home) else "the machine"
            raise ValueError(f"'{ahead.title}' is running, and one run at a time uses {what}; resume '{run.title}' when it has ended, or stop it first")
        if not _until(lambda: not run.locked(), EXIT_WAIT_S):
            raise ValueError(f"the last attempt at '{run.title}' is still ending; try again in a moment")
        _spawn(run, home, offset, token, spawned, card)
        return "started"


def start_soon(run: Run | Callable[[], Run], home: Home, token: Secret | None = None, away: bool = False) -> str:
    """start(), without the wait for the worker's first word: for whoever answers a click.  Until then starting() is true."""
    answers: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(start(run, home, token, lambda: answers.put("started"), away))
        except Exception as error:  # noqa: BLE001 it is raised where start_soon() was called
            answers.put(error)

    threading.Thread(target=work, name="easel-start", daemon=True).start()
    said = answers.get()
    if isinstance(said, Exception):
        raise said
    return said


def tick(home: Home) -> list[str]:
    """The ids of the queued runs that were started, in the queue's order, one a card, or one at a time where there are not several.  Also collects dead workers.

    Before them one goes on by itself that was in the middle: see resume_milder().

    Nobody overtakes one that waits for the same card; one that waits for a time, another run or the end of a pause keeps nobody from it.
    """
    resume_milder(home)
    with by_itself(home, wait_s=0) as alone:
        _collect()
        if not alone or _killed_of(home) or any(ending(child.run) for child in list(_children.values()) if _is_of(child.run, home)):
            return []  # the next tick lets a killed one go on first
        kept_out = no_accelerator()
        begun: list[str] = []
        kept: set[str] = set()  # cards that a run further ahead waits for
        alone_waits = False  # one further ahead needs the machine for itself
        queue = queueing.read(home)
        for run in queueing.ordered(reversed(list_runs(home.outputs)), queue):
            try:
                offset = journal.size_bytes(run.control_path)
                if run.path in _hopeless or run.status() != "queued" or starting(run) or not origin.made_here(run.path) or (kept_out and not is_elsewhere(run)):
                    continue
                if queueing.why_held(home, run, queue=queue):
                    continue
                _check_folder(run)
            except (ValueError, OSError) as error:  # one that is broken keeps no other from its turn
                _give_up(run, error)
                continue
            card = ""
            if uses_gpu(run):
                wanted = placing.cards_for(run, home)
                card, ahead = _place(run, home, kept)
                if ahead and yields(ahead) and not yields(run):
                    _send_away(ahead, wait_s=0)  # a later tick finds the machine free
                if alone_waits or ahead or (wanted and not card):
                    kept |= set(wanted)
                    alone_waits = alone_waits or not wanted
                    continue
            _spawn(run, home, offset, _tokens.pop(run.path, None), card=card)
            begun.append(run.id)
        return begun


def resume_milder(home: Home) -> list[str]:
    """The ids of runs that go on by themselves: the system had killed their workers for want of memory, and they can do with less.

    Each time is one rung down, so it ends.  Where the machine is somebody else's by now, it is left to whoever presses Resume; where another
    run is just being started, the next call looks again.
    """
    if not _one_at_a_time.acquire(timeout=0.01):
        return []
    try:
        _collect()
    finally:
        _one_at_a_time.release()
    begun = []
    for run in _killed_of(home):
        try:
            if milder.worth_resuming(run, home) and start(run, home) == "started":
                begun.append(run.id)
        except Busy:
            continue
        except (ValueError, OSError) as error:
            logging.getLogger("easel").warning("%s does not go on by itself: %s", run.id, error)
        with suppress(ValueError):  # somebody else who ticks was faster
            _killed.remove(run)
    return begun


def _killed_of(home: Home) -> list[Run]:
    return [run for run in _killed if _is_of(run, home)]


def _is_of(run: Run, home: Home) -> bool:
    return run.path.parent.resolve() == home.outputs.resolve()


def no_accelerator(environ: Mapping[str, str] = os.environ) -> str:
    """Why nothing may be started on this hardware; "" where it may.

    ZeroGPU lends its card to calls of functions that are marked for it, for minutes: a worker is a process of its own, gets none of it, and would
    train on two processor cores without a word.
    """
    if environ.get("SPACES_ZERO_GPU", "").strip().lower() in ("", "0", "false", "no"):
        return ""
    return "this Space has ZeroGPU hardware, which lends a card for minutes and not to a training; choose a GPU with an hourly price in the Space's settings, or the free CPU for the small example"


def running(home: Home) -> Run | None:
    """The run that a worker is busy with: the one that uses the GPU before any other; not one that makes room for whoever comes."""
    return foremost(busy(home))


def foremost(found: Sequence[Run]) -> Run | None:
    """The one that uses the GPU before any other, of several that run."""
    return next((run for run in found if uses_gpu(run)), found[0] if found else None)


def busy(home: Home, runs: Sequence[Run] | None = None) -> list[Run]:
    """Every run that a worker is busy with, the newest first; not one that makes room for whoever comes.  runs: all, where they were just listed."""
    return [run for run in (list_runs(home.outputs) if runs is None else runs) if (run.locked() or starting(run)) and not yields(run)]


def uses_gpu(run: Run) -> bool:
    """Does its job need the machine for itself?  One that cannot be asked counts as needing it."""
    try:
        said = getattr(registry.get("jobs", run.kind, run.plugins), "USES_GPU", True)
        return bool(said(run.config()) if callable(said) else said)
    except (ValueError, OSError):
        return True


def is_elsewhere(run: Run) -> bool:
    """Is it trained on another machine?  Its worker here only watches."""
    return _place_of(run) != HERE


def sent_away(run: Run) -> bool:
    """Has another machine all that it needs?  Then nothing of it is missed here: resumed, it is only watched, ended and fetched."""
    left = sent.remembered(run.path) if is_elsewhere(run) else None
    return left is not None and left.phase != "new"


def _place_of(run: Run) -> str:
    told = run.job().get("place") if run.kind == "train" else None
    return str(told.get("kind", HERE)) if isinstance(told, dict) else HERE


def yields(run: Run) -> bool:
    """Does it end by itself when another run wants the machine?  Then it is in nobody's way."""
    try:
        return bool(getattr(registry.get("jobs", run.kind, run.plugins), "YIELDS", False))
    except (ValueError, OSError):
        return False


def kill_offered(run: Run) -> bool:
    """Was a running run asked to stop, and has not for 30 s?"""
    if run.status() != "running":
        return False
    started = run.last("started")
    asked_t = run.asked_t("stop", started["t"] if started else 0.0)
    return asked_t is not None and time.time() - asked_t >= KILL_OFFERED_AFTER_S


def kill(run: Run) -> None:
    """Its worker and all that the worker started are ended at once; only what a checkpoint holds is kept.

    Raises ValueError when no worker holds the run's lock, so that a pid which now belongs to somebody else is never hit.
    """
    import psutil

    started = run.last("started")
    if not started or not run.locked():
        raise ValueError(f"'{run.title}' is not running, so there is nothing to end")
    try:
        worker = psutil.Process(int(started["pid"]))
        if not {"training.runs.worker", str(run.path.resolve())} <= set(worker.cmdline()):
            raise psutil.NoSuchProcess(worker.pid)
        tree = [worker, *worker.children(recursive=True), *_session(worker.pid)]
    except psutil.Error:
        if _until(lambda: not run.locked(), 2.0):
            return  # it was ending by itself at that moment
        raise ValueError(f"the process of '{run.title}' is not on this computer; end it where it was started") from None
    for process in dict.fromkeys(tree):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _until(lambda: not run.locked(), 10.0)
    with _one_at_a_time:
        _collect()


def worker_env(kind: str, home: Home, token: Secret | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a worker: an allow-list.  HF_TOKEN is in it only for a job that says NEEDS_TOKEN = True."""
    env = {name: value for name, value in environ.items() if _may_pass(name, value)}
    env |= {"EASEL_HOME": str(home.root), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1", "PYTHONFAULTHANDLER": "1"}
    # GNU OpenMP's waiting threads spin some 300 000 rounds: beside one busy program a step takes three times as long.  Sleeping at once
    # (OMP_WAIT_POLICY=PASSIVE) costs half again on an idle machine; this many rounds cost nothing there.
    if "OMP_WAIT_POLICY" not in env:
        env.setdefault("GOMP_SPINCOUNT", "1000")
    # On a CPU torch takes tensors of 2 MB and more in whole pages then. Before 2.38 the GNU C library rarely reuses what was aligned to less:
    # three quarters of a step's memory were freed and never used again (docs/performance.md).
    env.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        needs_token = bool(getattr(registry.get("jobs", kind, home.plugins), "NEEDS_TOKEN", False))
    except ValueError:  # the worker will say so
        needs_token = False
    value = token.reveal() if token else environ.get("HF_TOKEN", "")
    return env | {"HF_TOKEN": value} if needs_token and value else env


class Ticker(threading.Thread):
    """Ticks the queue while the app runs, whether or not a browser looks."""

    def __init__(self, home: Home, every_s: float = 1.0):
        super().__init__(name="easel-queue", daemon=True)
        self.home, self.every_s = home, every_s
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self.every_s):
            try:
                tick(self.home)
            except Exception:  # the next tick may do better, and a queue that stands still is worse than a line in the log
                logging.getLogger("easel").exception("the queue could not be looked at")

    def stop(self) -> None:
        """No more ticks; workers go on."""
        self._ended.set()


def stop_all(home: Home, wait_s: float) -> dict[str, str]:
    """{title: status} of the runs that a worker was busy with, after all of them were told to stop and had wait_s for it.

    For the end of a container, which takes its workers along.  What waits in the queue goes on waiting, and what trains on another machine goes on
    there: only its watch here ends, and its status is LEFT.
    """
    busy = [run for run in list_runs(home.outputs) if run.locked() or starting(run)]
    away = [run for run in busy if is_elsewhere(run)]
    for run in busy:
        if run in away:
            journal.append(run.control_path, {"t": round(time.time(), 3), "kind": "stop", "hurry": True})
            continue
        with suppress(ValueError):  # it has just ended by itself
            run.command("stop")
    _until(lambda: not any(run.locked() for run in busy), wait_s)
    return {run.title: LEFT if run in away and _is_there(run) else run.status() for run in busy}


def _is_there(run: Run) -> bool:
    told = sent.remembered(run.path)
    return told is not None and told.phase in ("sent", "started")


@contextmanager
def by_itself(home: Home, wait_s: float = 15.0) -> Iterator[bool]:
    """True while nobody else, in any process, starts a run of this home.  wait_s 0: False at once when somebody does.

    Raises ValueError after a longer wait in vain.
    """
    home.made()
    lock = RunLock(home.outputs / ".supervisor.lock")
    if not _one_at_a_time.acquire(timeout=wait_s or 0.01):
        if wait_s:
            raise Busy("another run is being started; try again in a moment")
        yield False
        return
    try:
        alone = lock.acquire(wait_s)
        if wait_s and not alone:
            raise Busy("another run is being started by a second Easel; try again in a moment")
        yield alone
    finally:
        lock.release()
        _one_at_a_time.release()


def in_the_way(run: Run, home: Home) -> Run | None:
    """The run that keeps `run` from starting; None when none does, or one that makes room."""
    ahead = _place(run, home)[1]
    return None if ahead and yields(ahead) and not yields(run) else ahead


def _send_away(run: Run, wait_s: float = LEAVE_WAIT_S) -> None:
    """Asks a run that yields to end, and waits until its process is gone, but not for ever."""
    started = run.last("started")
    if run.asked_t("stop", started["t"] if started else 0.0) is None:
        with suppress(ValueError):  # it has just ended by itself
            run.command("stop")
    _until(lambda: not run.locked(), wait_s)


def _place(run: Run, home: Home, kept: Collection[str] = ()) -> tuple[str, Run | None]:
    """(the card that a run gets now, the run that keeps it from starting).

    The card is "" where none is its own, as with a single one: then no other that uses the GPU may run.  kept: cards for others.
    """
    if not uses_gpu(run):
        return "", None
    others = [other for other in list_runs(home.outputs) if other.path != run.path and (other.locked() or starting(other))]
    busy = {other.card(): other for other in others if uses_gpu(other)}
    wanted = placing.cards_for(run, home)
    if not wanted or "" in busy:
        return "", busy.get("") or next(iter(busy.values()), None)
    free = next((card for card in wanted if card not in busy and card not in kept), "")
    return free, None if free else next((busy[card] for card in wanted if card in busy), None)


def starting(run: Run) -> bool:
    """Is a child of ours alive that has not said `started` yet?  It may not hold the lock yet."""
    child = _children.get(run.path)
    return child is not None and child.process.poll() is None and _attempt(run) == child.attempt_before


def ending(run: Run) -> bool:
    """Is a child of ours on its way out without having said how it ended?  A killed one lets go of the lock before it is gone."""
    child = _children.get(run.path)
    return child is not None and not run.locked() and not starting(run) and run.last_kind() not in ENDINGS and child.process.poll() is None


def _spawn(run: Run, home: Home, control_offset: int, token: Secret | None = None, spawned: Callable[[], None] = lambda: None, card: str = "") -> None:
    """A detached worker lives, and has said `started`, when this returns; at the latest after 8 s.  card: the one that it sees, "" leaves it all."""
    _collect()
    run.given_card(card)
    seen = machine(home.root)
    cards = placing.environment(card, seen.cards) if card else placing.environment_together(run, seen)
    env = worker_env(run.kind, home, token) | cards | _for_its_place(run, home)
    attempt = _attempt(run)
    if os.name == "nt":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined]
    else:
        apart = {"start_new_session": True}
    with os.fdopen(outside.open_to_append(run.log_path), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.runs.worker", str(run.path.resolve()), str(home.root.resolve()), str(control_offset)],
            cwd=REPO, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **apart,
        )  # fmt: skip
    _children[run.path] = _Child(run, process, attempt, death.oom_kills())
    spawned()
    _until(lambda: _attempt(run) > attempt or process.poll() is not None, ANNOUNCED_WITHIN_S)
    trackside.launch_chosen(run, home, worker_env("track", home), attempt)
    tellside.launch(run, home, worker_env("tell", home), attempt)
    _collect()


def _for_its_place(run: Run, home: Home, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that the place of a run needs which is trained elsewhere, such as where the agent is that knows the keys; {} for any other run."""
    found = registry.find("cloud", home.plugins).get(_place_of(run)) if is_elsewhere(run) else None
    names = getattr(found.module, "ENVIRONMENT", ()) if found and found.ok else ()
    return {name: environ[name] for name in names if name in environ}


def _collect() -> None:
    """Children of ours that died are no zombies any more, and the log says how each ended."""
    for path, child in list(_children.items()):
        code = child.process.poll()
        if code is None:
            continue
        del _children[path]
        if not path.is_dir() or code == REFUSED:
            continue
        if code == -getattr(signal, "SIGKILL", 9):
            _killed.append(child.run)
        if code not in (0, 1) or child.run.last_kind() not in ENDINGS:  # with 1 the worker has said `failed` itself, where it could
            rose = max(0, death.oom_kills() - child.oom_kills_before) if child.oom_kills_before >= 0 else 0
            with os.fdopen(outside.open_to_append(child.run.log_path), "ab") as log:
                log.write(f"\n{death.ENDED_LINE.format(how=death.how_it_ended(code), oom_kills=rose)}\n".encode())
        if _attempt(child.run) == child.attempt_before:
            _never_began(child.run, code)


def _check_folder(run: Run) -> None:
    """Nothing, or ValueError where a worker would write into something that only looks as if it lay in the run's folder."""
    if odd := outside.strange(run.path):
        raise ValueError(f"'{run.title}' cannot run: in its folder, {odd}")


def _give_up(run: Run, error: Exception) -> None:
    """The queue does not look at it again while this app runs; its page says why where that can be written down."""
    _hopeless.add(run.path)
    logging.getLogger("easel").error("%s cannot start: %s", run.id, error)
    try:
        journal.append(run.events_path, {"t": round(time.time(), 3), "kind": "failed", "error": str(error), "hint": "", "trace": ""}, fsync=True)
    except (ValueError, OSError):
        return  # its folder can be read, but not be written


def _never_began(run: Run, code: int) -> None:
    """A worker that died before its first word would leave the run queued, and be started again for ever: say `failed` for it."""
    lock = RunLock(run.lock_path)
    try:
        if not lock.acquire(wait_s=0):
            return
        journal.append(
            run.events_path,
            {
                "t": round(time.time(), 3),
                "kind": "failed",
                "error": f"The worker process could not begin; it ended with code {code}." if code >= 0 else f"The worker process could not begin; it ended by signal {death.signal_named(-code)}.",
                "hint": f"{REPAIR}, which repairs what is installed; the log has the details.",
                "trace": run.log_tail(60),
            },
            fsync=True,
        )
    except OSError as error:
        _hopeless.add(run.path)
        logging.getLogger("easel").error("%s could not begin, and could not be marked as failed: %s", run.id, error)
    finally:
        lock.release()


def _attempt(run: Run) -> int:
    started = run.last("started")
    return int(started["attempt"]) if started else 0


def _session(pid: int) -> list:
    """Processes whose parent is gone but which still belong to the worker's session.  Windows has no sessions of this kind."""
    import psutil

    if os.name == "nt":
        return []
    found = []
    for other in psutil.pids():
        try:
            if os.getsid(other) == pid:
                found.append(psutil.Process(other))
        except (OSError, psutil.NoSuchProcess):
            continue
    return found


def _may_pass(name: str, value: str) -> bool:
    upper = name.upper()
    allowed = name in ALLOWED or (os.name == "nt" and upper in ALLOWED) or upper.startswith(ALLOWED_PREFIXES)
    # a proxy's address may hold its password, without which it lets nothing through; nothing of ours writes it down
    return allowed and not any(word in upper for word in FORBIDDEN_WORDS) and (upper.endswith("_PROXY") or mask(value) == value)


def _until(true, wait_s: float) -> bool:
    """Whether true() came to be within wait_s."""
    deadline = time.monotonic() + wait_s
    while not (held := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held
