"""In which settings two runs differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .run import Run

LEFT_OUT = ("name", "kind")  # every run has its own name


def settings(run: Run) -> dict[str, Any]:
    """{dotted path: value} of a run's whole job, with the defaults where its file says nothing; as it stands there where this version cannot read it."""
    try:
        told = run.config().model_dump(mode="json")
    except (ValueError, OSError):
        told = run.job()
    return dict(_flat(told, ""))


def between(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """[(path, of the one, of the other)] where they are not the same, in the order of the one; None where there is no such setting."""
    paths = list(dict.fromkeys([*one, *other]))
    return [(path, one.get(path), other.get(path)) for path in paths if path not in LEFT_OUT and one.get(path) != other.get(path)]


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Groups opened; lists, and what a plugin or a place is told, are one value each."""
    if isinstance(value, dict) and (path.count(".") == 0 or not path):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}".lstrip(".")) if not (path and isinstance(inner, dict)) else [(f"{path}.{key}", inner)]
    else:
        yield path, value
