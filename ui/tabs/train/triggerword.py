"""The line below the trigger word: whether it is free, how it is cut into tokens, and words that are free."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from pathlib import Path

from training.data import trigger
from training.data.trigger import Judged
from training.formats.basemodel import local_folder, single_file
from training.home import Home
from training.hub.download import snapshot_here

from ...language import tr, trc
from ...language.heard import heard
from .draft import Draft, Plan
from .missing import chosen

LOOKS = {"free": "ez-ok", "look": "ez-warn", "taken": "ez-bad"}
LEVELS = {"bad": "ez-bad", "warn": "ez-warn", "note": "ez-idle"}


def line(home: Home, form: Draft, made: Plan) -> str:
    """The line for what stands in the form; "" where no trigger word is asked for, or what was typed is no word."""
    if made.words or "trigger" in made.wrong:
        return ""
    base, ds = folder_of(made), chosen(home, made.dataset) if made.dataset else None
    captions = [p.captions for p in ds.pictures(check=False) if p.verdict in ("ok", "unchecked")] if ds else []
    word = form.trigger.strip()
    judged = trigger.judge(word, captions, base) if word else None
    asked = judged is None or judged.verdict != "free"
    return html(judged, trigger.offered(ds.title if ds else "", captions, base) if asked else [])


def folder_of(made: Plan) -> Path | None:
    """The folder of the chosen base model, where it is on this computer; nothing is asked of any network."""
    config = made.config or made.base
    if config is None or single_file(config.model.source):
        return None
    with suppress(ValueError, OSError):
        return local_folder(config.model.source) or snapshot_here(config.model.source, config.model.revision)
    return None


def _says(verdict: str) -> str:
    """What a word is found to be, in a word."""
    return {"free": trc("trigger word", "Free"), "look": tr("Look at it"), "taken": trc("trigger word", "Taken")}[verdict]


def _weighs(level: str) -> str:
    """How much a remark on a word counts, in a word."""
    return {"bad": trc("trigger word", "Taken"), "warn": trc("remark", "Look"), "note": trc("remark", "Note")}[level]


def html(judged: Judged | None, offers: list[str]) -> str:
    """judged: None where no word was typed.  offers: words that are free."""
    buttons = "".join(f'<button type="button" class="ez-btn ez-word-offer" data-act="word" data-id="{escape(word)}">{escape(word)}</button>' for word in offers)
    word = trc("trigger words", "Free:") if judged is None else trc("trigger words", "Free instead:")
    free = f'<div class="ez-word-offers"><span class="ez-muted ez-small">{escape(word)}</span>{buttons}</div>' if offers else ""
    if judged is None:
        return f'<div class="ez-word">{free}</div>' if free else ""
    rows = "".join(f'<li><span class="ez-chip {LEVELS[r.level]}">{escape(_weighs(r.level))}</span><span>{escape(heard(r.text))}</span></li>' for r in judged.remarks)
    cuts = "".join(f'<li><span class="ez-word-kind">{escape(t.encoder)}</span><span class="ez-word-pieces">{"".join(f"<code>{escape(p)}</code>" for p in t.pieces)}</span></li>' for t in judged.tokens)
    short = heard(judged.remarks[0].text) if judged.remarks else tr("No list here knows it as a word, a name or a style.")
    return (
        f'<details class="ez-word" data-key="trigger-word"><summary><span class="ez-chip {LOOKS[judged.verdict]}"><i></i>{escape(_says(judged.verdict))}</span><span class="ez-word-short">{escape(short)}</span></summary>'
        f'<ul>{rows}</ul>{f"<ul class=ez-word-cuts>{cuts}</ul>" if cuts else ""}<p class="ez-muted ez-small">{escape(heard(judged.unknown))}</p></details>{free}'
    )
