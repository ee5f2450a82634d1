"""The queue on the Results page: what waits, in which order, for what; and what its buttons do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from training import registry
from training.home import Home
from training.plan.cards import labels
from training.plan.hardware import machine
from training.runs import placing, queueing, supervisor
from training.runs.run import Run

from ... import views
from ...icons import icon
from ...server import client
from ...words import in_words

ACT = "queue-"  # begins what its buttons do
BIND = f"{client.BIND} easel.queue(element, trigger, watch);"
CLOSED = "Runs begin by themselves while Easel is open, with or without this page. When Easel is closed, what runs goes on, and what waits begins when it is opened again."


@dataclass(frozen=True)
class Row:
    """One run that waits.  why: what for; vain: nothing will change that by itself; wait: what was said, besides its turn."""

    id: str
    title: str
    kind: str
    why: str
    vain: bool
    wait: queueing.Wait


@dataclass(frozen=True)
class Look:
    """The whole queue.  others: (id, title) of the runs that one may wait for."""

    rows: tuple[Row, ...]
    paused: bool
    others: tuple[tuple[str, str], ...] = ()


def look(home: Home, busy: Run | None, runs: Sequence[Run] | None = None) -> Look:
    """The queue as it is now.  busy: the run that has the machine.  runs: all, where they were just listed."""
    queue, rows, alive = queueing.read(home), [], [busy] if busy else []
    for run in queueing.waiting(home, runs):
        if supervisor.starting(run):
            continue
        alive.append(run)
        why = queueing.why_held(home, run, queue=queue) or _turn(home, run, first=not rows)
        rows.append(Row(run.id, run.title, _kind(run), why, queueing.waits_in_vain(home, run), queueing.wait_of(run)))
    return Look(tuple(rows), queue.paused, tuple((run.id, run.title) for run in alive))


def _turn(home: Home, run: Run, first: bool) -> str:
    cards = machine(home.root).cards
    if len(cards) > 1 and (wanted := placing.cards_for(run, home)):
        card = labels(cards).get(wanted[0], "a card") if len(wanted) == 1 else "a free card"
        return f"it begins when {card} is free"
    return "next: it begins when the machine is free" if first else "it begins when its turn has come"


def _kind(run: Run) -> str:
    try:
        return str(registry.get("jobs", run.kind, run.plugins).TITLE)
    except ValueError:
        return run.kind


def html(queue: Look, chosen: str = "") -> str:
    """The card; "" where nothing waits and nothing is paused.  chosen: the run that the page shows."""
    if not queue.rows and not queue.paused:
        return ""
    toggle = (
        f'<button type="button" class="ez-btn ez-primary" data-act="{ACT}go-on">{icon("play")}Let it go on</button>'
        if queue.paused
        else f'<button type="button" class="ez-btn" data-act="{ACT}pause">{icon("pause")}Pause the queue</button>'
    )
    count = f' <span class="ez-count">{len(queue.rows)}</span>' if queue.rows else ""
    paused = '<div class="ez-note ez-warn" role="status"><p><b>The queue is paused.</b> What runs goes on; no training begins until you let it.</p></div>' if queue.paused else ""
    rows = "".join(_row(row, n, len(queue.rows), queue.others, row.id == chosen) for n, row in enumerate(queue.rows, 1))
    listed = f'<ol class="ez-queue">{rows}</ol>' if rows else ""
    return (
        f'<section class="ez-card ez-queue-card"><div class="ez-spread"><h2 class="ez-subtitle">Waiting{count}</h2>{toggle}</div>{paused}{listed}'
        f'<p class="ez-muted ez-small" style="margin:0">{CLOSED}</p></section>'
    )


def _row(row: Row, number: int, of: int, others: tuple[tuple[str, str], ...], chosen: bool) -> str:
    title, id = escape(row.title), escape(row.id)
    look = ' class="ez-error"' if row.vain else ' class="ez-muted ez-small"'
    step = lambda way, word, off: (
        f'<button type="button" class="ez-iconbtn" data-act="{ACT}{way}" data-id="{id}" aria-label="Move {title} {word}" title="{word.capitalize()}"{" disabled" * off}>{icon(way)}</button>'
    )
    return (
        f'<li class="ez-queued{" is-chosen" if chosen else ""}" data-id="{id}" draggable="true"><span class="ez-queue-grip" title="Drag to another place">{icon("grip")}</span>'
        f'<b class="ez-queue-n ez-num">{number}</b><div class="ez-queue-text"><button type="button" class="ez-link" data-act="choose" data-run="{id}">{title}</button>'
        f'<span{look}>{escape(row.kind)}: {escape(in_words(row.why)[:1].lower() + in_words(row.why)[1:])}</span></div>'
        f'<div class="ez-queue-acts">{step("up", "up", number == 1)}{step("down", "down", number == of)}{_when(row, others)}'
        f'<button type="button" class="ez-iconbtn" data-act="{ACT}out" data-id="{id}" aria-label="Take {title} out of the queue" title="Take it out">{icon("close")}</button></div></li>'
    )


def _when(row: Row, others: tuple[tuple[str, str], ...]) -> str:
    id = escape(row.id)
    first = "".join(f'<option value="{escape(o)}"{" selected" if o == row.wait.after else ""}>{escape(title)}</option>' for o, title in others if o != row.id)
    after = (
        f'<p><label for="ez-after-{id}">After this run is finished</label><select class="ez-input" id="ez-after-{id}">{first}</select></p>'
        f'<button type="button" class="ez-btn" data-act="{ACT}after" data-id="{id}" data-with="[id=\'ez-after-{id}\']">Begin after it</button>'
        if first
        else ""
    )
    free = f'<button type="button" class="ez-btn" data-act="{ACT}free" data-id="{id}">As soon as it can</button>' if row.wait else ""
    return (
        f'<details class="ez-menu" data-key="when-{id}"><summary class="ez-iconbtn" aria-label="When {escape(row.title)} begins" title="When it begins">{icon("clock")}</summary>'
        f'<div class="ez-pop">{at_field(f"ez-at-{row.id}")}'
        f'<button type="button" class="ez-btn" data-act="{ACT}at" data-id="{id}" data-with="[id=\'ez-at-{id}\']">Begin then</button>{after}{free}</div></details>'
    )


def at_field(id: str) -> str:
    """A time to begin at, in the browser's own clock; the input `id` holds it as UTC seconds."""
    return (
        f'<p><label for="{escape(id)}-local">Not before</label><input type="datetime-local" class="ez-input" id="{escape(id)}-local" data-at="{escape(id)}">'
        f'<input type="hidden" id="{escape(id)}" value="" aria-label="Not before"></p>'
    )


