"""No card here?  Where else a run can be trained, what that costs and takes, what leaves this computer, and Start there."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from training import registry
from training.away import reckon
from training.away.place import Machine, Refused, Unreachable, on_behalf, option_problems, where
from training.config import PlacePart
from training.home import Home
from training.hub.secrets import Secret
from training.plan import hardware
from training.plan.estimate import Estimate
from training.plan.presets import list_presets, recommend

from ... import forms, views
from ...icons import icon
from ...language import N_, point, spoken, tr, trn
from ...language.heard import heard
from ...words import in_words
from .draft import AWAY, Draft, Plan, plan

ASKED_S = 4.0  # a place that has not answered by then is told to be slow
MOST_SHOWN = 6
ALWAYS = ("host", "user")  # options that stand in plain sight; the rest is folded
ORDER = ("ssh", "hf_jobs", "modal", "docker")  # of those that are as ready as each other: the own machine, then what takes one account, then what takes setting up
QUIET = ("machine",)  # chosen from the list of machines
SLOW = N_("it does not answer; look again in a moment")

Found = dict[str, dict[str, Any]]  # place -> {why, leaves, machines, asked: the options that were asked with}, as kept in what a browser shows


def places(home: Home) -> dict[str, ModuleType]:
    """The places that load, by their names; ours by what they are called, plugins behind."""
    return {id: plugin.module for id, plugin in registry.find("cloud", home.plugins).items() if plugin.ok}


def options_typed(form: Draft, kind: str) -> dict[str, str]:
    """What was typed for one place: option -> text."""
    begin = f"{AWAY}.{kind}."
    return {path.removeprefix(begin): text for path, text in form.away.items() if path.startswith(begin)}


def options_of(module: ModuleType, form: Draft, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """(the options as a job has them, {option: what is wrong with it})."""
    values, wrong = forms.parsed(module.Options, {k: t for k, t in options_typed(form, kind).items() if k in module.Options.model_fields})
    if not wrong:
        known = list(module.Options.model_fields)
        for _, said in option_problems(module, values):
            name = said.split("'")[1] if said.startswith("'") else ""
            fault = (said.partition("' ")[2] or said).rpartition(" (")[0]  # without the place's title and options, which are said anew
            wrong[name if name in known else ""] = tr("{fault} ({place} has: {options})", fault=heard(fault), place=tr(module.TITLE), options=", ".join(known))
    return values, wrong


def look(home: Home, form: Draft, token: Secret | None = None) -> Found:
    """What every place says of itself now, side by side, none waited for longer than ASKED_S."""
    found: Found = {}

    def ask(kind: str, module: ModuleType) -> None:
        values, wrong = options_of(module, form, kind)
        found[kind] = {"why": SLOW, "leaves": "", "machines": [], "asked": _key(form, kind)}
        if wrong:
            found[kind]["why"] = next(iter(wrong.values()))
            return
        options = module.Options.model_validate(values)
        found[kind] = _asked(module, options) | {"asked": _key(form, kind)}

    with on_behalf(token):
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(ask, kind, module), daemon=True) for kind, module in places(home).items()]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + ASKED_S
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    return dict(found)


def _asked(module: ModuleType, options: BaseModel) -> dict[str, Any]:
    told: dict[str, Any] = {"why": "", "leaves": module.leaves(options), "machines": []}
    try:
        told["why"] = module.ready(options)
        told["machines"] = [] if told["why"] else module.machines(options)
    except (Unreachable, Refused, ValueError, OSError) as error:
        told["why"] = str(error) or type(error).__name__
    return told


def _key(form: Draft, kind: str) -> str:
    return json.dumps({k: t for k, t in options_typed(form, kind).items() if k not in QUIET}, sort_keys=True)


# ---- what it comes to


_plans: dict[tuple, Plan] = {}


def plan_on(home: Home, form: Draft, dataset: str, machine: Machine, here: hardware.Machine) -> Plan:
    """The form's plan on another machine: its preset, resolved for what that has."""
    key = (str(home.root), form.model_dump_json(exclude={"away", "place"}), dataset, machine, spoken())
    if key not in _plans:
        if len(_plans) > 64:
            _plans.clear()
        _plans[key] = plan(home, form.model_copy(update={"gpu": "", "preset": _preset(home, form, here)}), dataset, reckon.seen_as(machine, here))
    return _plans[key]


