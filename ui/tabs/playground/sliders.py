"""Repair: a slider a block, in groups that open, of the LoRA and of a donor; and the job that saves what was drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from pydantic import BaseModel

from training import registry
from training.home import Home
from training.jobfile import parse
from training.tools.repair import Held

from ...icons import icon
from ...language import N_, tr, trc, trn
from ...words import in_words
from . import asks, repairs
from .asks import Bench, Wish

TITLES = {"own_blocks": N_("Blocks of this LoRA"), "other_blocks": N_("Blocks taken from the donor")}


def sources(wish: Wish, bench: Bench) -> dict[str, str]:
    """{field: source of the LoRA whose blocks it moves}."""
    own = {"own_blocks": asks.source_of(bench, wish.checkpoint)} if bench.run else {}
    return own | ({"other_blocks": wish.other.strip()} if wish.other.strip() else {})


def group_of(block: str) -> str:
    """Which blocks lie together: those whose names differ in the number alone, or in what comes behind the first."""
    return re.sub(r"[._]\d.*$", "", block)


def groups(held: Sequence[Held]) -> dict[str, list[Held]]:
    """{group: its blocks}, in the network's order."""
    found: dict[str, list[Held]] = {}
    for block in held:
        found.setdefault(group_of(block.name), []).append(block)
    return found


def form(home: Home, wish: Wish, bench: Bench, fault: str) -> str:
    """The sliders; "" in every other way to draw."""
    if wish.mode != "repair" or bench.run is None:
        return ""
    parts = []
    for field, source in sources(wish, bench).items():
        try:
            parts.append(_sliders(field, repairs.held(home, source), repairs.factors(getattr(wish, field))))
        except (ValueError, OSError) as error:
            parts.append(f'<p class="ez-note ez-warn" role="status">{escape(in_words(str(error)))}</p>')
    trouble = f'<p class="ez-error" role="alert">{escape(fault)}</p>' if fault else ""
    lead = tr("1 is as trained, 0 leaves a block out, below 0 it does the opposite. Press Draw to see before and after on one seed.")
    return (
        f'<section class="ez-card ez-stack"><h2 class="ez-subtitle">{escape(tr("Blocks"))}</h2><p class="ez-muted ez-small">{escape(lead)}</p>'
        f'{"".join(parts)}{trouble}<div class="ez-acts"><button type="button" class="ez-btn" data-act="repair-save">{icon("download")}{escape(tr("Save as a new LoRA"))}</button>'
        f'<span class="ez-muted ez-small">{escape(tr("Exactly what Draw shows."))}</span></div></section>'
    )


def _sliders(field: str, held: Sequence[Held], factors: dict[str, float]) -> str:
    usual = repairs.USUAL[field]
    inner = "".join(_group(field, name, blocks, factors, usual) for name, blocks in groups(held).items())
    return (
        f'<div class="ez-repair"><div class="ez-spread"><b>{escape(tr(TITLES[field]))}</b><button type="button" class="ez-link ez-small" data-act="repair-reset" data-id="{field}">{escape(tr("Reset"))}</button></div>{inner}</div>'
    )


def _group(field: str, name: str, blocks: Sequence[Held], factors: dict[str, float], usual: float) -> str:
    changed = sum(factors.get(b.name, usual) != usual for b in blocks)
    said = trn("{n} block, {moved} moved", "{n} blocks, {moved} moved", len(blocks), moved=changed) if changed else trn("{n} block", "{n} blocks", len(blocks))
    acts = "".join(
        f'<button type="button" class="ez-link ez-small" data-act="repair-{act}" data-id="{escape(f"{field}/{name}")}">{escape(title)}</button>'
        for act, title in (("only", tr("Only these")), ("none", trc("blocks", "None")), ("all", trc("blocks", "All")))
    )
    rows = "".join(_slider(field, b, factors.get(b.name, usual)) for b in blocks)
    return (
        f'<details class="ez-drawer" data-key="repair-{escape(f"{field}-{name}")}"><summary>{escape(_spoken(name))} <span class="ez-count">{escape(said)}</span></summary>'
        f'<div class="ez-acts">{acts}</div><div class="ez-repair-rows">{rows}</div></details>'
    )


def _slider(field: str, block: Held, value: float) -> str:
    path = escape(f"{field}/{block.name}")
    layers = escape(trn("{n} layer", "{n} layers", len(block.layers)))
    holds = escape("\n".join(block.layers[:40]))
    return (
        f'<div class="ez-field"><label class="ez-label ez-spread" for="ez-{path}"><span>{escape(_spoken(block.name))} <span class="ez-muted ez-small" title="{holds}">{layers}</span></span><output class="ez-num">{value:g}</output></label>'
        f'<input type="range" class="ez-range" id="ez-{path}" min="{-repairs.SIDE:g}" max="{repairs.SIDE:g}" step="0.1" value="{value:g}" data-path="{path}" data-value="{value:g}"></div>'
    )


def _spoken(name: str) -> str:
    return name.replace("_", " ").replace(".", " ").capitalize()


def pressed(home: Home, wish: Wish, bench: Bench, act: str, id: str) -> Wish:
    """The form after one of the buttons.  Raises ValueError."""
    field, _, group = id.partition("/")
    if field not in repairs.USUAL:
        raise ValueError(tr("there are no such blocks"))
    if act == "reset":
        return wish.model_copy(update={field: "{}"})
    source = sources(wish, bench).get(field)
    if source is None:
        raise ValueError(tr("choose a LoRA first"))
    held = repairs.held(home, source)
    inside = {b.name for b in held if group_of(b.name) == group}
    wanted = {b.name: float(b.name in inside) for b in held} if act == "only" else {name: float(act == "all") for name in inside}
    return wish.model_copy(update={field: repairs.moved(getattr(wish, field), wanted, repairs.USUAL[field])})


def save_config(home: Home, wish: Wish, bench: Bench) -> BaseModel:
    """The job that writes what Draw shows: `merge` with a donor, else `scale`.  Raises ValueError, OSError."""
    uses, rules = asks.repair_of(home, wish, bench)
    blocks = [{"adapter": n, "pattern": pattern, "strength": factor} for n, pattern, factor in rules]
    name = f"{bench.title} repaired"[:90]
    (source, strength), *others = uses
    if not others:
        data: dict[str, Any] = {"kind": "scale", "name": name, "adapter": source, "strength": strength, "blocks": blocks}
    else:
        data = {"kind": "merge", "name": name, "adapters": [{"file": s, "strength": w} for s, w in uses], "blocks": blocks}
    return parse(registry.get("jobs", data["kind"], home.plugins).Config, data, "this")
