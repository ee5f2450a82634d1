"""Pictures that were weighed down or set aside during a run: what its record says of it, and a config that does the same again."""

from __future__ import annotations

import itertools
import re

from ..config import TrainConfig
from . import journal
from .events import MOST_COUNT, MOST_WEIGHT, MOST_WEIGHTS
from .run import Run

_SHA256 = re.compile("[0-9a-f]{64}")


def told(run: Run) -> list[tuple[int, str, float]]:
    """[(steps done, sha256 of a picture, how much it counts from then on)], in the order in which that was asked for; what is none is left out."""
    rows = ((r.get("step"), r.get("sha256"), r.get("weight")) for r in journal.backwards(run.events_path, b'"weight"') if r.get("kind") == "weight")
    newest = itertools.islice((row for row in rows if _is_row(*row)), MOST_WEIGHTS)
    return [(step, sha256, float(weight)) for step, sha256, weight in reversed([*newest])]


def again(config: TrainConfig, run: Run) -> TrainConfig:
    """The config of a run with what was asked for during it, so that another one weighs the same pictures from the same steps on."""
    rows = [{"step": step, "picture": sha256, "weight": weight} for step, sha256, weight in told(run)]
    if not rows:
        return config
    values = config.model_dump(mode="json")
    values["data"]["weighed"] += rows
    return TrainConfig.model_validate(values)


def _is_row(step: object, sha256: object, weight: object) -> bool:
    whole = type(step) is int and 0 <= step <= MOST_COUNT
    return whole and isinstance(sha256, str) and bool(_SHA256.fullmatch(sha256)) and type(weight) in (int, float) and 0 <= weight <= MOST_WEIGHT  # type: ignore[operator]
