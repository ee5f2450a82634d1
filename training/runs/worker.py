"""One process that holds a run's lock, does its job, writes events and exits.

    python -m training.runs.worker RUN_PATH HOME CONTROL_OFFSET

Its first act, before anything heavy is imported, is lock + `started`, so that a broken torch is a `failed` event.
Exit codes: 0 finished or stopped, 1 failed, 3 the run is somebody else's.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.metadata
import io
import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from ..files import write_atomic
from ..home import Home
from ..sentences import sentences
from . import death
from .context import Context, Ended, NotANumber, Stopped
from .lock import RunLock
from .ranks import Lost
from .run import Run

REFUSED = 3  # exit code when somebody else holds the run
AGAIN = 5  # what work() says where the run goes on by itself with a fresh process; also the exit code of one of several whose memory ran out
LOST = 4  # exit code of one of several processes that train together, when another one is gone
DESCRIPTORS = "/dev/fd"  # one entry for each open file of this process
DONE = "done"  # the file that one of them leaves beside that of its errors when it ended well
HEARD = "heard"  # the file in which the first of them leaves how far it heard commands, where the run goes on
EXIT_GRACE_S = 20.0
TOLD_VERSIONS = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")


def main(argv: list[str]) -> int:
    """The exit code, after all is on record."""
    run, home, control_offset = Run(Path(argv[0])), Home(Path(argv[1])), int(argv[2])
    lock = RunLock(run.lock_path)
    if not lock.acquire(wait_s=2.0):
        return REFUSED
    ctx = begin(run, home, control_offset)
    while (code := work(ctx)) == AGAIN:
        ctx = once_more(ctx, lock)
    leave_in_time(code)
    return code


def begin(run: Run, home: Home, control_offset: int) -> Context:
    """An attempt, of which the first words are on record."""
    started = run.last("started")
    attempt = int(started["attempt"]) + 1 if started else 1
    ctx = Context(run, home, attempt, control_offset)
    hear_signals(ctx)
    mask_output(ctx)
    ctx.after_kill = run.killed_for_memory()
    print(death.ATTEMPT_LINE.format(attempt=attempt, time=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()), pid=os.getpid()))
    ctx.emit(
        "started", pid=os.getpid(), attempt=attempt, boot_id=death.boot_id(), oom_kills=death.oom_kills(), versions=_versions(), device=_device(run)
    )  # fmt: skip
    return ctx


def once_more(ctx: Context, lock: RunLock) -> Context:
    """The next attempt, by a fresh process in the place of this one, which never returns from here: nothing that a library holds on to is left.

    It has the same id and holds the same lock.  Where the system cannot put it there (Windows), this process goes on.
    """
    if token := ctx.secrets.get("hf_token"):
        os.environ["HF_TOKEN"] = token.reveal()
    sys.stdout.flush()
    sys.stderr.flush()
    if hasattr(os, "execve") and os.name != "nt" and Path(DESCRIPTORS).is_dir():
        for name in os.listdir(DESCRIPTORS):
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), int(name) <= 2)
        lock.lend()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:-1], str(ctx.cursor)])
    return begin(ctx.run, ctx.home, ctx.cursor)


def job_of(ctx: Context) -> str:
    """The kind of the run's job, which was done.  Raises what the job raises."""
    from .. import registry

    config = ctx.run.config()
    job = registry.get("jobs", config.kind, ctx.home.plugins)
    if getattr(job, "NEEDS_TOKEN", False):
        ctx.secrets = _secrets()
    job.run(config, ctx)
    return config.kind


