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
from ...language import N_, spoken, tr
from ...server import client
from ...words import in_words

ACT = "queue-"  # begins what its buttons do
BIND = f"{client.BIND} easel.queue(element, trigger, watch);"
CLOSED = N_("Runs begin by themselves while Easel is open, with or without this page. When Easel is closed, what runs goes on, and what waits begins when it is opened again.")
LARGE = ("de",)  # languages in which a sentence behind a colon begins with a large letter


@dataclass(frozen=True)
class Row:
    """One run that waits.  why: what for, a sentence; vain: nothing will change that by itself; wait: what was said, besides its turn."""

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
        why = held(home, run, queue) or _turn(home, run, first=not rows)
        rows.append(Row(run.id, run.title, _kind(run), why, queueing.waits_in_vain(home, run), queueing.wait_of(run)))
    return Look(tuple(rows), queue.paused, tuple((run.id, run.title) for run in alive))


def held(home: Home, run: Run, queue: queueing.Queue | None = None) -> str:
    """What keeps a run from its turn, a sentence in the page's language; "" where it may begin as soon as the machine is free."""
    now, wait = time.time(), queueing.wait_of(run)
    if wait.at_t > now:
        return tr("It begins {moment}.", moment=views.moment(wait.at_t, now))
    return in_words(queueing.why_held(home, run, now, queue))


def _turn(home: Home, run: Run, first: bool) -> str:
    cards = machine(home.root).cards
    if len(cards) > 1 and (wanted := placing.cards_for(run, home)):
        card = labels(cards).get(wanted[0], "") if len(wanted) == 1 else ""
        return tr("It begins when {card} is free.", card=card) if card else tr("It begins when a card is free.")
    return tr("Next: it begins when the machine is free.") if first else tr("It begins when its turn has come.")


def _kind(run: Run) -> str:
    try:
        return tr(str(registry.get("jobs", run.kind, run.plugins).TITLE))
    except ValueError:
        return run.kind


def html(queue: Look, chosen: str = "") -> str:
    """The card; "" where nothing waits and nothing is paused.  chosen: the run that the page shows."""
    if not queue.rows and not queue.paused:
        return ""
    toggle = (
        f'<button type="button" class="ez-btn ez-primary" data-act="{ACT}go-on">{icon("play")}{escape(tr("Let it go on"))}</button>'
        if queue.paused
        else f'<button type="button" class="ez-btn" data-act="{ACT}pause">{icon("pause")}{escape(tr("Pause the queue"))}</button>'
    )
    count = f' <span class="ez-count">{len(queue.rows)}</span>' if queue.rows else ""
    stands, goes_on = escape(tr("The queue is paused.")), escape(tr("What runs goes on; no training begins until you let it."))
    paused = f'<div class="ez-note ez-warn" role="status"><p><b>{stands}</b> {goes_on}</p></div>' if queue.paused else ""
    rows = "".join(_row(row, n, len(queue.rows), queue.others, row.id == chosen) for n, row in enumerate(queue.rows, 1))
    listed = f'<ol class="ez-queue">{rows}</ol>' if rows else ""
    return (
        f'<section class="ez-card ez-queue-card"><div class="ez-spread"><h2 class="ez-subtitle">{escape(tr("Waiting"))}{count}</h2>{toggle}</div>{paused}{listed}'
        f'<p class="ez-muted ez-small" style="margin:0">{escape(tr(CLOSED))}</p></section>'
    )


def _row(row: Row, number: int, of: int, others: tuple[tuple[str, str], ...], chosen: bool) -> str:
    title, id = escape(row.title), escape(row.id)
    look = ' class="ez-error"' if row.vain else ' class="ez-muted ez-small"'
    why = row.why if spoken() in LARGE else row.why[:1].lower() + row.why[1:]
    step = lambda way, label, word, off: (
        f'<button type="button" class="ez-iconbtn" data-act="{ACT}{way}" data-id="{id}" aria-label="{escape(label)}" title="{escape(word)}"{" disabled" * off}>{icon(way)}</button>'
    )
    up = step("up", tr("Move {title} up", title=row.title), tr("Up"), number == 1)
    down = step("down", tr("Move {title} down", title=row.title), tr("Down"), number == of)
    drag, out, taken = escape(tr("Drag to another place")), escape(tr("Take {title} out of the queue", title=row.title)), escape(tr("Take it out"))
    return (
        f'<li class="ez-queued{" is-chosen" if chosen else ""}" data-id="{id}" draggable="true"><span class="ez-queue-grip" title="{drag}">{icon("grip")}</span>'
        f'<b class="ez-queue-n ez-num">{number}</b><div class="ez-queue-text"><button type="button" class="ez-link" data-act="choose" data-run="{id}">{title}</button>'
        f'<span{look}>{escape(row.kind)}: {escape(why)}</span></div>'
        f'<div class="ez-queue-acts">{up}{down}{_when(row, others)}'
        f'<button type="button" class="ez-iconbtn" data-act="{ACT}out" data-id="{id}" aria-label="{out}" title="{taken}">{icon("close")}</button></div></li>'
    )


