"""The machine: what it has, and what runs now.  The same knowledge feeds the chip in the header."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from training.plan import hardware
from training.runs import supervisor
from training.runs.events import RunView
from training.runs.run import Run

from . import added, newer, reporting, telling, views
from .language import LANGUAGES, point, spoken, tr, trc, trn, whole
from .poll import changes
from .theme import ASSETS
from .words import in_words

GIB = 2**30
CHIP = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
    '<rect x="6" y="6" width="12" height="12" rx="2.5"/><path d="M9.5 2.5V6m5-3.500V6m-5 12v3.500m5-3.500v3.500M2.5 9.500H6m-3.5 5H6m12-5h3.500m-3.5 5h3.5"/></svg>'
)
SUN = (
    '<svg class="ez-sun" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" aria-hidden="true">'
    '<circle cx="12" cy="12" r="4"/><path d="M12 2.500v2m0 15v2M2.5 12h2m15 0h2M5.3 5.300l1.4 1.400m10.6 10.6 1.4 1.400m0-13.4-1.4 1.400M6.7 17.300l-1.4 1.4"/></svg>'
)
MOON = (
    '<svg class="ez-moon" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linejoin="round" aria-hidden="true">'
    '<path d="M20 14.500A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.500z"/></svg>'
)


GLOBE = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" aria-hidden="true"><circle cx="12" cy="12" r="8.5"/>'
    '<path d="M3.5 12h17M12 3.500c2.4 2.300 3.6 5.200 3.6 8.500s-1.200 6.200-3.600 8.500c-2.400-2.300-3.600-5.200-3.600-8.500s1.200-6.200 3.600-8.500z"/></svg>'
)


@dataclass
class Parts:
    """What the frame around the tabs is made of."""

    header: gr.HTML
    machine: gr.HTML
    plugins: gr.HTML
    report: tuple[gr.State, gr.HTML]
    shown: gr.State  # prints of what the page shows
    telling: gr.HTML


def build(ctx) -> Parts:
    """The header, and the panel on the left."""
    header = gr.HTML(header_html(None), elem_id="ez-header", apply_default_css=False)
    report = reporting.build()
    with gr.Sidebar(label=tr("Machine"), elem_id="ez-sidebar", width=272):
        machine = gr.HTML('<div class="ez-side"></div>', apply_default_css=False)
        tell = telling.build(ctx)
        plugins = gr.HTML("", apply_default_css=False)
        newer.build()
        gr.HTML(reporting.button(), apply_default_css=False)
    return Parts(header, machine, plugins, report, gr.State({}), tell)


def wire(parts: Parts, ctx) -> Callable[[], dict[str, str]]:
    """Refreshes both at load and with the tick, and sets the pace of the tick.  Gives what assets/telling.js asks for while nobody looks."""

    reporting.wire(parts.report, ctx)
    last = Last()

    def look(shown):
        busy = supervisor.busy(ctx.home)
        now = running_now(ctx, busy)
        pieces = {"header": header_html(now, last.after(ctx, busy)), "machine": machine_html(hardware.machine(ctx.home.root), now), "pace": ctx.pace(now is not None)}
        prints, values = changes(shown, pieces)
        return [prints, *values[:2], values[2] if values[2] == gr.skip() else gr.Timer(pieces["pace"])]

    outputs = [parts.shown, parts.header, parts.machine, ctx.timer]
    ctx.at_load(lambda: look({}), [], outputs)
    ctx.every_tick(look, [parts.shown], outputs)
    ctx.at_load(lambda: added.html(ctx.home), [], [parts.plugins])
    telling.wire(parts.telling, ctx)

    def seen_from_outside() -> dict[str, str]:
        busy = supervisor.busy(ctx.home)
        return attributes(running_now(ctx, busy), last.after(ctx, busy))

    return seen_from_outside


@dataclass(frozen=True)
class Now:
    """The run that a worker is busy with."""

    run: Run
    view: RunView
    progress: views.Progress

    @property
    def percent(self) -> str:
        return "" if self.progress.share is None else f"{100 * self.progress.share:.0f} %"


@dataclass(frozen=True)
class Ended:
    """A run that ended while the app was open."""

    id: str
    title: str
    status: str
    t: float = 0.0  # of its last word: one run may end more than once


class Last:
    """What ran last, so that its end can be told to who looks elsewhere.  Several may run at once, on several cards."""

    def __init__(self):
        self._ran: dict[Path, Run] = {}
        self._ended: Ended | None = None
        self._looking = threading.Lock()

    def after(self, ctx, busy: Sequence[Run]) -> Ended | None:
        """The run that ended last; None while none did.  busy: what runs."""
        with self._looking:
            now = {run.path: run for run in busy}
            for path, run in self._ran.items():
                if path not in now and path.is_dir():
                    view, status = ctx.watch.status(run)
                    self._ended = Ended(run.id, run.title, status, view.last_t)
            self._ran = now
            return self._ended


def running_now(ctx, busy: Sequence[Run] | None = None) -> Now | None:
    """What runs, or None.  busy: where that is known already."""
    run = supervisor.foremost(supervisor.busy(ctx.home) if busy is None else busy)
    if run is None:
        return None
    view, status = ctx.watch.status(run)
    return Now(run, view, views.progress(view, "running" if status == "queued" else status))


def attributes(now: Now | None, ended: Ended | None) -> dict[str, str]:
    """What runs, how far it is, and what ended last and how, as the header's data."""
    told = {"now": now.run.title, "share": now.percent} if now else {}
    return told | ({"ended": ended.id, "ended-title": ended.title, "ended-as": ended.status, "ended-t": f"{ended.t:.0f}"} if ended else {})


