"""The gate: every picture and clip is decoded first in a child process with limits, and only what passes is ever used.

    python -m training.data.gate

The child reads one JSON line a picture ({path, thumb, measure}) and writes one JSON line back ({ok, reason, ...}).  A picture that
kills it or runs out of time gets that as its reason, and a new child goes on with the rest.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

MEMORY_BYTES = 3 * 1024**3  # 64 megapixels take 256 MB in Pillow, and a conversion holds up to five of them
CPU_S = 60
FOR_ONE = 3  # pictures: to start a child takes as long as ten small pictures, and less than one large photograph
WALL_S = 180  # for one that hangs; what computes too much is ended by CPU_S
REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Report:
    """What the gate says of one picture or clip.  width, height: px, upright.  note: what is done to it on reading.

    alpha: has transparent parts.  seconds: of a clip, else 0.  cuts: when new scenes begin in it, seconds.  measured: for the health check (measuring.py), where it was asked for.
    """

    ok: bool
    reason: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    note: str = ""
    alpha: bool = False
    seconds: float = 0.0
    measured: dict | None = None
    cuts: tuple[float, ...] = ()


class Gate:
    """One child, started at the first picture and again after each one that it did not survive.  Not for two threads at once."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, cpu_s: int = CPU_S, wall_s: float = WALL_S):
        self.limits = (memory_bytes, cpu_s)
        self.wall_s = wall_s
        self._child: Any = None  # a Popen while there is one
        self._lines: queue.Queue = queue.Queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def check(self, path: Path, thumb: Path | None = None) -> Report:
        """The report on one picture; writes its thumbnail to `thumb`.  Never raises for what is in the file."""
        return self._ask(path, thumb, measure=False)

    def measure(self, path: Path) -> Report:
        """The report on one picture, with what the health check measures on it.  Never raises for what is in the file."""
        return self._ask(path, None, measure=True)

    def _ask(self, path: Path, thumb: Path | None, measure: bool) -> Report:
        if self._child is None or self._child.poll() is not None:
            self._start()
        job = json.dumps({"path": os.path.abspath(path), "thumb": os.path.abspath(thumb) if thumb else "", "measure": measure})
        try:
            self._child.stdin.write(job.encode("ascii") + b"\n")
            self._child.stdin.flush()
        except OSError:
            return self._died()
        return self._answer()

    def close(self) -> None:
        """End the child; a later check starts a new one."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            child.stdin.close()
            child.wait(timeout=1)
        except (OSError, subprocess.TimeoutExpired):
            _kill(child)
        child.stdout.close()

    def _start(self) -> None:
        self.close()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "training.data.gate", *map(str, self.limits)],
            cwd=REPO, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
        self._lines = queue.Queue()
        threading.Thread(target=_pump, args=(self._child.stdout, self._lines), daemon=True).start()

    def _answer(self) -> Report:
        deadline = time.monotonic() + self.wall_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left_s if sys.platform == "linux" else min(left_s, 0.25))
            except queue.Empty:
                if _rss_bytes(self._child) > self.limits[0]:  # where the system does not enforce the limit itself
                    self._stop_child()
                    return Report(False, _TOO_MUCH_MEMORY)
                continue
            if line is None:
                return self._died()
            try:
                return Report(**json.loads(line))
            except (ValueError, TypeError):
                self._stop_child()
                return Report(False, "decoding it went wrong in a way that was not understood")
        self._stop_child()
        return Report(False, f"decoding it took longer than {self.wall_s:.0f} s")

    def _died(self) -> Report:
        code = self._child.wait()
        self._stop_child()
        if code == -getattr(signal, "SIGXCPU", 24):
            return Report(False, f"decoding it took more than {self.limits[1]} s of computing")
        if code == _EXIT_MEMORY:
            return Report(False, _TOO_MUCH_MEMORY)
        if code == -9:
            return Report(False, "decoding it was ended by the system, probably for lack of memory")
        return Report(False, f"decoding it crashed the decoder (code {code}); the file is probably damaged")

    def _stop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            _kill(child)
            for pipe in (child.stdin, child.stdout):
                try:
                    pipe.close()
                except OSError:
                    pass


T = TypeVar("T")
R = TypeVar("R")


def gated(items: Iterable[T], work: Callable[[Gate, T], R], workers: int = 0) -> Iterator[R]:
    """work(gate, item) of each item, in order, by a few children side by side.  workers 0: as many as pay, one a core, at most 4."""
    items = list(items)
    workers = min(len(items), workers or min(math.ceil(len(items) / FOR_ONE), 4, os.cpu_count() or 2))
    if workers <= 1:
        with Gate() as gate:
            yield from (work(gate, item) for item in items)
        return
    gates: queue.Queue[Gate] = queue.Queue()
    for _ in range(workers):
        gates.put(Gate())

    def one(item: T) -> R:
        gate = gates.get()
        try:
            return work(gate, item)
        finally:
            gates.put(gate)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="gate")
    try:
        yield from pool.map(one, items)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        while not gates.empty():
            gates.get().close()


_EXIT_MEMORY = 77
_TOO_MUCH_MEMORY = "decoding it needs more memory than a picture may take; scale it down or save it again as PNG"


def _pump(stream, lines: queue.Queue) -> None:
    """Every line of the child, then None.  A thread, because Windows cannot wait for a pipe with a time limit."""
    try:
        for line in stream:
            lines.put(line)
    except (OSError, ValueError):
        pass
    lines.put(None)


def environment() -> dict[str, str]:
    """What a child that decodes pictures knows of this computer: no token, and nothing of where things are."""
    keep = ("PATH", "SYSTEMROOT", "WINDIR", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    return env | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}


def _kill(child: subprocess.Popen[Any]) -> None:
    try:
        child.kill()
        child.wait(timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        pass


def _rss_bytes(child: subprocess.Popen) -> int:
    import psutil

    try:
        return psutil.Process(child.pid).memory_info().rss
    except psutil.Error:
        return 0


def limit(memory_bytes: int) -> None:
    """Memory, file size and core dumps of this process, for good.  CPU time is set anew for each picture."""
    try:
        import resource
    except ImportError:  # Windows: the parent watches memory and time
        return
    for what, most in (("RLIMIT_AS", memory_bytes), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 64 * 1024**2)):
        try:
            resource.setrlimit(getattr(resource, what), (most, most))
        except (ValueError, OSError, AttributeError):  # macOS refuses RLIMIT_AS
            pass


def allow_cpu(seconds: int) -> None:
    """At most so many seconds of computing from now on; the system ends the process after that."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def _look_at(path: str, thumb: str, measure: bool) -> Report:
    from .clips import is_clip, read_clip
    from .pictures import Refused, read, read_regular, thumbnail_bytes

    try:
        data = read_regular(path)
        rgb, facts = read_clip(data) if is_clip(data) else read(path, draft=not measure)
        measured = None
        if measure:
            from . import measuring  # brings numpy, which an import of pictures does without

            measured = measuring.measure(data, rgb)
        if thumb:
            _write_whole(thumb, thumbnail_bytes(rgb))
    except Refused as error:
        return Report(False, str(error))
    except MemoryError:
        return Report(False, _TOO_MUCH_MEMORY)
    except OSError as error:
        return Report(False, f"cannot be read: {error.strerror or error}")
    return Report(True, "", facts.format, facts.width, facts.height, "; ".join(facts.notes), facts.alpha, facts.seconds, measured, facts.cuts)


def _write_whole(path: str, data: bytes) -> None:
    temp = f"{path}.tmp-{os.getpid()}"
    with open(temp, "wb") as file:
        file.write(data)
    os.replace(temp, path)


def main(memory_bytes: int, cpu_s: int) -> None:
    """The child: a report a line until stdin ends, which it also does when the parent is gone."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a decoder prints must not look like an answer
    if hasattr(os, "nice"):
        os.nice(5)  # all cores may be at it: the page and a training go first
    limit(memory_bytes)
    for line in sys.stdin.buffer:
        job = json.loads(line)
        allow_cpu(cpu_s)
        try:
            report = _look_at(job["path"], job["thumb"], job["measure"])
        except MemoryError:
            os._exit(_EXIT_MEMORY)
        except Exception as error:  # noqa: BLE001 the last word on this picture, so that the rest of the batch goes on
            report = Report(False, f"decoding it failed: {type(error).__name__}: {error}"[:300])
        answers.write(json.dumps(vars(report)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