def _when(row: Row, others: tuple[tuple[str, str], ...]) -> str:
    id = escape(row.id)
    first = "".join(f'<option value="{escape(o)}"{" selected" if o == row.wait.after else ""}>{escape(title)}</option>' for o, title in others if o != row.id)
    after = (
        f'<p><label for="ez-after-{id}">{escape(tr("After this run is finished"))}</label><select class="ez-input" id="ez-after-{id}">{first}</select></p>'
        f'<button type="button" class="ez-btn" data-act="{ACT}after" data-id="{id}" data-with="[id=\'ez-after-{id}\']">{escape(tr("Begin after it"))}</button>'
        if first
        else ""
    )
    free = f'<button type="button" class="ez-btn" data-act="{ACT}free" data-id="{id}">{escape(tr("As soon as it can"))}</button>' if row.wait else ""
    label = tr("When {title} begins", title=row.title)
    return (
        f'<details class="ez-menu" data-key="when-{id}"><summary class="ez-iconbtn" aria-label="{escape(label)}" title="{escape(tr("When it begins"))}">{icon("clock")}</summary>'
        f'<div class="ez-pop">{at_field(f"ez-at-{row.id}")}'
        f'<button type="button" class="ez-btn" data-act="{ACT}at" data-id="{id}" data-with="[id=\'ez-at-{id}\']">{escape(tr("Begin then"))}</button>{after}{free}</div></details>'
    )


def at_field(id: str) -> str:
    """A time to begin at, in the browser's own clock; the input `id` holds it as UTC seconds."""
    label = escape(tr("Not before"))
    return (
        f'<p><label for="{escape(id)}-local">{label}</label><input type="datetime-local" class="ez-input" id="{escape(id)}-local" data-at="{escape(id)}">'
        f'<input type="hidden" id="{escape(id)}" value="" aria-label="{label}"></p>'
    )


def do(home: Home, what: str, data: dict[str, Any]) -> str:
    """One of its buttons; what to tell the person.  Raises ValueError, OSError."""
    if what in ("pause", "go-on"):
        queueing.pause(home, what == "pause")
        return tr("The queue is paused. What runs goes on.") if what == "pause" else tr("The queue goes on.")
    id, value = str(data.get("id", "")), str(data.get("value", ""))
    ids = [run.id for run in queueing.waiting(home)]
    if id not in ids:
        raise ValueError(tr("that run does not wait any more; look again"))
    run = Run.open(home.outputs, id)
    if what in ("up", "down", "move"):
        place = ids.index(id) + {"up": 0, "down": 2}.get(what, 0) if what != "move" else int(value) if value.isdecimal() else 1
        ids = queueing.move(home, id, place)
        return tr("'{title}' is number {place} of {of}.", title=run.title, place=ids.index(id) + 1, of=len(ids))
    if what == "out":
        run.command("stop")
        if run.kind == "lr_find":
            return tr("'{title}' is out of the queue. The Train page can begin another.", title=run.title)
        return tr("'{title}' is out of the queue. Resume puts it to work after all.", title=run.title)
    wait = {"at": lambda: queueing.checked(home, run, seconds(value)), "after": lambda: queueing.checked(home, run, after=value), "free": queueing.Wait}.get(what)
    if wait is None:
        raise ValueError(tr("there is no action {name}", name=repr(what)))
    queueing.hold(run, wait())
    return held(home, run) or tr("‘{title}’ waits for nothing but its turn.", title=run.title)


def seconds(text: str) -> float:
    """What an at_field() holds.  Raises ValueError with a sentence where no time was chosen."""
    if not text.isdecimal() or len(text) > 11:
        raise ValueError(tr("choose a day and a time first"))
    if float(text) < time.time() - 60:
        raise ValueError(tr("that time is past; choose a later one"))
    return float(text)
