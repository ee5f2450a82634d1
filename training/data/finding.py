"""One thing that the health check has to say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing.  level: bad, warn, note.  todo: what helps.  act: (name, label) of a press that does it, where there is one."""

    key: str
    level: str
    title: str
    says: str
    todo: str
    ids: tuple[str, ...]
    act: tuple[str, str] | tuple[()] = ()


def some(words, most: int = 4) -> str:
    """“a”, “b” and 3 more."""
    words = list(words)
    shown = ", ".join(f"“{w}”" for w in words[:most])
    return shown + (f" and {len(words) - most} more" if len(words) > most else "")
