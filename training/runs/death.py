"""Why did it die: one plain sentence, from an exception that was caught or from what a silent worker left behind."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

from ..home import COMMAND, REPAIR
from .events import RunView

ATTEMPT_LINE = "--- attempt {attempt}, {time} UTC, process {pid} ---"  # the first line of each attempt in log.txt
ENDED_LINE = "Easel: the worker ended {how}; the system had killed {oom_kills} processes for want of memory meanwhile"
_ATTEMPT = re.compile(r"^--- attempt \d+, .* ---$", re.MULTILINE)
_ENDED = re.compile(r"^Easel: the worker ended (?:by signal (\d+)|with code (\d+)).*; the system had killed (\d+) ", re.MULTILINE)
_LIBRARY_TROUBLE = f"{REPAIR}, which repairs what is installed; '{COMMAND} doctor' says what is wrong."
_GPU_TROUBLE = f"Update the graphics driver, then press Resume; '{COMMAND} doctor' says what is wrong."
_CARD_AGAIN = f"Press Resume: it goes on from what is saved. If it happens again, take back any overclocking, look at heat and power, and update the driver; '{COMMAND} doctor' sees whether the card is there."
_NO_MEMORY = {  # what libraries say where memory ran out: of the card, of the computer
    "vram": ("CUDA out of memory", "HIP out of memory", "MPS backend out of memory", "XPU out of memory", "CUDA error: out of memory", "HIP error: out of memory", "_STATUS_ALLOC_FAILED", "OUT_OF_DEVICE_MEMORY"),
    "ram": ("can't allocate memory", "not enough memory", "annot allocate memory", "bad_alloc", "Unable to allocate"),
}  # fmt: skip
_DISK_GONE = {getattr(errno, name) for name in ("EIO", "ENODEV", "ENXIO", "ENOTCONN", "ESTALE", "EHOSTDOWN") if hasattr(errno, name)}
_CARD_LOST = ("launch failure", "launch timed out", "device is lost", "device lost", "DEVICE_LOST", "fallen off the bus", "GPU is lost", "ECC error", "hardware stack error", "devices unavailable", "driver shutting down")
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


def ran_out(error: BaseException) -> str:
    """"vram" or "ram" where memory ran out, of the card or of the computer; "" for anything else."""
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError" or any(said in text for said in _NO_MEMORY["vram"]):
        return "vram"
    gone = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM or any(said in text for said in _NO_MEMORY["ram"])
    return "ram" if gone else ""


def disk_gone(error: BaseException) -> TypeGuard[OSError]:
    """Whether a disk no longer answers: it was unplugged, or its network is away."""
    return isinstance(error, OSError) and error.errno in _DISK_GONE


def killed_for_memory(boot_before: str, kills_before: int, log: str) -> bool:
    """Whether the system ended a silent worker for want of memory.  log: the last of its log.txt; the others as its `started` says."""
    if _restarted(boot_before, boot_id()):
        return False
    number, _, rose = _how(log, kills_before)
    return rose and number in (0, getattr(signal, "SIGKILL", 9))


def _how(log: str, kills_before: int) -> tuple[int, int, bool]:
    """(signal, exit code, whether the system had killed processes for want of memory) of the last attempt; 0 where nobody saw it end."""
    ended = _ENDED.search(_ATTEMPT.split(log)[-1])
    if not ended:
        return 0, 0, 0 <= kills_before < oom_kills()
    return int(ended[1] or 0), int(ended[2] or 0), int(ended[3]) > 0


def of_exception(error: BaseException) -> tuple[str, str]:
    """(what went wrong, what to do next) for a person; nothing in them names a step, as the caller knows it better."""
    text = " ".join(str(error).split())
    hint = str(getattr(error, "hint", ""))
    name = type(error).__name__
    out_of = ran_out(error)
    if out_of == "vram":
        return "The graphics card ran out of memory.", hint or _SMALLER
    if out_of:
        return "The computer ran out of memory (RAM).", hint or f"Close other programs, then press Resume. {_SMALLER}"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in text:
        return _disk_full(str(getattr(error, "filename", None) or "")), hint or "Free some space, then press Resume."
    if disk_gone(error):
        trouble = " ".join(str(error.strerror).split())
        said = f"The disk no longer answers ({error.filename}): {trouble}." if error.filename else f"The disk no longer answers: {trouble}."
        return _capped(said), hint or "Plug it in again, or bring its network back; then press Resume."
    if isinstance(error, ImportError):
        return _capped(f"A part of Easel could not be loaded: {text}"), hint or _LIBRARY_TROUBLE
    if any(said in text for said in _CARD_LOST) and any(said in text for said in ("CUDA", "HIP", "XPU", "GPU", "UR_RESULT", "device")):
        return _capped(f"The graphics card was lost while it worked, as by a reset of its driver: {text}"), hint or _CARD_AGAIN
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
    saved = ""
    if left_there:
        go_on = "Press Resume to find it again on the other machine."
    elif saved_steps:
        saved, go_on = f"Everything up to step {saved_steps[-1]} is saved.", f"Press Resume to go on from step {saved_steps[-1]}."
    else:
        go_on = "Press Resume to begin again." if view.of else "Press Resume to go on."
    what, first = _what_happened(view, _ATTEMPT.split(log)[-1], folder)
    return " ".join(filter(None, (what, saved, first, go_on)))


def _what_happened(view: RunView, log: str, folder: str) -> tuple[str, str]:
    """(what happened, what to do before it goes on), sentences that another language finds again whole; "" for nothing."""
    step, (number, code, oom_rose) = view.step, _how(log, view.oom_kills)
    if _restarted(view.boot_id, boot_id()):
        return f"The computer was restarted while it ran at step {step}." if step else "The computer was restarted while it ran.", ""
    if "No space left on device" in log:
        return _disk_full(folder), "Free some space."
    if number == signal.SIGSEGV or code == WINDOWS_ACCESS_VIOLATION or "Segmentation fault" in log or "access violation" in log:
        at_step = f"It crashed inside native code at step {step}, which is often the graphics driver; update the driver."
        return at_step if step else "It crashed inside native code, which is often the graphics driver; update the driver.", ""
    if number == getattr(signal, "SIGBUS", -1) or "Bus error" in log:
        at_step = f"It crashed on a bus error at step {step}: often a full disk under a mapped file."
        return at_step if step else "It crashed on a bus error: often a full disk under a mapped file.", "Free some space."
    if "Fatal Python error" in log or number == signal.SIGABRT:
        return f"It crashed inside native code at step {step}; the log has its last words." if step else "It crashed inside native code; the log has its last words.", ""
    if (code == 1 and os.name != "nt") or "The disk no longer answers" in log:
        at_step = f"It could no longer write to its folder at step {step}: the disk was gone, or nothing may be written to it."
        return at_step if step else "It could no longer write to its folder: the disk was gone, or nothing may be written to it.", "Bring it back."
    if oom_rose and number in (0, getattr(signal, "SIGKILL", 9)):
        what = f"The computer ran out of memory (RAM) at step {step}." if step else "The computer ran out of memory (RAM)."
        return what, "Close other programs, or duplicate the run with a smaller batch."
    return f"It ended without a word at step {step} (killed or power cut)." if step else "It ended without a word (killed or power cut).", ""


def how_it_ended(code: int) -> str:
    """'by signal 9 (SIGKILL)' or 'with code 3', from a process's return code."""
    return f"with code {code}" if code >= 0 else f"by signal {signal_named(-code)}"


def signal_named(number: int) -> str:
    """'9 (SIGKILL)', or its number alone where it has no name here."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


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
        return f"The disk is full ({shutil.disk_usage(path).free / 1e6:.0f} MB are free)." if path else "The disk is full."
    except OSError:
        return "The disk is full."


def _capped(text: str) -> str:
    return text if len(text) <= 500 else text[:499] + "…"
