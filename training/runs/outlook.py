"""How a run is going, from its folder: what plan/going.py says of its view, with the facts of its settings and pictures beside it."""

from __future__ import annotations

from typing import Any

from .. import outside, registry
from ..config import TrainConfig
from ..formats.beside import is_beside
from ..plan import optimizing
from ..plan.going import Facts, Going, going
from .events import RunView
from .run import Run

RECORD = "pictures.json"
MAX_RECORD_BYTES = 64 << 20
_REMEMBERED = 200
_facts: dict[tuple[str, int, int], Facts] = {}  # by the record's path, time and size: it is written once an attempt


def of(run: Run, view: RunView) -> Going:
    """The answer for a run; an empty one for what is no training, or cannot be read."""
    if run.kind != "train" or not view.step:
        return Going()
    facts = facts_of(run)
    return going(view, facts) if facts else Going()


def facts_of(run: Run) -> Facts | None:
    """What an answer goes on besides the events; None where the run's record cannot be read."""
    path = run.path / RECORD
    try:
        stat = path.lstat()
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        if key not in _facts:
            if len(_facts) >= _REMEMBERED:
                _facts.clear()
            _facts[key] = _read(run.config(), outside.read_json(path, MAX_RECORD_BYTES), run)
        return _facts[key]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # mailed by somebody, or written by another Easel: nothing is said


def _read(config: TrainConfig, rows: list[dict[str, Any]], run: Run) -> Facts:
    optimizer = optimizing.of(config.optimizer, run.plugins)
    adapter = registry.get("adapters", config.adapter.type, run.plugins)
    learnt = [row for row in rows if not row["held_out"] and not row["prior"]]
    bare = [row for row in learnt if not any(str(caption).strip() for caption in row["captions"])]
    pictures = 0 if is_beside(adapter) else len(learnt)  # such a network is shown more than words
    return Facts(
        config.optimizer.learning_rate, config.steps, len(bare) / max(1, len(learnt)), pictures, config.optimizer.warmup_steps, bool(config.adapter.include or config.adapter.exclude),
        optimizing.one_rate(optimizer),
    )  # fmt: skip
