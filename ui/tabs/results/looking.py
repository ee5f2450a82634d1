"""How somebody looks at the runs: what they look for, what is put beside the chosen run, which pictures are shown.  A value in `seen`, a browser's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .comparing import MOST

ACTS = ("find", "find-tag", "with", "without", "wall", "hidden")
MOST_CHARS = 500


def after(seen: dict[str, Any], act: str, value: str) -> dict[str, Any]:
    """`seen` after one press."""
    beside: Sequence[str] = seen.get("with", ())
    if act == "find":
        return {**seen, "find": value[:MOST_CHARS]}
    if act == "find-tag":
        tag = value.replace('"', "")
        return {**seen, "find": f'tag:"{tag}"' if " " in tag else f"tag:{tag}"}
    if act == "with":
        return {**seen, "with": tuple(dict.fromkeys([*beside, *([value] if value else [])]))[: MOST - 1]}
    if act == "without":
        return {**seen, "with": tuple(id for id in beside if id != value)}
    if act == "wall":
        return {**seen, "starred": value == "starred"}
    return {**seen, "everything": value == "on"}
