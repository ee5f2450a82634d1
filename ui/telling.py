"""When it is done: what this browser does then, and a word to a phone or a chat, which comes with the page and the app closed too."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from training.runs import supervisor, telling, tellside

from .icons import icon
from .language import N_, tr
from .server import client
from .theme import ASSETS
from .words import in_words

JS = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in ("telling.js", "queue.js"))
CSS = (ASSETS / "queue.css").read_text(encoding="utf-8")
WAYS = {"ntfy": N_("ntfy, to a phone"), "webhook": N_("a webhook, to a chat")}
EXAMPLES = {"ntfy": "https://ntfy.sh/a-word-that-nobody-guesses", "webhook": "https://…"}


def build(ctx) -> gr.HTML:
    """The section of the side panel; the box holds what is on the server."""
    gr.HTML(browser_html(ctx.url("/easel/now")), apply_default_css=False)
    return gr.HTML("", apply_default_css=False, js_on_load=client.BIND, elem_id="ez-telling")


def wire(box: gr.HTML, ctx) -> None:
    """Its buttons; nothing asks for it but opening the page and pressing them."""

    def act(event: gr.EventData):
        return pressed(ctx, dict(event._data or {}))

    ctx.at_load(lambda: html(ctx), [], [box])
    box.act(act, [], [box], show_progress="hidden", concurrency_limit=None, api_visibility="private")


def browser_html(url: str) -> str:
    """What the browser itself can do; assets/telling.js knows whether it is on.  url: what it asks while nobody looks."""
    on = escape(tr("Turn on"))
    row = lambda what, word: f'<div class="ez-tell-row"><span class="ez-small">{escape(word)}</span><button type="button" class="ez-link ez-small" data-tell="{what}" aria-pressed="false">{on}</button></div>'
    rows = row("notify", tr("A notification")) + row("sound", tr("A sound"))
    return (
        f'<div class="ez-side"><section id="ez-tell" data-url="{escape(url)}"><h2>{escape(tr("When it is done"))}</h2><div class="ez-tell">{rows}'
        '<p class="ez-muted ez-small" role="status" data-tell-said hidden></p></div></section></div>'
    )


def html(ctx, said: str = "", look: str = "", kind: str = "ntfy", typed: str = "") -> str:
    """The part about messages.  said: what the last press came to.  typed: an address that did not do, for whoever typed it to mend."""
    address = telling.load(ctx.home)
    note = f'<p class="ez-small {look}" role="status">{escape(said)}</p>' if said else ""
    if address:
        trouble = tellside.last_trouble(ctx.home) if not said else ""
        note = note or (f'<p class="ez-small ez-error" role="status">{escape(in_words(trouble))}</p>' if trouble else "")
        acts = "".join(f'<button type="button" class="ez-link ez-small" data-act="{act}">{escape(word)}</button>' for act, word in (("test", tr("Send a test")), ("forget", tr("Remove"))))
        goes = tr("A message goes to {address}, also when this page and Easel are closed.", address=address.shown)
        inner = f'<p class="ez-small">{escape(goes)}</p><div class="ez-tell-row">{acts}</div>{note}'
        word = tr("Messages by {way}", way=telling.KINDS[address.kind])
    else:
        kinds = "".join(f'<option value="{id}"{" selected" if id == kind else ""}>{escape(tr(title))}</option>' for id, title in WAYS.items())
        about = tr("The run’s name, how it ended and one sentence go to this address, also when this page and Easel are closed. Whoever knows the address can write there; it is kept on this computer only.")
        inner = (
            f'<p class="ez-small ez-muted">{escape(about)}</p>'
            f'<label class="ez-small" for="ez-tell-kind">{escape(tr("By"))}</label><select class="ez-input" id="ez-tell-kind" data-path="kind" data-value="{kind}">{kinds}</select>'
            f'<label class="ez-small" for="ez-tell-url">{escape(tr("Address"))}</label><input type="text" class="ez-input" id="ez-tell-url" data-path="url" value="{escape(typed)}" data-value="{escape(typed)}" maxlength="{telling.MOST_CHARS}" autocomplete="off" spellcheck="false" placeholder="{EXAMPLES[kind]}">'
            f'<button type="button" class="ez-btn" data-act="save" data-collect data-kind="{kind}" data-url="{escape(typed)}">{icon("check")}{escape(tr("Keep it, and send a test"))}</button>{note}'
        )
        word = tr("A message to a phone or a chat")
    return f'<div class="ez-side"><details data-key="tell"{" open" if said else ""}><summary class="ez-link ez-small">{escape(word)}</summary><div class="ez-tell">{inner}</div></details></div>'


def pressed(ctx, data: dict[str, Any]) -> str:
    """The part about messages after a press."""
    act, fields = str(data.get("act", "")), dict(data.get("fields") or {})
    kind, url = (str(fields.get(name, data.get(name, usual))) for name, usual in (("kind", "ntfy"), ("url", "")))
    kind = kind if kind in telling.KINDS else "ntfy"
    try:
        if act == "save":
            address = telling.checked(kind, url)
            telling.send(address, telling.trial())
            telling.save(ctx.home, kind, address.url.reveal())
            tellside.launch_all(ctx.home, supervisor.worker_env("tell", ctx.home))
            return html(ctx, tr("A test is on its way there. What runs now is told of too."), "ez-ok")
        if act == "test" and (kept := telling.load(ctx.home)):
            telling.send(kept, telling.trial())
            return html(ctx, tr("A test is on its way there."), "ez-ok")
        if act == "forget":
            telling.forget(ctx.home)
            return html(ctx, tr("No more messages; the address is forgotten."))
    except (ValueError, OSError) as error:
        return html(ctx, in_words(str(error)), "ez-error", kind, url)
    return html(ctx)
