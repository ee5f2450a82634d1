"""Looking for runs as one types: a line of words, and lists that write preset, model, date and tag into it.  Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from training.runs import searching
from training.runs.searching import Facts

from ...words import in_words

FEWEST = 4  # runs from which on there is something to look for
LATEST = ((0, "Today"), (7, "Last 7 days"), (30, "Last 30 days"), (365, "Last year"))
STATUSES = (("running", "Running"), ("queued", "Waiting"), ("finished", "Finished"), ("stopped", "Stopped"), ("failed", "Failed"), ("interrupted", "Interrupted"))


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
        "family": ("Base model", _once((f.family, f.base) for f in facts if f.family)),
        "preset": ("Preset", _once((f.preset, f.preset) for f in facts if f.preset)),
        "status": ("Status", [Choice(*row) for row in STATUSES]),
        "after": ("Date", [Choice(time.strftime("%Y-%m-%d", time.localtime(now - 86_400 * days)), title) for days, title in LATEST]),
        "tag": ("Tag", _once((tag, f"#{tag}") for f in facts for tag in f.tags)),
    }
    chosen = dict(searching.parse(text).must) | {"after": next((word.removeprefix("after:") for word in text.split() if word.startswith("after:")), "")}
    selects = "".join(_list(term, title, choices, chosen.get(term, "")) for term, (title, choices) in lists.items() if choices)
    problem = searching.problem(text)
    said = in_words(problem) if problem else f"{found:,} of {len(facts):,} runs" if text.strip() else ""
    return (
        f'<div class="ez-find-runs" role="search"><input type="search" class="ez-input" id="ez-find-runs" data-types="find" data-fresh="{escape(text)}" maxlength="500" autocomplete="off" spellcheck="false" '
        f'placeholder="Find runs: name, dataset, trigger word, note, #tag" aria-label="Find runs by name, dataset, trigger word, note or tag" aria-describedby="ez-find-said"><div class="ez-find-lists">{selects}</div>'
        f'<span class="ez-small {"ez-error" if problem else "ez-muted"}" id="ez-find-said" role="status">{escape(said)}</span></div>'
    )


def _once(pairs) -> list[Choice]:
    found = {value: title for value, title in pairs}
    return [Choice(value, title) for value, title in sorted(found.items(), key=lambda item: item[1].casefold())[:200]]


def _list(term: str, title: str, choices: Sequence[Choice], chosen: str) -> str:
    options = "".join(f'<option value="{escape(c.value)}"{" selected" if c.value.casefold() == chosen.casefold() else ""}>{escape(c.title)}</option>' for c in choices)
    current = next((c.value for c in choices if c.value.casefold() == chosen.casefold()), "")
    return f'<select class="ez-input ez-find-list" data-term="{term}" data-fresh="{escape(current)}" aria-label="{title}"><option value="">{title}: any</option>{options}</select>'
