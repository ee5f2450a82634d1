"""Answers that come late.

A page may ask for several things before the first is answered, and on a busy computer the answers come in any order: the one to opening
the page after that to a search which was typed meanwhile.  Painted as it comes, it would bring back what was seen before, and a button would
again reach what it reached before.  So what is to be seen is one dict for each page (a gr.State, which Gradio gives to handlers as it is, not as a copy):
whoever is asked writes there first, what comes of it is painted from there, and only the newest painting of the whole is sent.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

TURN = "turn"
_numbers = itertools.count(1)


def begin(view: dict, change: Mapping | None = None) -> int:
    """Write `change` into the page's own view, and begin to paint the whole.  The number of this painting, for `newest`."""
    view.update(change or {})
    view[TURN] = next(_numbers)
    return view[TURN]


def now(view: Mapping) -> int:
    """The number of the painting that was begun last; for who paints a part, and must not paint over a whole that was begun since."""
    return view.get(TURN, 0)


def newest(view: Mapping, turn: int) -> bool:
    """Has nobody begun to paint the whole since?"""
    return view.get(TURN, 0) == turn
