"""Starts the processes that train one run together, through torch.distributed's own launcher, and says how they ended.

Whoever launches holds the run's lock and trains nothing.  The first of the processes owns the rest of the run's folder until all are gone;
then, where it has not said how the run ended, it is said here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from .. import outside
from ..config import TrainConfig
from ..home import Home
from ..plan import sharing
from ..plan.devices import CARDS
from ..runs import death, journal, milder
from ..runs.context import Context, Ended
from ..runs.events import ENDINGS
from ..runs.worker import AGAIN, DONE, HEARD, LOST
from ..sentences import sentences

LOOPBACK = {"linux": "lo", "darwin": "lo0"}
WAIT_FOR_NODES_S = 900
LOOK_S = 0.2
LEAVE_S = 5.0  # that those who are left have when one has failed: each that waits for it ends at once, and torch gives the others half a minute
MAX_HEARD_BYTES = 20  # of a number
MAX_ERROR_BYTES = 4 << 20  # of what a process left behind of its failure


@dataclass(frozen=True)
class Nodes:
    """The computers that train together.  number: this one's.  endpoint: HOST:PORT of the first one, "" where it is the only one."""

    count: int = 1
    number: int = 0
    endpoint: str = ""


def local_processes(asked: int, device: str) -> int:
    """How many processes this computer starts.  Raises ValueError where it has too few cards."""
    cards = getattr(torch, device).device_count() if device in CARDS else 0
    return sharing.processes(asked, device, cards)


def launch(config: TrainConfig, ctx: Context, count: int, nodes: Nodes) -> None:
    """Trains with `count` processes here, and as many on each other computer.  Raises Ended when all are gone; ValueError where a step cannot be shared out."""
    for path, text in sharing.problems(config, count * nodes.count, ctx.home.plugins):
        raise ValueError(f"{path} {text}")
    if ctx.run.wished_card():
        ctx.warn(f"the card that was chosen has no effect: gpus is {config.gpus}, so the run takes several")
    token = ctx.secrets.get("hf_token")
    if nodes.count > 1:
        ctx.phase("waiting for the other computers")
    work = _Work([str(ctx.home.root.resolve()), str(ctx.run.path.resolve()), str(ctx.attempt), str(ctx.cursor)], count, nodes, token.reveal() if token else "", config.device)
    kills = death.oom_kills()
    stop_told = False
    steps = lambda: [step for step, _ in ctx.run.checkpoints()]
    try:
        while not work.ended(LOOK_S):
            if not work.begun and ctx.stop_requested():  # nobody is there yet who would hear it
                ctx.emit("stopped", step=max(steps(), default=0))
                raise Ended(0)
            if ctx.hurry and not stop_told:  # a signal to this process; commands are heard by the first of those that train
                stop_told = True
                journal.append(ctx.run.control_path, {"t": round(time.time(), 3), "kind": "stop", "hurry": True})
        ending = ctx.run.last_kind()
        if ending in ENDINGS and (ending != "stopped" or not work.trouble or ctx.stop_requested()):
            raise Ended(0 if ending != "failed" else 1)
        if nodes.count == 1 and (ending in ("milder", "mended") or (_spent(work.trouble, 0 <= kills < death.oom_kills()) and milder.step_down(ctx, "vram" if config.device in CARDS else "ram"))):
            if (heard := heard_in(work.folder)) is not None:
                ctx.hear_from(heard)
            raise Ended(AGAIN)
        error, hint, trace = why(work.trouble, count, nodes, config.device, 0 <= kills < death.oom_kills())
    finally:
        work.forget()
    saved = f"Everything up to step {steps()[-1]} is saved." if steps() else ""
    ctx.emit("failed", error=error, hint=sentences(saved, hint), trace=trace)
    raise Ended(1)


def heard_in(folder: Path) -> int | None:
    """The byte of control.jsonl up to which the first process heard commands; None where it left no word."""
    for file in folder.rglob(HEARD):
        with contextlib.suppress(OSError, ValueError):
            return int(outside.read_plain(file, MAX_HEARD_BYTES))
    return None


def join(home: Home, count: int, nodes: Nodes, device: str) -> str:
    """Lends this computer's processes to a run that another one leads; "" when it ended well, else why not.  Ctrl-C ends them."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a cluster's manager tells all, and the one that leads saves and ends all
    work = _Work([str(home.root.resolve()), "", "0", "0"], count, nodes, os.environ.get("HF_TOKEN", ""), device)
    try:
        while not work.ended(LOOK_S):
            continue
        return "" if work.trouble is None else " ".join(why(work.trouble, count, nodes, device, False)[:2])
    except KeyboardInterrupt:
        end_children()
        raise
    finally:
        work.forget()


def end_children() -> None:
    """Every process that was started here is ended at once."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


