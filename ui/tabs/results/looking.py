"""How somebody looks at the runs: what they look for, what is put beside the chosen run, which pictures are shown.  A value, a browser's own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from .comparing import MOST

ACTS = ("find", "find-tag", "with", "without", "wall", "hidden")
MOST_CHARS = 500


@dataclass(frozen=True)
class View:
    """find: the line that runs are looked for with.  beside: ids of the runs that are compared with the chosen one.  starred, everything: as gallery.Wall has them."""

    find: str = ""
    beside: tuple[str, ...] = ()
    starred: bool = False
    everything: bool = False


USUAL = View()


def among(view: View, ids: Collection[str], chosen: str) -> View:
    """The view without the runs beside the chosen one that are gone, or are that one itself: they would take a place and not be seen."""
    return replace(view, beside=tuple(id for id in view.beside if id in ids and id != chosen))


def after(view: View, act: str, value: str) -> View:
    """The view after one press; any other act leaves it as it is."""
    if act == "find":
        return replace(view, find=value[:MOST_CHARS])
    if act == "find-tag":
        tag = value.replace('"', "")
        return replace(view, find=f'tag:"{tag}"' if " " in tag else f"tag:{tag}")
    if act == "with" and value:
        return replace(view, beside=tuple(dict.fromkeys([*view.beside, value]))[: MOST - 1])
    if act == "without":
        return replace(view, beside=tuple(id for id in view.beside if id != value))
    if act == "wall":
        return replace(view, starred=value == "starred")
    if act == "hidden":
        return replace(view, everything=value == "on")
    return view