def header_html(now: Now | None, ended: Ended | None = None) -> str:
    """Brand on the left; what runs and the theme on the right.  assets/easel.js tells the browser's tab from its attributes."""
    outside = "".join(f' data-{name}="{escape(value)}"' for name, value in attributes(now, ended).items())
    logo = (ASSETS / "icon.svg").read_text(encoding="utf-8").replace("<svg ", '<svg aria-hidden="true" ', 1)
    chip = ""
    if now:
        title = escape(now.run.title)
        chip = (
            f'<button type="button" class="ez-chip ez-run ez-now" data-tab="{_tab_of(now.run)}" title="{escape(tr("Show {title}", title=now.run.title))}"><i></i>'
            f"<span>{title}</span>{f'<b>{now.percent}</b>' if now.percent else ''}</button>"
        )
    theme = escape(tr("Light or dark"))
    return (
        f'<header class="ez-header"{outside}><div class="ez-brand">{logo}<span>Easel</span></div><div class="ez-header-right">{chip}{_languages()}'
        f'<button type="button" class="ez-iconbtn" data-theme-toggle aria-label="{theme}" title="{theme}">{SUN}{MOON}</button></div></header>'
    )


def _languages() -> str:
    """The choice of a language: each by its own name, so that whoever lands in a wrong one finds out of it."""
    options = "".join(f'<option value="{code}" lang="{code}"{" selected" if code == spoken() else ""}>{name}</option>' for code, name in LANGUAGES.items())
    what = escape(tr("Language"))
    return f'<label class="ez-iconbtn ez-language" title="{what}">{GLOBE}<select data-language aria-label="{what}">{options}<option value="">{escape(tr("As the browser"))}</option></select></label>'


def machine_html(machine: hardware.Machine, now: Now | None) -> str:
    """The panel's two sections."""
    return f'<div class="ez-side"><section><h2>{escape(tr("Running now"))}</h2>{_now_html(now)}</section><section><h2>{escape(tr("This machine"))}</h2>{_device_html(machine)}</section></div>'


