"""One of several processes that train a run together; engine/launching.py starts it, never a person.

    python -m training.runs.rank HOME RUN_PATH ATTEMPT CONTROL_OFFSET

The first one owns the run's folder and says how the run ends, as a worker alone would; the worker that launched them holds the lock.
On other computers RUN_PATH is "": the first one says which run it is.  Exit codes: 0 done or stopped, 1 failed, 4 another one is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from ..files import write_atomic
from ..home import Home
from . import death, worker
from .context import Context, Follower, Stopped
from .ranks import Lost
from .run import Run
from .worker import LOST

LOOK_S = 0.25
LINGER_S = 3.0  # for the first one to say the same of itself, before this one's end ends it


def main(argv: list[str]) -> int:
    """The exit code."""
    threading.Thread(target=_go_with, args=(os.getppid(),), name="easel-parent", daemon=True).start()
    from ..engine.ranks import Ranks

    ranks = Ranks()
    run, attempt, offset = ranks.same((argv[1], int(argv[2]), int(argv[3])))
    ctx = (Context if ranks.first else Follower)(Run(Path(run)), Home(Path(argv[0])), attempt, offset)
    ctx.ranks = ranks
    if ranks.first:
        worker.hear_signals(ctx)
    else:
        _leave_signals_to_the_first()
    worker.mask_output(ctx)
    code = _lead(ctx) if ranks.first else _follow(ctx)
    worker.leave_in_time(code)
    return code


def _lead(ctx: Context) -> int:
    code = worker.work(ctx)
    if code == LOST and ctx.stop_requested() and not ctx.training:
        ctx.emit("stopped", step=0)  # all heard it while they prepared, and another one left first
        return 0
    return code


def _follow(ctx: Context) -> int:
    try:
        worker.job_of(ctx)
    except Stopped:
        return 0
    except Lost:
        return LOST
    except BaseException as error:  # noqa: BLE001 as in worker.work: the user gets a sentence, through whoever launched this
        trace = traceback.format_exc()
        print(trace, file=sys.stderr)
        message, hint = death.of_exception(error)
        if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
            write_atomic(Path(file), json.dumps({"message": message, "hint": hint, "trace": trace, "timestamp": int(time.time())}).encode())
        time.sleep(LINGER_S)
        return 1
    return 0


def _leave_signals_to_the_first() -> None:
    """A cluster's manager signals every process of a job: what to stop after is one's to decide."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _go_with(parent: int) -> None:
    """Ends this process when the one that launched it is gone: nobody else would."""
    import psutil

    try:
        launcher = psutil.Process(parent)
        while os.getppid() == parent and launcher.is_running():
            time.sleep(LOOK_S)
    except psutil.NoSuchProcess:
        pass
    os._exit(LOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
