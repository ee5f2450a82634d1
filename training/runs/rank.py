"""One of several processes that train a run together; engine/launching.py starts it, never a person.

    python -m training.runs.rank HOME RUN_PATH ATTEMPT CONTROL_OFFSET LAUNCHER

The first one owns the run's folder and says how the run ends, as a worker alone would; the worker that launched them holds the lock.
LAUNCHER: the id of the process that launched this one.  On other computers RUN_PATH is "": the first one says which run it is.  Exit codes: 0 done or stopped, 1 failed, 4 another one is gone, 5 memory ran out, or the run goes on in another way.
"""

from __future__ import annotations

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
from .worker import AGAIN, DONE, HEARD, LOST

LOOK_S = 0.25
LINGER_S = 3.0  # for the first one to say the same of itself, before this one's end ends it


def main(argv: list[str]) -> int:
    """The exit code."""
    threading.Thread(target=_go_with, args=(int(argv[4]),), name="easel-parent", daemon=True).start()
    from ..engine.ranks import Ranks

    ranks = Ranks()
    run, attempt, offset = ranks.same((argv[1], int(argv[2]), int(argv[3])))
    ctx = (Context if ranks.first else Follower)(Run(Path(run)), Home(Path(argv[0])), attempt, offset)
    ctx.ranks = ranks
    _leave_signals_to_the_launcher()
    worker.mask_output(ctx)
    code = _lead(ctx) if ranks.first else _follow(ctx)
    leave_note(ctx, code)
    worker.leave_in_time(code)
    return code


def leave_note(ctx: Context, code: int) -> None:
    """The launcher finds that this one ended well; or, where the run may go on, how far the first one heard commands."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file and code == 0:
        Path(file).with_name(DONE).touch()
    elif file and code in (AGAIN, LOST) and ctx.ranks.first:
        write_atomic(Path(file).with_name(HEARD), str(ctx.cursor).encode())


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
    except Lost as lost:
        worker.leave_word(ctx, str(lost), "", traceback.format_exc())
        return LOST
    except BaseException as error:  # noqa: BLE001 as in worker.work: the user gets a sentence, through whoever launched this
        worker.leave_word(ctx, *death.of_exception(error), traceback.format_exc())
        if death.ran_out(error):
            return AGAIN
        time.sleep(LINGER_S)
        return 1
    return 0


def _leave_signals_to_the_launcher() -> None:
    """A cluster's manager signals every process of a job, and torch's launcher all others as soon as one fails: only a signal to who launched them means Stop."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _go_with(parent: int) -> None:
    """Ends this process when the one that launched it is gone: nobody else would."""
    import psutil

    direct = os.name != "nt"  # there a virtual environment's python.exe stands between the two
    try:
        launcher = psutil.Process(parent)
        while launcher.is_running() and (not direct or os.getppid() == parent):
            time.sleep(LOOK_S)
    except psutil.NoSuchProcess:
        pass
    os._exit(LOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
