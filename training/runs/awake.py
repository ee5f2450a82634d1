"""The computer does not fall asleep while it trains.  Its screen may; a person's own 'Sleep' and a lid that is closed are obeyed as ever."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

WHY = "A training is running"
LEAVE_S = 1.0  # that the helper has for its own end
ES_CONTINUOUS, ES_SYSTEM_REQUIRED = 0x80000000, 0x00000001  # SetThreadExecutionState's


@contextmanager
def held() -> Iterator[Callable[[], str]]:
    """Inside, the system is asked not to sleep.  Gives what says how, or why not: a line for the log, and no failure.  It ends with this process, however that ends."""
    if os.name == "nt":
        with _windows() as how:
            yield lambda: how
        return
    command = _command()
    if not command:
        yield lambda: "sleep is not held off: this system has neither systemd-inhibit nor caffeinate"
        return
    try:
        helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        why = f"sleep is not held off: {command[0]} does not start ({error.strerror})"
        yield lambda: why
        return
    try:
        yield lambda: f"sleep is held off by {os.path.basename(command[0])}" if helper.poll() is None else f"sleep is not held off: {_said(helper)}"
    finally:
        with suppress(OSError):
            helper.stdin.close()  # type: ignore[union-attr] # its program reads from us and ends when nobody writes any more, also when we are killed
        with suppress(subprocess.TimeoutExpired):
            helper.wait(LEAVE_S)
        if helper.poll() is None:
            helper.kill()
            helper.wait()
        helper.stderr.close()  # type: ignore[union-attr]


def _command() -> list[str]:
    """What holds sleep off for as long as it runs, and runs for as long as its input is open; [] where there is none."""
    if sys.platform == "darwin":
        found = shutil.which("caffeinate")
        return [found, "-i", "-m", "-s", "cat"] if found else []
    found = shutil.which("systemd-inhibit")
    return [found, "--what=sleep:idle", "--mode=block", "--who=Easel", f"--why={WHY}", "cat"] if found else []


def _said(helper: subprocess.Popen) -> str:
    text = " ".join(helper.stderr.read(500).decode("utf-8", "replace").split()) if helper.stderr else ""
    return text or f"the system's helper ended with code {helper.returncode}"


@contextmanager
def _windows() -> Iterator[str]:
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    done = kernel.SetThreadExecutionState(ES_CONTINUOUS | ES_SYSTEM_REQUIRED)
    try:
        yield "sleep is held off by Windows" if done else "sleep is not held off: Windows refused it"
    finally:
        kernel.SetThreadExecutionState(ES_CONTINUOUS)
