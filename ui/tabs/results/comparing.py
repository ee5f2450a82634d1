"""Two or more runs beside each other: curves in one plot, pictures by prompt and step, and the settings that differ.  Pure but for of()."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from training.config import DatasetUse
from training.runs import contactsheet, differing, notes, shown
from training.runs.events import RunView
from training.runs.notes import Notes
from training.runs.run import Run
from training.runs.shown import Row

from ... import forms
from ...language import tr, trc, trn, whole
from ...views import number
from .gallery import Source, cell, prompt_of
from .overlay import overlay

MOST = 5  # runs beside each other
MOST_STEPS, MOST_PROMPTS, MOST_OFFERED = 24, 24, 200
LONG = 160  # characters of a value that are shown
LETTERS = "ABCDEF"


@dataclass(frozen=True)
class Side:
    """One of the runs."""

    id: str
    title: str
    view: RunView
    rows: tuple[Row, ...]
    notes: Notes
    settings: dict[str, Any]
    src: Source


def of(run: Run, view: RunView, src: Source) -> Side:
    """What is compared of a run.  Raises ValueError, OSError."""
    return Side(run.id, run.title, view, tuple(shown.rows(view, shown.fixed_of(run.job()))), notes.of(run), differing.settings(run), src)


def html(sides: Sequence[Side], others: Sequence[tuple[str, str]]) -> str:
    """The card.  sides: the chosen run first.  others: (id, title) of the runs that can be put beside it."""
    if len(sides) < 2 and not others:
        return ""
    parts = [_head(sides, others)]
    if len(sides) > 1:
        parts += [overlay([(side.title, side.view) for side in sides]), pictures(sides), settings(sides)]
    return f'<section class="ez-card ez-compare">{"".join(parts)}</section>'


def _head(sides: Sequence[Side], others: Sequence[tuple[str, str]]) -> str:
    chips = "".join(
        f'<span class="ez-chip ez-over-chip"><i class="ez-over-dot-{k}"></i><span>{LETTERS[k]} · {escape(side.title)}</span>'
        + (f'<button type="button" class="ez-over-out" data-act="without" data-value="{escape(side.id)}" aria-label="{escape(tr("Leave out {title}", title=side.title))}">×</button>' if k else "")
        + "</span>"
        for k, side in enumerate(sides)
    )
    add = ""
    if others and len(sides) < MOST:
        options = "".join(f'<option value="{escape(id)}">{escape(title)}</option>' for id, title in others[:MOST_OFFERED])
        first = tr("Compare with …") if len(sides) < 2 else tr("And with …")
        label = escape(tr("Compare with another run"))
        add = f'<select class="ez-input ez-compare-pick" data-sends="with" data-fresh="" aria-label="{label}"><option value="">{escape(first)}</option>{options}</select>'
    what = tr("Puts another run beside this one: both curves, the pictures by prompt and step, and the settings that differ.")
    lead = "" if len(sides) > 1 else f'<p class="ez-muted ez-small">{escape(what)}</p>'
    return f'<div class="ez-spread"><h2 class="ez-subtitle">{escape(tr("Compare"))}</h2>{add}</div>{lead}' + (f'<div class="ez-row">{chips}</div>' if len(sides) > 1 else "")


def pictures(sides: Sequence[Side]) -> str:
    """The same prompts of the runs, one below the other, by step."""
    prompts = list(dict.fromkeys(row.said for side in sides for row in side.rows if row.key not in side.notes.hidden))
    both = [said for said in prompts if sum(any(row.said == said for row in side.rows) for side in sides) > 1]
    prompts = [*both, *(said for said in prompts if said not in both)]
    steps = contactsheet.thinned(sorted({shot.step for side in sides for row in side.rows for shot in row.shots}), MOST_STEPS)
    if not prompts:
        return f'<div class="ez-empty"><p>{escape(tr("None of these runs has samples yet."))}</p></div>'
    body, n = "", 0
    for said in prompts[:MOST_PROMPTS]:
        here = [(k, side, row) for k, side in enumerate(sides) for row in side.rows if row.said == said]
        for at, (k, side, row) in enumerate(here):
            body += _line(n, k, side, row, steps, len(here) if at == 0 else 0)
            n += 1
    head = "".join(f'<th scope="col">{escape(trc("before the first step", "Start")) if s == 0 else whole(s)}</th>' for s in steps)
    left = "" if both else f'<p class="ez-muted ez-small">{escape(tr("These runs have no prompt in common."))}</p>'
    if len(prompts) > MOST_PROMPTS:
        left += f'<p class="ez-muted ez-small">{escape(trn("{n} more prompt not shown.", "{n} more prompts not shown.", len(prompts) - MOST_PROMPTS))}</p>'
    label = escape(tr("Samples of the runs: a row a prompt and run, a column a step"))
    return (
        f'<h3 class="ez-compare-head">{escape(tr("Pictures"))}</h3><div class="ez-shots"><table class="ez-shots-table" aria-label="{label}">'
        f'<thead><tr><th scope="col" class="ez-corner">{escape(tr("Prompt"))}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>{left}'
    )


def _line(n: int, k: int, side: Side, row: Row, steps: Sequence[int], first: int) -> str:
    shots = {shot.step: shot for shot in row.shots}
    prompt = escape(prompt_of(row))
    of = f"{LETTERS[k]} · {side.title}: {prompt_of(row)}"
    cells = "".join(f"<td>{cell(n, i, of, shots[step], side.src, side.id, side.notes, '')}</td>" if step in shots else "<td></td>" for i, step in enumerate(steps))
    said = f'<span class="ez-prompt" title="{prompt}">{prompt}</span>' if first else f'<span class="ez-unseen">{prompt}</span>'
    return f'<tr{" class=is-first" if first else ""}><th scope="row">{said}<span class="ez-over-run"><i class="ez-over-dot-{k}"></i>{LETTERS[k]} · {escape(side.title)}</span></th>{cells}</tr>'


def settings(sides: Sequence[Side]) -> str:
    """What the runs were told differently."""
    paths = list(dict.fromkeys(path for side in sides[1:] for path, _, _ in differing.between(sides[0].settings, side.settings)))
    if not paths:
        return f'<h3 class="ez-compare-head">{escape(tr("Settings"))}</h3><p class="ez-muted">{escape(tr("All settings are the same."))}</p>'
    rows = "".join(
        f'<tr><th scope="row">{escape(tr(forms.label_of(path)))}</th>{"".join(_value(path, side.settings.get(path), path in side.settings) for side in sides)}</tr>' for path in paths
    )
    heads = "".join(f'<th scope="col"><i class="ez-over-dot-{k}"></i>{LETTERS[k]} · {escape(side.title)}</th>' for k, side in enumerate(sides))
    return (
        f'<h3 class="ez-compare-head">{escape(tr("Settings that differ"))} <span class="ez-count">{len(paths)}</span></h3>'
        f'<div class="ez-wide"><table class="ez-table ez-differ"><thead><tr><th scope="col">{escape(tr("Setting"))}</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _value(path: str, value: Any, there: bool) -> str:
    text = told(path, value) if there else "–"
    short = text if len(text) <= LONG else text[:LONG].rstrip() + "…"
    return f'<td{f" title={chr(34)}{escape(text[:2000])}{chr(34)}" if short != text else ""}>{escape(short)}</td>'


def told(path: str, value: Any) -> str:
    """A setting's value as a person reads it."""
    if value is None or value == "" or value == [] or value == {}:
        return trc("setting", "none")
    if isinstance(value, bool):
        return trc("setting", "on") if value else trc("setting", "off")
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return str(value) if path.endswith("seed") else whole(value)
    if isinstance(value, list):
        return "; ".join(_use(one) if isinstance(one, dict) else str(one) for one in value)
    return _use(value) if isinstance(value, dict) else str(value)


def _use(one: dict[str, Any]) -> str:
    """One of several, such as a dataset: its name, and what is not as usual."""
    usual = DatasetUse.model_fields
    rest = [f"{tr(forms.label(key))} {told(key, value)}" for key, value in one.items() if key != "name" and (key not in usual or value != usual[key].default) and value not in (None, "", [])]
    return ", ".join([str(one["name"])] * ("name" in one) + rest)

