"""Start later: at a time, or after another run; below the button that starts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.home import Home
from training.runs import queueing
from training.runs.run import Run

from ...language import tr
from ..results import queue

AT, AFTER = "ez-later-at", "ez-later-after"


def others(home: Home, busy: Run | None) -> list[tuple[str, str]]:
    """(id, title) of the runs that one may wait for.  busy: the one that has the machine."""
    return [(run.id, run.title) for run in dict.fromkeys([*([busy] if busy else []), *queueing.waiting(home)])]


def html(runs: Sequence[tuple[str, str]], anyway: bool = False) -> str:
    """The fold below Start.  anyway: it does not fit, and the next click starts it all the same."""
    flag = " data-anyway" if anyway else ""
    options = "".join(f'<option value="{escape(id)}">{escape(title)}</option>' for id, title in runs)
    after = (
        f'<p><label for="{AFTER}">{escape(tr("After this run is finished"))}</label><select class="ez-input" id="{AFTER}">{options}</select></p>'
        f'<button type="button" class="ez-btn" data-act="start" data-later="after" data-with="#{AFTER}" data-collect{flag}>{escape(tr("Start after it"))}</button>'
        if options
        else ""
    )
    return (
        f'<details class="ez-later" data-key="later"><summary class="ez-link ez-small">{escape(tr("Start later …"))}</summary><div class="ez-later-body">{queue.at_field(AT)}'
        f'<button type="button" class="ez-btn" data-act="start" data-later="at" data-with="#{AT}" data-collect{flag}>{escape(tr("Start then"))}</button>{after}'
        f'<p class="ez-muted ez-small">{escape(tr("Easel has to be open then; this page need not be."))}</p></div></details>'
    )


def wait_of(home: Home, data: Mapping[str, Any]) -> queueing.Wait | None:
    """What a button of the fold says; None for the one that starts at once.  Raises ValueError with a sentence."""
    how, value = data.get("later"), str(data.get("value", ""))
    if how == "at":
        return queueing.checked(home, None, queue.seconds(value))
    return queueing.checked(home, None, after=value) if how == "after" else None
