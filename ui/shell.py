"""The table of contents: header, sidebar, tabs in order, one Timer, one load hook.

A tab is ui/tabs/<tab>/tab.py with
    TITLE: str                            marked with N_(): it is said when the page is laid out
    build(ctx: UiContext) -> parts        lays out its components (called inside its gr.Tab) and returns them as a dataclass
    wire(parts, ctx: UiContext) -> None   connects them; every tab has been built by then (ctx.parts["dataset"] …)
and, where it needs them, CSS: str and JS: str (a script for <head>).
"""

from __future__ import annotations

import html
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr

from training.home import Home

from . import pages, reporting, sidebar, telling, theme
from .api import endpoints
from .language import tr
from .poll import Watch
from .server.frontpage import TITLE

TABS = ("dataset", "captions", "train", "results", "playground", "tools", "publish")
BUSY_S = 2.0  # between ticks while a job runs: each costs the processor, which may be what trains
IDLE_S = 4.0
QUIET = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}  # for every small handler
SAY_TAB = "(tab, ...rest) => [window.easel?.shown() || tab, ...rest]"  # asked anew each time: a selection may be lost while the page loads
INSTANT = {**QUIET, "queue": False}  # answered in the one request that asks: for ticks and selections; gr.Info shows nothing there


@dataclass
class Hook:
    """A function that the one timer or the one load hook calls.  It returns one value an output, or one gr.skip() for all."""

    fn: Callable
    inputs: list
    outputs: list
    tab: str = ""  # only while this tab is shown; "" means always


@dataclass
class UiContext:
    """What every tab is given.

    dataset, run: name of the chosen dataset, id of the chosen run ("" means none).  Kept in the browser, so a refresh and a
    restart of the app keep them; a handler sets them by having them as output, and .change tells who listens.
    They may name something that was deleted since: look before use.
    """

    home: Home
    local: bool  # the person sits at this computer: folders may be named
    on_space: bool
    root_path: str
    folders: tuple[Path, ...]  # where folders may be named when it is not local
    dataset: gr.BrowserState
    run: gr.BrowserState
    tab: gr.Textbox  # never shown: where the browser says, with each tick, which tab it shows
    tabs: gr.Tabs
    timer: gr.Timer
    items: dict[str, gr.Tab] = field(default_factory=dict)  # tab id -> gr.Tab: items["train"].select(...)
    parts: dict[str, Any] = field(default_factory=dict)  # tab id -> what its build returned
    watch: Watch = field(default_factory=Watch)  # the views of runs, read once for all browsers
    busy: list[Callable[[], bool]] = field(default_factory=list)  # what besides a job asks for the quick tick
    ticks: list[Hook] = field(default_factory=list)
    loads: list[Hook] = field(default_factory=list)

    def every_tick(self, fn: Callable, inputs: Sequence, outputs: Sequence, tab: str = "") -> None:
        """Calls fn every two seconds while a job runs, every few seconds otherwise; with `tab`, only while that one is shown.

        Inputs are posted at each tick: states, not big components.  An output belongs to one hook only.
        """
        self.ticks.append(Hook(fn, list(inputs), list(outputs), tab))

    def at_load(self, fn: Callable, inputs: Sequence, outputs: Sequence, tab: str = "") -> None:
        """Calls fn when a browser opens or refreshes the page; with `tab`, only where that one is shown then (the others are asked when they are chosen)."""
        self.loads.append(Hook(fn, list(inputs), list(outputs), tab))

    def go(self, tab: str):
        """The value for the output ctx.tabs that selects a tab."""
        return gr.Tabs(selected=tab)

    def soon(self):
        """The value for the output ctx.timer after something was started: the next tick comes soon."""
        return gr.Timer(BUSY_S)

    def pace(self, busy: bool) -> float:
        """Seconds between two ticks.  busy: a job runs."""
        return BUSY_S if busy or any(asks() for asks in self.busy) else IDLE_S

    def url(self, path: str) -> str:
        """A path of ours as the browser must ask for it."""
        return f"{self.root_path.rstrip('/')}/{path.lstrip('/')}"


def oauth() -> bool:
    """Does this app run as a Space that lets people sign in?"""
    return bool(os.environ.get("SPACE_ID") and os.environ.get("OAUTH_CLIENT_ID"))