def _preset(home: Home, form: Draft, here: hardware.Machine) -> str:
    """The preset that the form shows: what is recommended for another machine would be another run."""
    found = list_presets(plugins=home.plugins)
    if any(p.id == form.preset and p.ok for p in found):
        return form.preset
    try:
        return recommend(found, here).id
    except ValueError:
        return ""


def chosen(form: Draft, kind: str, machines: list[Machine]) -> Machine | None:
    """The machine that was picked, or the only one."""
    named = options_typed(form, kind).get("machine", "")
    return next((m for m in machines if m.name == named), machines[0] if len(machines) == 1 else None)


def config_for(home: Home, form: Draft, dataset: str, kind: str, found: Found, here: hardware.Machine) -> tuple[Plan | None, str]:
    """(what Start there would start, "") or (None, why not)."""
    module = places(home).get(kind)
    told = found.get(kind)
    if module is None or told is None or told["asked"] != _key(form, kind):
        return None, tr("look at the machine first")
    if told["why"]:
        return None, told["why"]
    values, wrong = options_of(module, form, kind)
    if wrong:
        return None, next(iter(wrong.values()))
    machine = chosen(form, kind, told["machines"])
    if told["machines"] and machine is None:
        return None, tr("choose one of the machines")
    made = plan_on(home, form, dataset, machine, here) if machine else plan(home, form, dataset, replace(here, cards=()))  # how many cards there are is not known
    if made.config is None:
        return made, ""
    if machine and made.estimate and not made.estimate.fits:
        return None, _too_small(machine)
    place = PlacePart(kind=kind, options=values)
    return replace(made, config=made.config.model_copy(update={"place": place})), ""


def _too_small(machine: Machine) -> str:
    return tr("{machine} is too small for this run; choose another machine, a smaller base model, or a lower resolution", machine=machine.title)


# ---- the page


def html(home: Home, form: Draft, dataset: str, seen: Mapping[str, Any], here: hardware.Machine) -> str:
    """The panel below Start: one line until somebody opens it."""
    if not seen.get("away_open"):
        word = tr("Train on another machine") if here.device != "cpu" else tr("No card here? Train on another machine")
        return f'<div class="ez-away" id="ez-away"><button type="button" class="ez-link" data-act="away" aria-expanded="false">{escape(word)}</button></div>'
    found: Found = seen.get("away", {})
    known = dict(sorted(places(home).items(), key=lambda row: (bool(found.get(row[0], {}).get("why", SLOW)), ORDER.index(row[0]) if row[0] in ORDER else len(ORDER))))
    kind = form.place if form.place in known else next((k for k in known if not found.get(k, {}).get("why", "-")), next(iter(known), ""))
    rows = "".join(_place(k, module, found.get(k, {}), k == kind) for k, module in known.items())
    return (
        f'<div class="ez-away is-open" id="ez-away"><div class="ez-spread"><h2 class="ez-subtitle" id="ez-away-title">{escape(tr("Train on another machine"))}</h2>'
        f'<button type="button" class="ez-link" data-act="away" aria-expanded="true">{escape(tr("Close"))}</button></div>'
        f'<p class="ez-muted ez-small">{escape(tr("The same run, on a card that is not here. Curve, samples and result come back to Results; this computer may sleep meanwhile."))}</p>'
        f'<div class="ez-away-places" role="radiogroup" aria-labelledby="ez-away-title">{rows}</div>'
        + (_chosen(home, form, dataset, kind, known[kind], found, seen, here) if kind else f'<p class="ez-muted">{escape(tr("No place is installed."))}</p>')
        + "</div>"
    )


