"""Looking for runs as one types: a line of words, and lists that write preset, model, date and tag into it.  Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from training.runs import searching
from training.runs.searching import Facts

from ...language import N_, tr, trn
from ...words import in_words

FEWEST = 4  # runs from which on there is something to look for
LATEST = ((0, N_("Today")), (7, N_("Last 7 days")), (30, N_("Last 30 days")), (365, N_("Last year")))
STATUSES = (
    ("running", N_("Running")), ("queued", N_("Waiting")), ("finished", N_("Finished")), ("stopped", N_("Stopped")), ("failed", N_("Failed")), ("interrupted", N_("Interrupted")),
)  # fmt: skip
LISTS = {  # what a list is of, and what it says where nothing is chosen
    "family": (N_("Base model"), N_("Base model: any")), "preset": (N_("Preset"), N_("Preset: any")), "status": (N_("Status"), N_("Status: any")), "after": (N_("Date"), N_("Date: any")),
    "tag": (N_("Tag"), N_("Tag: any")),
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What one of the lists writes: term:value."""

    value: str
    title: str


def html(facts: Sequence[Facts], text: str, found: int, now: float) -> str:
    """The field with its lists; "" where there are too few runs to look for one, and nobody does."""
    if len(facts) < FEWEST and not text:
        return ""
    lists = {
        "family": _once((f.family, f.base) for f in facts if f.family),
        "preset": _once((f.preset, f.preset) for f in facts if f.preset),
        "status": [Choice(value, tr(title)) for value, title in STATUSES],
        "after": [Choice(time.strftime("%Y-%m-%d", time.localtime(now - 86_400 * days)), tr(title)) for days, title in LATEST],
        "tag": _once((tag, f"#{tag}") for f in facts for tag in f.tags),
    }
    chosen = dict(searching.parse(text).must) | {"after": next((word.removeprefix("after:") for word in text.split() if word.startswith("after:")), "")}
    selects = "".join(_list(term, choices, chosen.get(term, "")) for term, choices in lists.items() if choices)
    problem = searching.problem(text)
    said = in_words(problem) if problem else trn("{found} of {n} run", "{found} of {n} runs", len(facts), found=found) if text.strip() else ""
    hint, label = tr("Find runs: name, dataset, trigger word, note, #tag"), tr("Find runs by name, dataset, trigger word, note or tag")
    return (
        f'<div class="ez-find-runs" role="search"><input type="search" class="ez-input" id="ez-find-runs" data-types="find" data-fresh="{escape(text)}" maxlength="500" autocomplete="off" spellcheck="false" '
        f'placeholder="{escape(hint)}" aria-label="{escape(label)}" aria-describedby="ez-find-said"><div class="ez-find-lists">{selects}</div>'
        f'<span class="ez-small {"ez-error" if problem else "ez-muted"}" id="ez-find-said" role="status">{escape(said)}</span></div>'
    )


def _once(pairs) -> list[Choice]:
    found = {value: title for value, title in pairs}
    return [Choice(value, title) for value, title in sorted(found.items(), key=lambda item: item[1].casefold())[:200]]


def _list(term: str, choices: Sequence[Choice], chosen: str) -> str:
    options = "".join(f'<option value="{escape(c.value)}"{" selected" if c.value.casefold() == chosen.casefold() else ""}>{escape(c.title)}</option>' for c in choices)
    current = next((c.value for c in choices if c.value.casefold() == chosen.casefold()), "")
    title, all_of_them = LISTS[term]
    return f'<select class="ez-input ez-find-list" data-term="{term}" data-fresh="{escape(current)}" aria-label="{escape(tr(title))}"><option value="">{escape(tr(all_of_them))}</option>{options}</select>'