def heading(title: str, lead: str) -> str:
    """HTML of a tab's heading."""
    return f'<div class="ez-heading"><h1 class="ez-title">{html.escape(title)}</h1><p class="ez-lead">{html.escape(lead)}</p></div>'


def build(home: Home, local: bool = True, on_space: bool = False, root_path: str = "", folders: tuple[Path, ...] = ()) -> gr.Blocks:
    """The whole app, wired, not yet launched."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as demo:
        ctx = UiContext(
            home, local, on_space, urlsplit(root_path).path, folders or (home.root / "import",),
            dataset=gr.BrowserState("", storage_key="easel-dataset", secret="easel"),
            run=gr.BrowserState("", storage_key="easel-run", secret="easel"),
            tab=gr.Textbox(TABS[0], visible=False), tabs=gr.Tabs(render=False, elem_id="ez-tabs", overflow_behavior="wrap"),
            timer=gr.Timer(BUSY_S),
        )  # fmt: skip
        frame = sidebar.build(ctx)
        modules = {id: importlib.import_module(f"{__package__}.tabs.{id}.tab") for id in TABS} | pages.found(home)
        ctx.tabs.render()
        with ctx.tabs:
            for id, module in modules.items():
                with gr.Tab(tr(module.TITLE) if id in TABS else module.TITLE, id=id, elem_id=f"ez-tab-{id}", render_children=True) as item:
                    ctx.items[id] = item
                    ctx.parts[id] = module.build(ctx)
        outside = sidebar.wire(frame, ctx)
        for id, module in modules.items():
            module.wire(ctx.parts[id], ctx)
        _wire_hooks(demo, ctx)
        endpoints.offer_all(ctx)
    demo.easel_outside = outside
    demo.easel_taken = ctx.parts["dataset"].imports.taken
    demo.easel_css = "\n".join(dict.fromkeys([theme.css(), reporting.CSS, telling.CSS, *(m.CSS for m in modules.values() if hasattr(m, "CSS"))]))
    demo.easel_head = head(demo.easel_css, list(dict.fromkeys([theme.script(), reporting.JS, telling.JS, *(m.JS for m in modules.values() if hasattr(m, "JS"))])))
    return demo


def head(css: str, scripts: list[str]) -> str:
    """What Gradio adds to <head>: our style as it is written, and our scripts.  The rest of <head> is frontpage.py's.

    launch(css=…) gets the same style: Gradio puts its content's container in front of every selector there, so that ours win over
    its own, but with that prefix media queries no longer reach the page's frame and dialogs.
    """
    return "\n".join([f"<style>{css}</style>", *(f"<script>{s}</script>" for s in scripts)])


def _wire_hooks(demo: gr.Blocks, ctx: UiContext) -> None:
    """The one load hook and the one tick, each calling all that tabs registered."""
    demo.load(_merged(ctx.loads), [ctx.tab, *_flat(ctx.loads, "inputs")], _flat(ctx.loads, "outputs"), js=SAY_TAB, **QUIET)
    ctx.timer.tick(_merged(ctx.ticks), [ctx.tab, *_flat(ctx.ticks, "inputs")], _flat(ctx.ticks, "outputs"), js=SAY_TAB, **INSTANT)


def _flat(hooks: list[Hook], side: str) -> list:
    return [component for hook in hooks for component in getattr(hook, side)]


def _merged(hooks: list[Hook]) -> Callable:
    said: set[str] = set()

    def call(shown, *values):
        results, at = [], 0
        for hook in hooks:
            mine, at = values[at : at + len(hook.inputs)], at + len(hook.inputs)
            skipped = [gr.skip()] * len(hook.outputs)
            if hook.tab and hook.tab != shown:
                results += skipped
                continue
            try:
                result = hook.fn(*mine)
            except Exception:  # noqa: BLE001 one tab's fault must not freeze the others, which share this tick
                text = traceback.format_exc()
                if text not in said:
                    said.add(text)
                    print(text, file=sys.stderr)
                results += skipped
                continue
            results += _spread(result, skipped)
        return results if len(results) != 1 else results[0]

    return call


def _spread(result, skipped: list) -> list:
    if result == skipped[0]:
        return skipped
    return [result] if len(skipped) == 1 else list(result)
