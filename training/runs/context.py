"""What a job is handed: its run folder, a voice (events) and an ear (commands)."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import Any

from . import death, journal
from .events import ENDINGS, KINDS, MAY
from .ranks import ALONE, Alone
from .run import Run

STEP_GAP_S = 0.5
PHASE_GAP_S = 0.25
DISK_FULL_WAIT_S = 30.0
DISK_FULL_TRIES = 40
_DURABLE = ENDINGS | {"checkpoint", "milder", "mended"}
_PASSING = {"phase", "step"}  # the next one says it all again


class Stopped(Exception):
    """A job raises it after it saved everything: the user asked it to stop."""

    def __init__(self, step: int = 0):
        super().__init__(f"stopped at step {step}")
        self.step = step


class NotANumber(ValueError):
    """The loss of a step, counted from 0, or its gradient is no number.  found: what was found out, where training goes on all the same; exact: whether the step can be computed in fp32."""

    def __init__(self, text: str, step: int, found: str, exact: bool = True):
        super().__init__(text)
        self.step, self.found, self.exact = step, found, exact


class Ended(Exception):
    """A job raises it where another process has put the run's ending on record."""

    def __init__(self, code: int):
        super().__init__(f"ended with code {code}")
        self.code = code


class Context:
    """One attempt at one run, as the job sees it.  Its methods may be called from any thread."""

    def __init__(self, run: Run, home, attempt: int, control_cursor: int = 0, secrets: dict | None = None):
        self.run = run
        self.home = home
        self.attempt = attempt
        self.secrets = secrets or {}
        self.ranks: Alone = ALONE  # the processes that train together
        self.last_emitted = ""
        self.after_kill = False  # whether the system ended the attempt before for want of memory
        self._cursor = control_cursor
        self._given = control_cursor  # as far as commands() gave them out
        self._stop = False  # a plain flag: a signal handler sets it, which must take no lock
        self.hurry = False  # a signal asked to stop, so that there may be little time
        self._pending: list[dict[str, Any]] = []
        self._warned: set[str] = set()
        self._unsaid: list[str] = []  # of one that does not own the run's folder: what the first one is to say
        self._step_t = 0.0
        self._phase = ("", 0.0)  # name, when last written
        self._speaking = threading.RLock()
        self._listening = threading.Lock()

    def emit(self, kind: str, **data: Any) -> None:
        """One event is on record; with checkpoint and the endings also on the disk.  Raises ValueError for a wrong kind or key.

        While the disk is full, or does not answer: what passes anyway is dropped, everything else waits until there is room.
        """
        from ..hub.secrets import mask

        if kind not in KINDS:
            raise ValueError(f"there is no event {kind!r}; there are: {', '.join(KINDS)}")
        if set(data) - set(MAY.get(kind, ())) != set(KINDS[kind]):
            raise ValueError(f"the event {kind!r} carries {sorted(KINDS[kind])}, not {sorted(data)}")
        record = {"t": round(time.time(), 3), "kind": kind, **_masked(data, lambda text: mask(text, *self.secrets.values()))}
        with self._speaking:
            for tries_left in range(DISK_FULL_TRIES, -1, -1):
                try:
                    journal.append(self.run.events_path, record, fsync=kind in _DURABLE)
                    break
                except OSError as error:
                    if not (error.errno in (errno.ENOSPC, errno.EDQUOT) or death.disk_gone(error)) or (tries_left == 0 and kind not in _PASSING):
                        raise
                    if kind in _PASSING:
                        return
                    time.sleep(DISK_FULL_WAIT_S)
            self.last_emitted = kind

    def phase(self, name: str, done: float = 0, of: float = 0, unit: str = "") -> None:
        """What the job does now and how far it is; of 0: length unknown.  First and last always written, else some 4 a second."""
        with self._speaking:
            before, before_t = self._phase
            now = time.monotonic()
            if name == before and now - before_t < PHASE_GAP_S and not (of and done >= of):
                return
            self._phase = (name, now)
            self.emit("phase", name=name, done=done, of=of, unit=unit)

    def step_due(self) -> bool:
        """Would step() write now?  Reading a loss makes the device wait, so ask first."""
        return time.monotonic() - self._step_t >= STEP_GAP_S

    def step(self, step: int, of: int, loss: float, lr: float, grad: float, images_per_s: float, memory_bytes: int) -> bool:
        """True when it was written: at most some 2 a second, and always the last."""
        if step < of and not self.step_due():
            return False
        self._step_t = time.monotonic()
        self.emit("step", step=step, of=of, loss=loss, lr=lr, grad=grad, images_per_s=images_per_s, memory_bytes=memory_bytes)
        return True

    def warn(self, text: str) -> None:
        """A warning, once a text."""
        with self._speaking:
            if text not in self._warned:
                self._warned.add(text)
                self.emit("warning", text=text)

    def share_warnings(self) -> None:
        """What all processes of the run have to warn of since the last time is on record; all call it together.  Raises Lost."""
        with self._speaking:
            unsaid, self._unsaid = self._unsaid, []
        for text in dict.fromkeys(text for told in self.ranks.gather(unsaid) for text in told):
            self.warn(text)

    @property
    def cursor(self) -> int:
        """The byte of control.jsonl from which on the next attempt hears: what was read but not given out yet is heard again."""
        with self._listening:
            return self._given if self._pending else self._cursor

    def hear_from(self, cursor: int) -> None:
        """Another process heard the commands up to this byte, and obeyed them."""
        with self._listening:
            self._cursor = self._given = cursor
            self._pending = []

    @property
    def training(self) -> bool:
        """Whether a step was told."""
        return self._step_t > 0

    def commands(self) -> list[dict[str, Any]]:
        """Commands since the last call, oldest first, without stop; does not wait."""
        self._listen()
        with self._listening:
            fresh, self._pending = self._pending, []
            self._given = self._cursor
        return fresh

    def stop_requested(self) -> bool:
        """Has somebody asked to stop, by command or by signal?  Stays true."""
        if not self._stop:
            self._listen()
        return self._stop

    def request_stop(self) -> None:
        """As if the user had pressed Stop, but in a hurry: the system ends this process."""
        self._stop = self.hurry = True

    def path(self, *parts: str) -> Path:
        """A path inside the run folder; its parent exists.  Raises ValueError for one that leads out."""
        root = self.run.path.resolve()
        path = root.joinpath(*parts)
        if not path.resolve().is_relative_to(root):
            raise ValueError(f"{'/'.join(parts)!r} leads out of the run folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _listen(self) -> None:
        with self._listening:
            records, self._cursor, _ = journal.read(self.run.control_path, self._cursor)
            for record in records:
                if record.get("kind") == "stop":
                    self._stop = True
                    self.hurry = self.hurry or record.get("hurry") is True
                else:
                    self._pending.append(record)


class Follower(Context):
    """The same for a process that does not own the run's folder: it hears, and is silent.  What it has to tell, the first one of its ranks tells."""

    def emit(self, kind: str, **data: Any) -> None:
        """Nothing is on record."""
        self.last_emitted = kind

    def warn(self, text: str) -> None:
        """Kept for the first one; see share_warnings()."""
        with self._speaking:
            if text not in self._warned:
                self._warned.add(text)
                self._unsaid.append(text)

    def step_due(self) -> bool:
        """Never."""
        return False

    def commands(self) -> list[dict[str, Any]]:
        """None: the first one's count."""
        return []


def _masked(value: Any, mask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked(item, mask) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(item, mask) for item in value]
    return value
