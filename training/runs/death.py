"""Why did it die: one plain sentence, from an exception that was caught or from what a silent worker left behind."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from ..home import COMMAND, REPAIR
from .events import RunView

ATTEMPT_LINE = "--- attempt {attempt}, {time} UTC, process {pid} ---"  # the first line of each attempt in log.txt
ENDED_LINE = "Easel: the worker ended {how}; the system had killed {oom_kills} processes for want of memory meanwhile"
_ATTEMPT = re.compile(r"^--- attempt \d+, .* ---$", re.MULTILINE)
_ENDED = re.compile(r"^Easel: the worker ended (?:by signal (\d+)|with code (\d+)).*; the system had killed (\d+) ", re.MULTILINE)
_LIBRARY_TROUBLE = f"{REPAIR}, which repairs what is installed; '{COMMAND} doctor' says what is wrong."
_GPU_TROUBLE = f"Update the graphics driver, then press Resume; '{COMMAND} doctor' says what is wrong."
_SMALLER = "Duplicate the run with a smaller batch or a lower resolution, or with gradient checkpointing on."
WINDOWS_ACCESS_VIOLATION = 0xC0000005
CLOCK_SLACK_S = 90  # a boot time computed from the clock wanders a little


def boot_id() -> str:
    """Differs after each start of the computer."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        pass
    try:
        import psutil
    except ImportError:  # the worker asks before it can say what is missing
        return ""
    return f"t:{psutil.boot_time():.0f}"


def oom_kills() -> int:
    """How many processes this computer, else this container, has killed for want of memory; -1 where nobody counts."""
    for path, name in _counters():
        try:
            found = re.search(rf"^{name} (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return -1


def of_exception(error: BaseException) -> tuple[str, str]:
    """(what went wrong, what to do next) for a person; nothing in them names a step, as the caller knows it better."""
    text = " ".join(str(error).split())
    hint = str(getattr(error, "hint", ""))
    name = type(error).__name__
    if "CUDA out of memory" in text or "HIP out of memory" in text or "MPS backend out of memory" in text or "XPU out of memory" in text or name == "OutOfMemoryError":
        return "The graphics card ran out of memory.", hint or _SMALLER
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text:
        return "The computer ran out of memory (RAM).", hint or f"Close other programs, then press Resume. {_SMALLER}"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in text:
        return _disk_full(str(getattr(error, "filename", None) or "")), hint or "Free some space, then press Resume."
    if isinstance(error, ImportError):
        return _capped(f"A part of Easel could not be loaded: {text}"), hint or _LIBRARY_TROUBLE
    if "CUDA error" in text or "CUDA driver" in text or "cuDNN error" in text or "NVIDIA driver" in text:
        return _capped(f"The graphics card refused to work: {text}"), hint or _GPU_TROUBLE
    if hint and text:  # whoever wrote a hint wrote a sentence too
        return _capped(text), hint
    if isinstance(error, OSError) and error.strerror:
        return _capped(f"{error.strerror}: {error.filename}" if error.filename else error.strerror), hint or "See the details, then press Resume."
    if isinstance(error, (ValueError, OSError)) and text:
        return _capped(text), hint
    return _capped(f"{name}: {text}" if text else name), hint or "See the details; then press Resume, or duplicate the run with other settings."


def of_silence(view: RunView, saved_steps: Sequence[int], log: str, folder: str, left_there: bool = False) -> str:
    """Why the worker of an interrupted run ended without a word, as far as anything tells, and what to do next.

    saved_steps: of its checkpoints, ascending.  log: the last of its log.txt.  folder: the run's, for what is free on its disk.  left_there: it was
    watched from here, and runs or lies on another machine.
    """
    at = f" at step {view.step}" if view.step else ""
    if left_there:
        saved, go_on = "", " Press Resume to find it again on the other machine."
    elif saved_steps:
        saved, go_on = f" Everything up to step {saved_steps[-1]} is saved.", f" Press Resume to go on from step {saved_steps[-1]}."
    else:
        saved, go_on = "", " Press Resume to begin again." if view.of else " Press Resume to go on."
    log = _ATTEMPT.split(log)[-1]
    ended = _ENDED.search(log)
    number = int(ended[1] or 0) if ended else 0
    code = int(ended[2] or 0) if ended else 0
    oom_rose = int(ended[3]) > 0 if ended else 0 <= view.oom_kills < oom_kills()

    if _restarted(view.boot_id, boot_id()):
        return f"The computer was restarted while it ran{at}.{saved}{go_on}"
    if "No space left on device" in log:
        return f"{_disk_full(folder)}{saved} Free some space.{go_on}"
    if number == signal.SIGSEGV or code == WINDOWS_ACCESS_VIOLATION or "Segmentation fault" in log or "access violation" in log:
        return f"It crashed inside native code{at}, which is often the graphics driver; update the driver.{saved}{go_on}"
    if number == getattr(signal, "SIGBUS", -1) or "Bus error" in log:
        return f"It crashed on a bus error{at}: often a full disk under a mapped file.{saved} Free some space.{go_on}"
    if "Fatal Python error" in log or number == signal.SIGABRT:
        return f"It crashed inside native code{at}; the log has its last words.{saved}{go_on}"
    if oom_rose and number in (0, getattr(signal, "SIGKILL", 9)):
        return f"The computer ran out of memory (RAM){at}.{saved} Close other programs, or duplicate the run with a smaller batch.{go_on}"
    return f"It ended without a word{at} (killed or power cut).{saved}{go_on}"


def how_it_ended(code: int) -> str:
    """'by signal 9 (SIGKILL)' or 'with code 3', from a process's return code."""
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"by signal {-code}"


def _counters() -> list[tuple[Path, str]]:
    counters = [(Path("/proc/vmstat"), "oom_kill")]
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return counters
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if not controllers:
            counters.append((Path(f"/sys/fs/cgroup{path}/memory.events"), "oom_kill"))
        elif "memory" in controllers.split(","):
            counters.append((Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control"), "oom_kill"))
    return counters


def _restarted(before: str, now: str) -> bool:
    if before.startswith("t:") and now.startswith("t:"):
        return abs(float(before[2:]) - float(now[2:])) > CLOCK_SLACK_S
    return bool(before) and before != now


def _disk_full(path: str) -> str:
    import shutil

    try:
        free = f" ({shutil.disk_usage(path).free / 1e6:.0f} MB are free)" if path else ""
    except OSError:
        free = ""
    return f"The disk is full{free}."


def _capped(text: str) -> str:
    return text if len(text) <= 500 else text[:499] + "…"
