"""One thing that was looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One row.  "note" is worth knowing; "broken" keeps something from working.

    mend: does what `doctor --fix` may do, loses no work, and says what it did; None where a person has to.  Raises OSError, ValueError.
    """

    name: str
    state: Literal["ok", "note", "broken"]
    text: str
    mend: Callable[[], str] | None = None


def some(names: list[str], most: int = 4) -> str:
    """"a, b, c and 7 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