def _place(kind: str, module: ModuleType, told: Mapping[str, Any], is_chosen: bool) -> str:
    why = told.get("why", SLOW)
    look, word = ("ez-ok", tr("ready")) if told and not why else ("ez-idle", tr("not ready"))
    chip = f'<span class="ez-chip {look}">{escape(word)}</span>'
    said = tr(module.BLURB) if not why or is_chosen else in_words(why)
    return (
        f'<button type="button" class="ez-preset" role="radio" aria-checked="{str(is_chosen).lower()}" tabindex="{0 if is_chosen else -1}" data-act="away-place" '
        f'data-id="{escape(kind)}" data-collect><span class="ez-preset-top"><b>{escape(tr(module.TITLE))}</b>{chip}</span><p>{escape(said)}</p></button>'
    )


def _chosen(home: Home, form: Draft, dataset: str, kind: str, module: ModuleType, found: Found, seen: Mapping[str, Any], here: hardware.Machine) -> str:
    told = found.get(kind, {})
    fresh = bool(told) and told["asked"] == _key(form, kind)
    _, wrong = options_of(module, form, kind)
    options = _options(module, form, kind, wrong)
    if wrong.get(""):
        options += f'<p class="ez-error" role="alert">{escape(in_words(wrong[""]))}</p>'
    word = tr("Look again") if fresh and seen.get("away_looked") else tr("Look at it")
    look_again = f'<button type="button" class="ez-btn{"" if fresh and not told["why"] else " ez-primary"}" data-act="away-look" data-collect>{icon("check")}{escape(word)}</button>'
    look = "ez-error" if seen.get("away_looked") else "ez-muted ez-small"  # what is merely not filled in yet is no fault
    why = f'<p class="{look}" role="status">{escape(in_words(told["why"]))}</p>' if fresh and told["why"] and not wrong else ""
    made = ""
    if fresh and not told["why"] and not wrong:
        made = _offer(home, form, dataset, kind, module, told, seen, here)
    return f'{options}<div class="ez-acts">{look_again}</div>{why}{made}'


def _options(module: ModuleType, form: Draft, kind: str, wrong: Mapping[str, str]) -> str:
    typed = options_typed(form, kind)
    fields = [f for f in forms.fields(module.Options) if f.path not in QUIET]
    shown = []
    for f in fields:
        usual = forms.typed(f, module.Options.model_fields[f.path].default) if not module.Options.model_fields[f.path].is_required() else ""
        text = typed.get(f.path, usual)
        shown.append((f.path, forms.setting(replace(f, path=f"{AWAY}.{kind}.{f.path}"), usual, text, wrong.get(f.path, ""), False, "train")))
    plain = "".join(html for path, html in shown if path in ALWAYS)
    rest = "".join(html for path, html in shown if path not in ALWAYS)
    force = " data-force" if any(path in wrong for path, _ in shown if path not in ALWAYS) else ""
    more = f'<details class="ez-drawer" data-key="away-{escape(kind)}"{force}><summary>{escape(tr("More about it") if plain else tr("Settings of this place"))}</summary>{rest}</details>' if rest else ""
    return f'<div>{plain}{more}</div>'


