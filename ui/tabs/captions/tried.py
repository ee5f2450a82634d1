"""A captioner tried on a few pictures: what it would write beside what is there, and what to do with it.  HTML, and what a press means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

from training.data.datasets import Dataset, Picture
from training.data.rewriting import compared
from training.runs.run import Run

from ...language import tr, trc, trn
from ...language.heard import heard
from .scope import Whom

COUNT = 3  # pictures of a trial
ACCEPTED = "accept"  # the act of taking one; of all: ACCEPTED with no id


def is_trial(run: Run) -> bool:
    """Whether a captioning run writes nothing."""
    return run.job().get("trial") is True


def proposals(items: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """{picture: what would be written}, of the items of a trial's view."""
    return {id: text for id, (status, text) in items.items() if status == "tried"}


def open_ones(run: Run, captions: Mapping[str, str], items: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """{picture: what would be written} of those that are accepted together.

    A caption that was typed since is not among them: where only bare pictures were asked for, and where the proposal adds to what was there.
    """
    mode = run.job().get("mode")
    seen = _seen(run) if mode == "append" else {}
    kept = lambda id, now: bool(now) if mode == "missing" else now != seen.get(id, now)
    return {id: text for id, text in proposals(items).items() if id in captions and captions[id] != text and not kept(id, captions[id])}


def _seen(run: Run) -> dict[str, str]:
    """{picture: the caption that the trial found there}, as far as it says so."""
    return {e["id"]: e["was"] for e in run.events()[0] if e.get("kind") == "item" and isinstance(e.get("id"), str) and isinstance(e.get("was"), str)}


def accept(ds: Dataset, run: Run, items: Mapping[str, tuple[str, str]], id: str) -> int:
    """Write what was proposed for one picture, or with id "" for all that are open, as one step for undo.  How many captions changed.  Raises ValueError."""
    captions = {p.id: p.caption for p in ds.pictures(check=False)}
    wanted = {picture: text for picture, text in proposals(items).items() if id in ("", picture) and picture in captions}
    if not wanted:
        raise ValueError(tr("There is nothing to accept: the pictures of this trial are gone; try again."))
    return ds.set_captions(wanted if id else open_ones(run, captions, items), str(run.job().get("captioner", "captioner")))


def go(whom: Whom, missing: bool) -> str:
    """The button that starts for good.  whom: whom a start would reach; missing: of those only the ones without a caption."""
    number = sum(not (missing and p.caption) for p in whom.pictures)
    if whom.how:
        word = trn("Start on {n} picture", "Start on {n} pictures", number)
    else:
        word = tr("Start on the rest ({n})", n=number) if missing else tr("Start on all ({n})", n=number)
    told = f'<span class="ez-muted ez-small">{escape(whom.said)}</span>' if whom.how else ""
    return f'<button type="button" class="ez-btn" data-act="go" data-reach="{whom.mark}">{escape(word)}</button>{told}'


def card(run: Run, pictures: Mapping[str, Picture], items: Mapping[str, tuple[str, str]], thumb: Callable[[Picture], str], start: str) -> str:
    """What a finished trial would write, a row each.  pictures: those of the dataset by name.  start: the button that starts for good."""
    rows = [_row(pictures[id], status, text, thumb) for id, (status, text) in items.items() if id in pictures and status in ("tried", "failed")]
    left = any(id in pictures and pictures[id].caption != text for id, text in proposals(items).items())
    open = open_ones(run, {id: p.caption for id, p in pictures.items()}, items)
    every = f'<button type="button" class="ez-btn" data-act="{ACCEPTED}" data-id="">{escape(trn("Accept it", "Accept all {n}", len(open)))}</button>' if open else ""
    said = tr("Nothing is written until you accept it.") if left else tr("Nothing is left to accept.")
    return (
        f'<div class="ez-card ez-tried" role="status" aria-label="{escape(tr("Trial"))}"><div class="ez-spread"><b>{escape(trn("Tried on {n} picture", "Tried on {n} pictures", len(rows)))}</b>'
        f'<span class="ez-muted ez-small">{escape(said)}</span></div><ul>{"".join(rows)}</ul><div class="ez-row">{every}{start}'
        f'<button type="button" class="ez-btn ez-quiet" data-act="close">{escape(tr("Close"))}</button></div></div>'
    )


def _row(picture: Picture, status: str, text: str, thumb: Callable[[Picture], str]) -> str:
    name = escape(picture.id, quote=True)
    shown = f'<img src="{escape(thumb(picture))}" alt="{name}" title="{name}" loading="lazy">'
    now = escape(picture.caption) or f'<span class="ez-muted">{escape(tr("No caption"))}</span>'
    label = lambda word: f'<span class="ez-label">{escape(word)}</span>'
    there = f"{label(trc('caption', 'Now'))}<p>{now}</p>"
    if status == "failed":
        return f'<li>{shown}<div>{there}</div><div>{label(trc("caption", "Tried"))}<p class="ez-error">{escape(heard(text))}</p></div><span></span></li>'
    if picture.caption == text:
        return f'<li>{shown}<div class="ez-tried-same">{there}</div><span class="ez-chip ez-ok">{escape(tr("As proposed"))}</span></li>'
    marked = "".join(f"<ins>{escape(p.text)}</ins>" if p.kind == "new" else escape(p.text) for p in compared(picture.caption, text) if p.kind != "out") if picture.caption else escape(text)
    return (
        f'<li>{shown}<div>{there}</div><div>{label(trc("caption", "Proposed"))}<p>{marked}</p></div>'
        f'<button type="button" class="ez-btn" data-act="{ACCEPTED}" data-id="{name}" aria-label="{escape(tr("Accept what is proposed for {picture}", picture=picture.id))}">{escape(tr("Accept"))}</button></li>'
    )
