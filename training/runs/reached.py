"""The milder settings that a run came to where memory ran out (milder.py), as its events say.

A run's record may be a stranger's, and what was accepted of its job.yaml must hold: so nothing counts but what memory needs.
"""

from __future__ import annotations

from typing import Any

from .. import registry
from .run import Run

PATHS = frozenset({
    "data.batch_size", "optimizer.accumulation", "optimizer.type", "loss.gradient_checkpointing", "model.dtype", "model.vae_tiling", "model.quantise", "model.quantise_text",
    "model.offload", "engine.overlap", "keep.together",
})  # all that the rungs of plan/ladder.py change  # fmt: skip


def reached(run: Run) -> dict[str, Any]:
    """{dotted path: value} that attempts have in place of what job.yaml says; {} where memory never ran out.  Raises ValueError for a record of other settings."""
    record = run.last("milder")
    settings = record["settings"] if record else {}
    if strange := [path for path, value in settings.items() if not may_change(path, value)]:
        raise ValueError(f"events.jsonl says that the run goes on with another {', '.join(strange)[:200]}, which no training changes by itself; duplicate the run")
    return settings


def may_change(path: str, value: object) -> bool:
    """Whether a rung may have set that."""
    if path == "optimizer.type":
        smaller = {getattr(plugin.module, "SMALLER", ("",))[0] for plugin in registry.find("optimizers").values() if plugin.source == "built in"}
        return isinstance(value, str) and value in smaller - {""}
    return path in PATHS and isinstance(value, (str, int, float))