class _Work:
    """The launcher at work, in a thread of its own: in the main one it would take the signals that mean Stop."""

    def __init__(self, arguments: list[str], count: int, nodes: Nodes, token: str, device: str):
        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # its words are for those who wrote it; why() says it for a person
        self.trouble: Exception | None = None
        os.environ |= _environment(count, nodes, device)
        if token:
            os.environ["HF_TOKEN"] = token  # each of them takes it out of its own again
        alone = nodes.count == 1
        self.begun = False  # whether a process was seen
        self._count, self._ranks, self._since = count, [], 0.0
        self.folder = Path(tempfile.mkdtemp(prefix="easel-ranks-"))  # where they leave word
        how = LaunchConfig(
            min_nodes=nodes.count, max_nodes=nodes.count, nproc_per_node=count, max_restarts=0, run_id=f"easel-{os.getpid()}" if alone else "easel",
            rdzv_backend="c10d" if alone else "static", rdzv_endpoint="127.0.0.1:0" if alone else nodes.endpoint, local_addr="127.0.0.1" if alone else None,
            rdzv_configs={"timeout": WAIT_FOR_NODES_S} | ({} if alone else {"rank": nodes.number}), logs_specs=DefaultLogsSpecs(str(self.folder)), shutdown_timeout=5,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, args=(how, arguments), name="easel-launcher", daemon=True)
        self._thread.start()

    def _run(self, how: LaunchConfig, arguments: list[str]) -> None:
        try:
            elastic_launch(how, sys.executable)("-m", "training.runs.rank", *arguments, str(os.getpid()))
        except Exception as error:  # noqa: BLE001 the launcher's many; why() says what each means
            self.trouble = error
        finally:
            os.environ.pop("HF_TOKEN", None)

    def ended(self, wait_s: float) -> bool:
        """Whether all processes are gone, after at most wait_s."""
        self._thread.join(wait_s)
        self._end_those_left()
        return not self._thread.is_alive()

    def forget(self) -> None:
        """What they left behind is gone."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_those_left(self) -> None:
        """When one is gone that had not done its share, the others have LEAVE_S."""
        import psutil

        if len(self._ranks) < self._count:
            self._ranks = [child for child in psutil.Process().children() if _is_rank(child)]
            self.begun = self.begun or bool(self._ranks)
            return
        living = [one for one in self._ranks if _is_rank(one)]  # one that has ended has no command line
        if len(living) + len(list(self.folder.rglob(DONE))) >= self._count or not living:
            return
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since > LEAVE_S:
            end_children()


def _is_rank(child) -> bool:
    import psutil

    try:
        return "training.runs.rank" in child.cmdline()
    except psutil.Error:
        return False


def _environment(count: int, nodes: Nodes, device: str) -> dict[str, str]:
    """What the processes find beside the launcher's own variables, as far as nobody has set it."""
    found = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    if nodes.count == 1 and sys.platform in LOOPBACK:
        found["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]  # a computer's own name may lead nowhere
    return {name: value for name, value in found.items() if name not in os.environ}


def _spent(trouble: Exception | None, memory_gone: bool) -> bool:
    """Whether the memory of one of the processes ran out.  memory_gone: as why() takes it."""
    killed = -getattr(signal, "SIGKILL", 9)
    return isinstance(trouble, ChildFailedError) and any(one.exitcode == AGAIN or (memory_gone and one.exitcode == killed) for one in trouble.failures.values())


def why(trouble: Exception | None, count: int, nodes: Nodes, device: str, memory_gone: bool) -> tuple[str, str, str]:
    """(what went wrong, what to do next, details).  memory_gone: the system has killed processes for want of memory meanwhile."""
    if not isinstance(trouble, ChildFailedError):
        told = " ".join(str(trouble).split())
        if nodes.count > 1:
            return f"The {nodes.count} computers did not come together within {WAIT_FOR_NODES_S // 60} minutes, or lost each other: {told}", "See that all were started with the same --rdzv and can reach it; then press Resume.", ""
        return f"The processes that train together could not be started: {told}", "See the log; then press Resume.", ""
    lost_t = min((one.timestamp for one in trouble.failures.values() if one.exitcode == LOST), default=float("inf"))

    def order(pair: tuple[int, ProcessFailure]) -> tuple[bool, bool, int]:
        one = pair[1]  # those that were ended because of another one come last
        ended = one.exitcode == -signal.SIGTERM or (one.exitcode < 0 and one.timestamp >= lost_t + LEAVE_S - 1)
        return ended, one.exitcode == LOST, one.timestamp

    number, failure = min(trouble.failures.items(), key=order)
    processes = count * nodes.count
    name = f"Process {number + 1} of {processes} (card {failure.local_rank})" if device in CARDS else f"Process {number + 1} of {processes}"
    said = _said(failure)
    if failure.exitcode == LOST and nodes.count == 1:
        return f"The processes could not exchange their gradients: {said.get('message', 'the log has the details')[:400]}", "See the log; then press Resume.", said.get("trace", "")
    if failure.exitcode == LOST:
        return "A process on another computer ended, so those here were ended too.", "Its own words say why; then press Resume.", said.get("trace", "")
    if said:
        return f"{name} failed, so the others were ended too: {said['message']}", said.get("hint", ""), said.get("trace", "")
    if memory_gone and -failure.exitcode == getattr(signal, "SIGKILL", 9):
        return f"The computer ran out of memory (RAM): {name} was ended, and the others with it.", "Close other programs, or train with fewer processes (gpus), then press Resume.", ""
    by_signal = f"{name} ended by signal {death.signal_named(-failure.exitcode)}, so the others were ended too."
    said_of_it = by_signal if failure.exitcode < 0 else f"{name} ended with code {failure.exitcode}, so the others were ended too."
    return said_of_it, "Press Resume to go on; the log has its last words.", ""


def _said(failure: ProcessFailure) -> dict[str, str]:
    """What a process left behind of its own failure; {} where it was killed."""
    try:
        said = outside.read_json(failure.error_file, MAX_ERROR_BYTES)
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("message"), str) else {}
