"""Report a problem: a panel over the page that shows all of a report, with ticks for what may be in it, before it is saved."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from training.report import Report, Ticks, report
from training.runs.run import Run

from .icons import icon
from .language import N_, tr, trn
from .server import client, reports
from .theme import ASSETS
from .words import in_words

JS = (ASSETS / "report.js").read_text(encoding="utf-8")
CSS = (ASSETS / "travel.css").read_text(encoding="utf-8")
QUIET = {"show_progress": "hidden", "queue": False, "concurrency_limit": None, "api_visibility": "private"}
TICKS = {
    "names": N_("<b>Names and places</b> of the run, datasets, files, models and folders"),
    "words": N_("<b>Words</b> captions, prompts and trigger words"),
    "pictures": N_("<b>Sample pictures</b> then it is a ZIP"),
}
CLOSED = '<button type="button" hidden data-act="open" data-run=""></button>'  # assets/report.js presses it for whatever says data-report


def button() -> str:
    """What opens it, at the foot of the side panel."""
    return f'<div class="ez-side"><button type="button" class="ez-link ez-small" data-report="">{escape(tr("Report a problem"))}</button></div>'


def build() -> tuple[gr.State, gr.HTML]:
    """What is shown (run, ticks), and the panel."""
    return gr.State({}), gr.HTML(CLOSED, apply_default_css=False, js_on_load=client.BIND, elem_id="ez-report")


def wire(parts: tuple[gr.State, gr.HTML], ctx) -> None:
    """Opens, closes, and makes it anew at each tick."""
    state, box = parts

    def act(shown: dict, event: gr.EventData):
        return pressed(ctx, shown, dict(event._data or {}))

    def edit(shown: dict, event: gr.EventData):
        data = event._data or {}
        return pressed(ctx, shown, {"act": "tick", "field": str(data.get("field", "")), "value": str(data.get("value", ""))})

    box.act(act, [state], [state, box], **QUIET)
    box.edit(edit, [state], [state, box], **QUIET)


def pressed(ctx, shown: dict[str, Any], data: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """(what is shown, the panel) after something was pressed in it."""
    act = str(data.get("act", ""))
    if act == "open":
        shown = {"run": str(data.get("run", ""))}
    elif act == "tick" and data.get("field") in TICKS:
        shown = {**shown, str(data["field"]): data.get("value") == "on"}
    elif act != "again":
        return {}, CLOSED
    ticks = Ticks(*(bool(shown.get(name)) for name in TICKS))
    try:
        run = Run.open(ctx.home.outputs, shown["run"]) if shown.get("run") else None
        made = report(ctx.home, run, ticks)
    except (ValueError, OSError) as error:
        return shown, _panel(f'<p class="ez-error" role="alert">{escape(in_words(str(error)))}</p>', "")
    url = ctx.url(f"/easel/report/{reports.keep(made)}")
    return shown, html(made, ticks, url, run is not None)


def html(made: Report, ticks: Ticks, url: str, of_run: bool) -> str:
    """The panel.  of_run: it is about a run, so that there is something to tick."""
    rows = "".join(
        f'<label class="ez-letin"><input type="checkbox" data-path="{name}" data-value="{"on" if getattr(ticks, name) else "off"}"{" checked" if getattr(ticks, name) else ""}>'
        f"<span>{tr(says)}</span></label>"
        for name, says in TICKS.items()
    )
    let_in = f'<fieldset class="ez-ticks"><legend>{escape(tr("Let in"))}</legend>{rows}</fieldset>' if of_run else ""
    ending = "zip" if made.pictures else "txt"
    all_of_it = tr("This is all that would be saved. Names, words, places, pictures and tokens are hidden; read it before you pass it on. Nothing is sent anywhere.")
    along = " " + trn("{n} picture goes along.", "{n} pictures go along.", len(made.pictures)) if made.pictures else ""
    inner = (
        f'<p class="ez-muted ez-small">{escape(all_of_it + along)}</p>{let_in}'
        f'<pre class="ez-log ez-report-text" tabindex="0" role="region" aria-label="{escape(tr("The report"))}">{escape(made.text)}</pre>'
    )
    save = f'<a class="ez-btn ez-primary" href="{escape(url)}" download="easel-report.{ending}">{icon("download")}{escape(tr("Save as {kind}", kind=ending.upper()))}</a>'
    return _panel(inner, save)


def _panel(inner: str, save: str) -> str:
    close = escape(tr("Close"))
    return (
        f'{CLOSED}<dialog class="ez-report" aria-labelledby="ez-report-title"><div class="ez-spread"><h2 class="ez-subtitle" id="ez-report-title">{escape(tr("Report a problem"))}</h2>'
        f'<button type="button" class="ez-iconbtn" data-act="close" aria-label="{close}">{icon("close")}</button></div>{inner}<div class="ez-acts">{save}'
        f'<button type="button" class="ez-btn" data-act="close">{close}</button></div></dialog>'
    )