def do(home: Home, what: str, data: dict[str, Any]) -> str:
    """One of its buttons; what to tell the person.  Raises ValueError, OSError."""
    if what in ("pause", "go-on"):
        queueing.pause(home, what == "pause")
        return "The queue is paused. What runs goes on." if what == "pause" else "The queue goes on."
    id, value = str(data.get("id", "")), str(data.get("value", ""))
    ids = [run.id for run in queueing.waiting(home)]
    if id not in ids:
        raise ValueError("that run does not wait any more; look again")
    run = Run.open(home.outputs, id)
    if what in ("up", "down", "move"):
        place = ids.index(id) + {"up": 0, "down": 2}.get(what, 0) if what != "move" else int(value) if value.isdecimal() else 1
        ids = queueing.move(home, id, place)
        return f"'{run.title}' is number {ids.index(id) + 1} of {len(ids)}."
    if what == "out":
        run.command("stop")
        again = "The Train page can begin another." if run.kind == "lr_find" else "Resume puts it to work after all."
        return f"'{run.title}' is out of the queue. {again}"
    wait = {"at": lambda: queueing.checked(home, run, seconds(value)), "after": lambda: queueing.checked(home, run, after=value), "free": queueing.Wait}.get(what)
    if wait is None:
        raise ValueError(f"there is no action {what!r}")
    queueing.hold(run, wait())
    return f"{views.sentence_start(queueing.why_held(home, run) or f'‘{run.title}’ waits for nothing but its turn')}."


def seconds(text: str) -> float:
    """What an at_field() holds.  Raises ValueError with a sentence where no time was chosen."""
    if not text.isdecimal() or len(text) > 11:
        raise ValueError("choose a day and a time first")
    if float(text) < time.time() - 60:
        raise ValueError("that time is past; choose a later one")
    return float(text)
