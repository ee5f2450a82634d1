"""What takes room on the disk of a home, and what of it can be had back without losing anything."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from ..home import Home
from . import supervisor
from .run import list_runs

MOST = 8  # runs that are named


@dataclass(frozen=True)
class Room:
    """runs: (id, title, bytes) of the largest trainings, the largest first: those that Results shows.  cache_bytes: latents, texts and unpacked base models, made again when they are wanted."""

    free_bytes: int
    cache_bytes: int
    runs: tuple[tuple[str, str, int], ...]


def look(home: Home) -> Room:
    """What there is now."""
    sizes = sorted(((run.id, run.title, run.size_bytes()) for run in list_runs(home.outputs, {"train"})), key=lambda row: -row[2])
    return Room(shutil.disk_usage(home.outputs).free, _size(home), tuple(sizes[:MOST]))


def empty_cache(home: Home) -> int:
    """How many bytes are free again.  Raises ValueError while a run may be reading it, or is being started, OSError."""
    with supervisor.by_itself(home):
        if busy := next((run for run in list_runs(home.outputs) if run.locked() or supervisor.starting(run)), None):
            raise ValueError(f"'{busy.title}' is running and reads the cache; empty it when it has ended")
        size = _size(home)
        if home.cache.is_dir() and not home.cache.is_symlink():
            for entry in home.cache.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return size


def _size(home: Home) -> int:
    return sum(path.lstat().st_size for path in home.cache.rglob("*") if path.is_file() and not path.is_symlink()) if home.cache.is_dir() else 0
