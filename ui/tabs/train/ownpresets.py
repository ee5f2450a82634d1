"""Presets of one's own on the Train page: below ours, each with a picture and the run it was made of; renamed, passed on, deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from training.home import Home
from training.plan import own
from training.plan.hardware import Machine
from training.plan.presets import Preset, fits

from ...icons import icon
from ...language import tr
from ...language.heard import heard
from ...words import in_words

ACT = "own-"  # begins what its buttons do


def html(presets: Sequence[Preset], chosen: str, machine: Machine, address: Callable[[str, str], str]) -> str:
    """The cards; "" where there are none.  address: (id, "picture" or "file") -> URL."""
    mine = [p for p in presets if p.own]
    if not mine:
        return ""
    cards = "".join(_card(p, p.id == chosen, machine, address) for p in mine)
    return f'<h2 class="ez-subtitle ez-quality-title" id="ez-own">{escape(tr("Your own presets"))}</h2><div class="ez-presets" role="radiogroup" aria-labelledby="ez-own">{cards}</div>'


def _card(preset: Preset, chosen: bool, machine: Machine, address: Callable[[str, str], str]) -> str:
    id, title = escape(preset.id), escape(preset.title)
    if not preset.ok:
        return (
            f'<div class="ez-own"><div class="ez-preset is-broken" role="radio" aria-checked="false" aria-disabled="true"><span class="ez-preset-top"><b>{title}</b>'
            f'<span class="ez-chip ez-bad">{escape(tr("cannot be used"))}</span></span><p>{escape(heard(preset.error)[:400])}</p></div></div>'
        )
    picture = f'<img src="{escape(address(preset.id, "picture"))}" alt="" loading="lazy" decoding="async">' if preset.picture else icon("film")
    short = fits(preset, machine)
    needs = f'<span class="ez-needs is-short"><span>{escape(in_words(short))}</span></span>' if short else ""
    of = f'<p class="ez-muted">{escape(tr("from your run {run}", run=preset.from_run))}</p>' if preset.from_run else ""
    kept = own.hindrance(preset)
    export = f'<p class="ez-muted ez-small">{escape(in_words(kept))}</p>' if kept else f'<a class="ez-btn" href="{escape(address(preset.id, "file"))}" download>{icon("download")}{escape(tr("Export as a file"))}</a>'
    field = f"ez-own-title-{preset.id}"
    return (
        f'<div class="ez-own"><button type="button" class="ez-preset" role="radio" aria-checked="{str(chosen).lower()}" tabindex="0" data-act="preset" data-id="{id}">'
        f'<span class="ez-own-picture">{picture}</span><span class="ez-preset-top"><b>{title}</b></span><p>{escape(preset.blurb)}</p>{of}{needs}</button>'
        f'<details class="ez-menu" data-key="own-{id}"><summary class="ez-btn ez-own-more" aria-label="{escape(tr("More about {preset}", preset=preset.title))}">{escape(tr("More"))}</summary><div class="ez-pop">'
        f'<p><label for="{escape(field)}">{escape(tr("Name"))}</label><input type="text" class="ez-input" id="{escape(field)}" value="{title}" maxlength="60" autocomplete="off"></p>'
        f'<button type="button" class="ez-btn" data-act="{ACT}rename" data-id="{id}" data-with="[id=\'{escape(field)}\']">{escape(tr("Rename"))}</button>'
        f'{export}<button type="button" class="ez-btn ez-destroy" data-act="{ACT}delete" data-id="{id}">{icon("trash")}{escape(tr("Delete"))}</button>'
        f'<p class="ez-muted ez-small">{escape(tr("Runs that were made with it keep their settings. A file is brought back by dropping it below."))}</p></div></details></div>'
    )


def do(home: Home, act: str, data: dict[str, Any]) -> None:
    """What one of its buttons does.  Raises ValueError, OSError."""
    id = str(data.get("id", ""))
    if act == f"{ACT}rename":
        own.rename(home, id, str(data.get("value", "")))
    elif act == f"{ACT}delete":
        own.delete(home, id)
    else:
        raise ValueError(tr("there is no action '{name}'", name=act))


def save_menu(run: str, title: str) -> str:
    """The menu on a run's page by which its settings become a preset."""
    return (
        f'<details class="ez-menu" data-key="preset-{escape(run)}"><summary class="ez-btn">{icon("star")}{escape(tr("Save as a preset"))}</summary><div class="ez-pop">'
        f"<p>{escape(tr('Its settings stand among your own presets on the Train page, with its newest picture. Pictures, name and trigger word are chosen anew each time.'))}</p>"
        f'<p><label for="ez-preset-name">{escape(tr("Name"))}</label><input type="text" class="ez-input" id="ez-preset-name" value="{escape(title[:60])}" maxlength="60" data-enter="save-preset" autocomplete="off"></p>'
        f'<button type="button" class="ez-btn ez-primary" data-act="save-preset" data-with="#ez-preset-name">{icon("check")}{escape(tr("Save"))}</button></div></details>'
    )