def work(ctx: Context) -> int:
    """0 or 1, and the job's ending is on record; LOST where one of several processes that trained together is gone, which whoever launched them says."""
    try:
        if ctx.after_kill:
            from . import milder

            milder.step_down(ctx, "ram")
        kind = job_of(ctx)
        if ctx.last_emitted != "finished":
            raise RuntimeError(f"the {kind} job returned without a result")
    except Stopped as stopped:
        ctx.emit("stopped", step=stopped.step)
    except Ended as ended:
        return ended.code
    except Lost as lost:
        leave_word(ctx, str(lost), "", traceback.format_exc())
        return LOST
    except BaseException as error:  # noqa: BLE001 the one catch-all: whatever it is, the user gets a sentence
        trace = traceback.format_exc()
        print(trace, file=sys.stderr)
        if goes_on(ctx, error):
            return AGAIN
        sentence, hint = death.of_exception(error)
        if death.ran_out(error):
            from . import milder

            hint = milder.nothing_left(ctx.run) or hint
        steps = [step for step, _ in ctx.run.checkpoints()]
        saved = f"Everything up to step {steps[-1]} is saved." if steps else ""
        ctx.emit("failed", error=sentence, hint=sentences(saved, hint), trace=trace)
        return 1
    return 0


def goes_on(ctx: Context, error: BaseException) -> bool:
    """Whether the run goes on by itself from its last checkpoint in another way, which then is on record."""
    out_of = death.ran_out(error)
    if not (out_of or isinstance(error, NotANumber)) or ctx.stop_requested():
        return False
    from . import milder

    return milder.try_again(ctx, error) if isinstance(error, NotANumber) else milder.step_down(ctx, out_of)


def leave_word(ctx: Context, message: str, hint: str, trace: str) -> None:
    """What went wrong is in the log, and in the file that the launcher of several processes reads."""
    from ..hub.secrets import mask

    print(trace, file=sys.stderr)
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        told = {name: mask(text, *ctx.secrets.values()) for name, text in (("message", " ".join(message.split())), ("hint", hint), ("trace", trace))}
        write_atomic(Path(file), json.dumps(told | {"timestamp": int(time.time())}).encode())


def hear_signals(ctx: Context) -> None:
    """SIGINT and SIGTERM (a shutdown, a Ctrl-C in a debugger) mean Stop; a closed terminal means nothing."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: ctx.request_stop())
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def mask_output(ctx: Context) -> None:
    """What Python code prints reaches log.txt without tokens; a native crash writes straight to the file."""
    faulthandler.enable(file=sys.__stderr__)  # type: ignore[arg-type]
    sys.stdout, sys.stderr = _Masked(sys.__stdout__, ctx), _Masked(sys.__stderr__, ctx)


class _Masked(io.TextIOBase):
    """A text stream onto another one.  A line that cannot be written, as on a full disk, is not worth a training."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, inner, ctx: Context):
        self._inner, self._ctx = inner, ctx

    def write(self, text: str) -> int:
        from ..hub.secrets import mask

        try:
            self._inner.write(mask(text, *self._ctx.secrets.values()).encode("utf-8", "replace").decode())
            self._inner.flush()
        except OSError:
            return 0
        return len(text)

    def flush(self) -> None:
        try:
            self._inner.flush()
        except OSError:
            return

    def fileno(self) -> int:
        return self._inner.fileno()

    def isatty(self) -> bool:
        return False


def _versions() -> dict[str, str]:
    """Versions of what matters, read from package metadata: nothing is imported."""
    told = {"python": platform.python_version(), "system": platform.platform(aliased=True)}
    for name in TOLD_VERSIONS:
        try:
            told[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            told[name] = "missing"
    return told


def _device(run: Run) -> str:
    """The config's device, as text; "" where the job has none or cannot be read, which the job's own start will say."""
    try:
        return str(run.job().get("device", ""))
    except (OSError, ValueError, ImportError):
        return ""


def _secrets() -> dict:
    """{"hf_token": Secret}: handed over for this job, else of the user's own sign-in.  It leaves our environment here."""
    from ..hub.secrets import Secret

    token = os.environ.pop("HF_TOKEN", "")
    if not token:
        from huggingface_hub import get_token

        token = get_token() or ""
    return {"hf_token": Secret(token)} if token else {}


def leave_in_time(code: int) -> None:
    """A thread or child that a library left behind must not keep the machine: after a grace, the process ends regardless."""

    def leave():
        time.sleep(EXIT_GRACE_S)
        os._exit(code)

    threading.Thread(target=leave, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