def _now_html(now: Now | None) -> str:
    if now is None:
        return f'<p class="ez-muted ez-small" style="margin:0">{escape(tr("Nothing. A run goes on here even when this window is closed."))}</p>'
    share = now.progress.share
    bar = '<div class="ez-bar ez-busy"><i></i></div>' if share is None else f'<div class="ez-bar"><i style="width:{100 * share:.1f}%"></i></div>'
    detail = f'<p class="ez-muted ez-small" style="margin:8px 0 0">{escape(now.progress.detail)}</p>' if now.progress.detail else ""
    return (
        f'<div class="ez-meter" style="margin:0"><div><b class="ez-oneline">{escape(now.run.title)}</b><b class="ez-num">{now.percent}</b></div>{bar}</div>'
        f'<p class="ez-small" style="margin:8px 0 0">{escape(now.progress.text)}</p>{detail}'
        f'<button type="button" class="ez-link ez-small" style="margin-top:6px" data-tab="{_tab_of(now.run)}">{escape(tr("Show it"))}</button>'
    )


def _device_html(machine: hardware.Machine) -> str:
    name = trn("{n} graphics card", "{n} graphics cards", len(machine.cards)) if len(machine.cards) > 1 else machine.gpu_name or tr("No GPU")
    cpu = machine.cpu_name or tr("processor")
    if machine.gpu_name:
        how = trn("{cpu}, {n} core", "{cpu}, {n} cores", machine.cores, cpu=cpu)
    else:
        how = trn("Trains on the processor: {cpu}, {n} core", "Trains on the processor: {cpu}, {n} cores", machine.cores, cpu=cpu)
    rows = []
    if machine.vram_bytes:
        several = [machine.on(card.uuid) for card in machine.cards] if len(machine.cards) > 1 else [machine]
        rows += [_meter("VRAM" if len(several) == 1 else f"VRAM, {_short(one.gpu_name)}", one.vram_bytes - one.vram_free_bytes, one.vram_bytes) for one in several]
    rows.append(_meter("RAM", machine.ram_bytes - machine.ram_free_bytes, machine.ram_bytes))
    low = " ez-bad" if machine.disk_free_bytes < 2 * GIB else ""
    disk = f'<div class="ez-meter"><div><span>{escape(trc("how much of it is free", "Free disk"))}</span><b class="ez-num{low}">{_gib(machine.disk_free_bytes)}</b></div></div>'
    notes = [in_words(text) for text in (machine.note, supervisor.no_accelerator()) if text]
    note = "".join(f'<p class="ez-note ez-warn ez-small">{escape(text)}</p>' for text in notes)
    return f'<div class="ez-device">{CHIP}<div><b>{escape(name)}</b><span>{escape(how)}</span></div></div>{"".join(rows)}{disk}{note}'


def _meter(label: str, used: int, of: int) -> str:
    share = min(1.0, max(0.0, used / of)) if of else 0.0
    look = "ez-bad" if share > 0.95 else "ez-warn" if share > 0.85 else "ez-plain"
    width = 2 * round(50 * share)  # in steps, so that the panel is not sent anew at every tick
    return (
        f'<div class="ez-meter"><div><span>{escape(label)}</span><b>{escape(tr("{used} of {of}", used=_gib(used), of=_gib(of)))}</b></div>'
        f'<div class="ez-bar {look}"><i style="width:{width}%"></i></div></div>'
    )


def _gib(size_bytes: int) -> str:
    value = size_bytes / GIB
    return point(f"{value:.1f} GB") if value < 10 else f"{whole(round(value))} GB"


def _short(gpu_name: str) -> str:
    return gpu_name.removeprefix("NVIDIA ").removeprefix("GeForce ")


def _tab_of(run: Run) -> str:
    """The tab that shows a run."""
    return {"caption": "captions", "publish": "publish", "publish_dataset": "dataset", "train": "results", "lr_find": "train", "play": "playground", "generate": "playground"}.get(run.kind, "tools")
