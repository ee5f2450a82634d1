"""What dead processes left in outputs/ and in the download cache: half checkpoints, half runs, locks and processes that nobody needs.

Mended is only what no one can use: something that was written beside its place and never became what it was to be.  A checkpoint that was
set aside as damaged, and a download that would go on where it broke off, are told and stay.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .. import outside
from ..away import state
from ..home import Home
from ..outside import size
from ..runs.death import boot_id
from ..runs.lock import RunLock, is_held
from ..runs.run import Run, broken_runs, list_runs
from ..runs.unpacking import MODELS
from .check import Check, some

OLD_S = 3600.0  # what is younger may belong to a process at work
TOLD_BYTES = 20e9  # a cache above this is worth a look


def look(home: Home) -> Iterator[Check]:
    """The rows of outputs/."""
    runs = list_runs(home.outputs)
    yield from _half(home, runs)
    yield from _damaged(runs)
    yield from _unended(runs)
    yield from _orphans(home, runs)
    yield from _broken(home)
    yield from _caches(home)


def _half(home: Home, runs: list[Run]) -> Iterator[Check]:
    """Folders and files that were never finished, of runs that nobody works at."""
    found: list[tuple[Path, Run | None]] = [(path, None) for pattern in (".new-*", ".trash-*", ".tmp-*") for path in home.outputs.glob(pattern) if _old(path)]
    imports = (*home.outputs.glob(".brought-*"), *(home.root / MODELS).glob(".new-*"))  # a run or its base model on its way into this home
    found += [(path, None) for path in imports if time.time() - _newest_t(path) > OLD_S]
    found += [(path, None) for path in home.datasets.glob(".trash-*") if _old(path)]  # a deleted dataset, of which something could not be removed then
    for run in runs:
        if run.locked():
            continue
        for folder, patterns in ((run.path / "checkpoints", (".tmp-*", ".trash-*")), (run.path, (".tmp-*",)), (run.path / "samples", (".tmp-*",))):
            if outside.is_folder(folder):
                found += [(path, run) for pattern in patterns for path in folder.glob(pattern) if _old(path) or folder.name == "checkpoints"]
    cache = [path for pattern in ("*/.tmp-*", ".tmp-*", "unpacked/.tmp-*", "unpacked/.bad-*", "damaged/*") for path in home.cache.glob(pattern) if _old(path)]
    names = {run.path.name for run in runs} | {name for name, _ in broken_runs(home.outputs)}
    tracked = [path for path in (home.outputs / ".tracked").glob("*") if path.name not in names and outside.is_folder(path) and not any(map(_held, path.glob("*.lock")))]
    found += [(path, None) for path in (*cache, *tracked)]
    if found:
        text = f"{_size_of(p for p, _ in found)} in {len(found)} places that processes which died did not finish: {some([_told(home, p) for p, _ in found])}; doctor --fix removes them, no run needs them"
        yield Check("half written", "note", text, lambda: _remove(found))


def _damaged(runs: list[Run]) -> Iterator[Check]:
    """Checkpoints that were set aside: told, never removed, as somebody may want to save something out of them."""
    for run in runs:
        folder = run.path / "checkpoints"
        bad = sorted(folder.glob(".bad-*")) if outside.is_folder(folder) else []
        if bad:
            yield Check("damaged", "note", f"{run.id}: {some([f'checkpoints/{p.name}' for p in bad])} did not hold what was written and was set aside ({_size_of(bad)}); remove it when the run is done, and have the disk checked")


def _unended(runs: list[Run]) -> Iterator[Check]:
    """Runs that were cut off, or whose lock is held by nothing that lives here."""
    import psutil

    away = {run.id for run in runs if run.kind == "train" and run.status() not in ("queued", "running") and state.remembered(run.path)}
    if away:
        yield Check("elsewhere", "note", f"{some(sorted(away))}: watched by nobody here; what was sent may go on there and cost: Resume finds it again")
    cut = [run.id for run in runs if run.kind == "train" and run.id not in away and run.status() == "interrupted"]
    if cut:
        yield Check("cut off", "note", f"{some(cut)} ended without a word; Resume in Results, or python -m training resume, goes on from the newest checkpoint")
    for run in runs:
        started = run.last("started") if run.locked() else None
        if started and started["boot_id"] == boot_id() and not psutil.pid_exists(int(started["pid"])):
            yield Check("lock", "broken", f"{run.id} is locked, but its process {started['pid']} is gone: another program or computer holds worker.lock. Close what has its folder open, or copy the folder and remove the old one")


def _orphans(home: Home, runs: list[Run]) -> Iterator[Check]:
    """Workers and trackers of this home whose run is no more: they hold memory, and whatever they write nobody reads."""
    import psutil

    for process in psutil.process_iter(["cmdline", "pid", "name"]):
        words = process.info["cmdline"] or []
        mine = [w for w in ("training.runs.worker", "training.runs.trackside") if w in words]
        if not mine or str(home.root.resolve()) not in words:
            continue
        folder = Path(words[words.index(mine[0]) + 1])
        if not folder.exists():
            yield Check("orphan", "note", f"process {process.info['pid']} works at {folder.name}, which is deleted; doctor --fix ends it", partial(_end, process))
    for process, run in _of_dead_workers(runs):
        yield Check("orphan", "note", f"process {process.pid} was started by {run.id}'s worker, which is gone; doctor --fix ends it", partial(_end, process))


def _of_dead_workers(runs: list[Run]) -> Iterator[tuple]:
    """(process, run) of what is left in the session of a worker that ended on this start of the computer.  Windows has no such sessions."""
    import psutil

    if os.name == "nt":
        return
    started = [(run.last("started"), run) for run in runs if not run.locked()]
    dead = {int(s["pid"]): run for s, run in started if s and s["boot_id"] == boot_id() and not psutil.pid_exists(int(s["pid"]))}
    for pid in psutil.pids() if dead else ():
        try:
            if (leader := os.getsid(pid)) in dead and leader != pid:
                yield psutil.Process(pid), dead[leader]
        except (OSError, psutil.NoSuchProcess):
            continue


def _broken(home: Home) -> Iterator[Check]:
    for name, why in broken_runs(home.outputs):
        yield Check(f"run {name}", "note", f"cannot be read: {why}; it is left as it is, the others work")


def _caches(home: Home) -> Iterator[Check]:
    """How much room is taken by what can be made or fetched again."""
    ours = _bytes_in([home.cache])
    large = ours > TOLD_BYTES
    yield Check("prepared", "note" if large else "ok", f"{size(ours)} of prepared pictures and unpacked bases in outputs/.cache" + ("; it may be deleted while nothing runs, and is made again" if large else ""))
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return
    hub = Path(HF_HUB_CACHE)
    half = [p for p in hub.glob("*/blobs/*.incomplete") if _old(p)] if hub.is_dir() else []
    taken = _bytes_in([hub]) if hub.is_dir() else 0
    told = "; 'hf cache' lists and prunes it" if taken > TOLD_BYTES else ""
    yield Check("downloads", "note" if taken > TOLD_BYTES else "ok", f"{size(taken)} of downloads in {hub}{told}")
    if half:
        names = sorted({p.parent.parent.name.removeprefix("models--").removeprefix("datasets--").replace("--", "/") for p in half})
        yield Check("half downloads", "note", f"{_size_of(half)} of {some(names)} arrived and then broke off; they go on when they are wanted again, or are removed by hand: {half[0].parent}")


# what --fix does


def _remove(found: list[tuple[Path, Run | None]]) -> str:
    """Removes what is still there, of a run only with its lock held."""
    gone, freed = 0, 0
    for path, run in found:
        lock = RunLock(run.lock_path) if run else None
        if lock and not lock.acquire(wait_s=0):
            continue  # it has been resumed meanwhile
        try:
            if not os.path.lexists(path):
                continue
            freed += _bytes_in([path])
            if outside.is_folder(path):
                shutil.rmtree(path)
            else:
                path.unlink()
            gone += 1
        finally:
            if lock:
                lock.release()
    return f"{gone} half-written things removed, {size(freed)} freed"


def _end(process) -> str:
    """Raises OSError where it is somebody else's."""
    import psutil

    try:
        try:
            process.terminate()
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()
    except psutil.NoSuchProcess:
        return f"process {process.pid} had ended by itself"
    except psutil.AccessDenied:
        raise PermissionError(f"process {process.pid} may not be ended by you; end it as who started it") from None
    return f"process {process.pid} ended"


def _old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > OLD_S
    except OSError:
        return False


def _newest_t(path: Path) -> float:
    """When something in it was written last; 0 where it is gone."""
    newest, waiting = 0.0, [path]
    while waiting:
        at = waiting.pop()
        try:
            newest = max(newest, at.lstat().st_mtime)
            waiting += list(at.iterdir()) if outside.is_folder(at) else []
        except OSError:
            continue
    return newest


def _held(lock: Path) -> bool:
    return is_held(lock)


def _told(home: Home, path: Path) -> str:
    return path.relative_to(home.root).as_posix()


def _size_of(paths) -> str:
    return size(_bytes_in(paths))


def _bytes_in(paths) -> int:
    total, waiting = 0, list(paths)
    while waiting:
        at = waiting.pop()
        try:
            found = at.lstat()
            if outside.is_folder(at):
                waiting += list(at.iterdir())
            elif outside.is_plain(at):
                total += found.st_size
        except OSError:
            continue
    return total