def _offer(home: Home, form: Draft, dataset: str, kind: str, module: ModuleType, told: Mapping[str, Any], seen: Mapping[str, Any], here: hardware.Machine) -> str:
    """Machines with what they cost, what leaves this computer, and Start there."""
    machines: list[Machine] = told["machines"]
    picked = chosen(form, kind, machines)
    rows, small, wide, broken = [], 0, 0, ""
    for machine in machines:
        if len(machines) > 1 and machine != picked and 0 < _takes(form) < len(machine.cards):
            wide += 1  # nobody wants to pay for cards that do nothing
            continue
        made = plan_on(home, form, dataset, machine, here)
        guess = made.estimate
        if guess is None or not guess.fits:
            broken = broken or ("" if guess else next(iter(made.wrong.values()), tr("the form above is not whole yet")))
            small += 1
        else:
            cost = reckon.price(machine, guess)
            rows.append((cost.low if cost.low is not None else guess.seconds, machine, guess, cost))
    rows.sort(key=lambda row: row[0])
    shown = rows[:MOST_SHOWN] + [row for row in rows[MOST_SHOWN:] if picked and row[1].name == picked.name]
    body = "".join(_machine(machine, _time_said(guess), cost, machine == picked) for _, machine, guess, cost in shown)
    left = [
        trn("{n} is too small for this run", "{n} are too small for this run", small) if small else "",
        trn("{n} costs more", "{n} cost more", len(rows) - len(shown)) if len(rows) > len(shown) else "",
        trn(
            "{n} has more cards than this run takes: “{setting}” says how many, and 0 takes all", "{n} have more cards than this run takes: “{setting}” says how many, and 0 takes all",
            wide, setting=tr(forms.NAMED["gpus"]),
        ) if wide else "",
    ]  # fmt: skip
    left_out = "; ".join(filter(None, left))
    list_ = f'<div class="ez-away-machines" role="radiogroup" aria-label="{escape(tr("Machines"))}">{body}</div>' if body else ""
    broken = "" if rows else broken
    if machines and not rows:
        broken = broken or tr("no machine of this place is large enough for this run: choose a smaller base model, or lower the resolution")
    if not machines:
        list_ = f'<p class="ez-muted ez-small">{escape(tr("What it costs and how long it takes is not known before it runs."))}</p>'
    row = next((row for row in rows if picked and row[1].name == picked.name), None)
    if picked and rows and row is None:
        broken = _too_small(picked)
    said = f'<p class="ez-muted ez-small">{escape(views.sentence(left_out))}</p>' if left_out and rows else ""
    fault = f'<p class="ez-error" role="alert">{escape(in_words(str(seen.get("away_fault") or broken)))}</p>' if seen.get("away_fault") or broken else ""
    blocked = bool(broken) or (bool(machines) and row is None)
    place = tr(where(module, module.Options.model_validate(options_of(module, form, kind)[0])))
    word = tr("Start on {place} for {price}", place=place, price=point(row[3].said)) if row and row[3].said else tr("Start on {place}", place=place)
    state = f' aria-disabled="true" title="{escape(in_words(broken) if broken else tr("Choose a machine first"))}"' if blocked else ""
    return (
        f'{list_}{said}<p class="ez-away-leaves">{icon("lock")}<span>{escape(heard(told["leaves"]))}</span></p>'
        f'<button type="button" class="ez-btn ez-primary ez-start" data-act="start-away" data-id="{escape(kind)}" data-collect{state}>{icon("bolt")}{escape(word)}</button>{fault}'
    )


def _takes(form: Draft) -> int:
    """How many cards the form wants together; 0 for all of a machine's."""
    text = form.edits.get("gpus", "1").strip()
    return int(text) if text.isdecimal() else 1


def _time_said(guess: Estimate) -> str:
    """How long it most likely takes."""
    low, high = guess.seconds_range
    return tr("about {time}", time=views.about_duration(guess.seconds)) if guess.measured else tr("{low} to {high}", low=views.about_duration(low), high=views.about_duration(high))


def _machine(machine: Machine, time_said: str, cost: reckon.Price, is_chosen: bool) -> str:
    each = f"{len(machine.cards)} × " if len(set(machine.cards)) == 1 and len(machine.cards) > 1 else ""
    memory = " · ".join(filter(None, (f"{each}{machine.vram_bytes / 2**30:.0f} GB VRAM" if machine.vram_bytes else "", f"{machine.ram_bytes / 2**30:.0f} GB RAM" if machine.ram_bytes else "")))
    hour = tr("no price known")
    if machine.price_per_hour is not None:
        hour = tr("{price} {currency} an hour", price=point(f"{machine.price_per_hour:.2f}"), currency=machine.currency)
    total = f"<b>{escape(point(cost.said))}</b>" if cost.said else ""
    return (
        f'<button type="button" class="ez-preset ez-away-machine" role="radio" aria-checked="{str(is_chosen).lower()}" tabindex="{0 if is_chosen else -1}" data-act="away-machine" '
        f'data-id="{escape(machine.name)}" data-collect><span class="ez-preset-top"><b>{escape(machine.title)}</b>{total}</span>'
        f'<p>{escape(memory)}{" · " if memory else ""}{escape(hour)} × {escape(time_said)}</p></button>'
    )
