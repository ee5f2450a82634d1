"""What a run that is trained elsewhere remembers of the job there: away.json, in its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import outside
from ..files import write_atomic

FILE = "away.json"
MAX_FILE_BYTES = 1_000_000
ENDED = "ended"


@dataclass
class State:
    """handle: the place's own notes.  offset: in its events.jsonl.  phase: new, sent, started, over, ended: nothing runs or lies there any more."""

    kind: str
    handle: dict[str, Any]
    phase: str = "new"
    offset: int = 0
    stopping: bool = False
    asked: list[int] = field(default_factory=list)  # steps whose checkpoints Save asked for
    saves: int = 0  # Save was passed on so often, and the checkpoint has not come yet


def remembered(folder: Path) -> State | None:
    """What a run's folder says; None where nothing is running or stored elsewhere, as far as it knows."""
    try:
        state = State(**outside.read_json(folder / FILE, MAX_FILE_BYTES))
    except (OSError, ValueError, TypeError):
        return None
    return state if isinstance(state.handle, dict) and state.phase != ENDED else None


def keep(folder: Path, state: State) -> None:
    """It is on the disk when this returns."""
    write_atomic(folder / FILE, json.dumps(asdict(state), indent=1).encode())
