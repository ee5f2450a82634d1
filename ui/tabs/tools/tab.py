"""Tools: look into a file of weights, merge, shrink, extract, fuse, convert.  A tool is a job that says TOOL = True; its form is its Config."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from training.formats.inspecting import Contents, inspect
from training.runs import supervisor
from training.runs.adapters import named
from training.runs.run import Run, delete

from ... import drafts, views
from ...language import N_, tr
from ...poll import changes, result_of
from ...server import client, media
from ...shell import INSTANT, QUIET, UiContext, heading
from ...words import in_words
from . import bench, page

TITLE = N_("Tools")
BUSY = "busy"  # in what a browser shows: whether the chosen tool is at work
CSS, JS = client.CSS, client.JS


@dataclass
class Parts:
    """What the tab is made of.  seen: prints of what this browser shows."""

    seen: gr.State
    drop: gr.File
    tools: gr.HTML
    form: gr.HTML
    contents: gr.HTML
    done: gr.HTML


def build(ctx: UiContext) -> Parts:
    """The tools on the left, the chosen one and what is in a file in the middle, what was made on the right."""
    gr.HTML(heading(tr("Tools"), tr("Everything one does with a finished LoRA besides training it. Every result is read again and compared before it is kept.")), apply_default_css=False)
    with gr.Row(elem_classes="ez-two", elem_id="ez-tools"):
        with gr.Column(scale=3, min_width=280, elem_classes="ez-card"):
            drop = gr.File(label=tr("Drop a .safetensors file here"), show_label=False, file_types=[".safetensors"], type="filepath", elem_classes=["ez-drop", "ez-drop-weights"], height=112)
            tools = gr.HTML("", apply_default_css=False, js_on_load=client.BIND)
        with gr.Column(scale=6, min_width=320):
            with gr.Column(elem_classes="ez-card"):
                form = gr.HTML("", apply_default_css=False, js_on_load=client.BIND)
                contents = gr.HTML("", apply_default_css=False)
            with gr.Column(elem_classes="ez-card"):
                gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("Results"))}</h2>', apply_default_css=False)
                done = gr.HTML("", apply_default_css=False, js_on_load=client.BIND)
    return Parts(gr.State({}), drop, tools, form, contents, done)


def wire(parts: Parts, ctx: UiContext) -> None:
    """One paint for everything."""
    tab = _Tab(ctx)
    outputs = [parts.seen, parts.tools, parts.form, parts.done]
    ctx.at_load(lambda: tab.paint({}), [], outputs, tab="tools")
    ctx.every_tick(tab.tick, [parts.seen], outputs, tab="tools")
    ctx.items["tools"].select(tab.paint, [parts.seen], outputs, **INSTANT)
    parts.tools.act(tab.choose, [parts.seen], [*outputs, parts.contents], **INSTANT)
    parts.form.edit(tab.edit, [parts.seen], outputs, **INSTANT)
    parts.form.act(tab.act, [parts.seen], [*outputs, parts.contents, ctx.timer], **QUIET)
    parts.done.act(tab.on_run, [parts.seen], [*outputs, parts.contents, ctx.timer], **QUIET)
    parts.drop.upload(tab.dropped, [parts.drop, parts.seen], [*outputs, parts.contents, parts.drop], **QUIET)


@dataclass
class _Tab:
    """The handlers."""

    ctx: UiContext

    def paint(self, seen: dict, wrong: dict[str, str] | None = None):
        """[seen, tools, form, done], only what changed."""
        home = self.ctx.home
        kept, found = self._kept(), bench.tools(home)
        chosen = next((t for t in found if t.id == kept.tool and t.module), None)
        runs = [self._done(run, found) for run in bench.history(home)]
        busy = any(r.status in ("running", "starting", "queued") for r in runs if chosen and r.tool == chosen.title)
        here = bench.named(home)
        if chosen is None:
            form = page.look(kept.file, here, (wrong or {}).get("@file", ""))
        else:
            form = page.form(chosen, bench.blank(chosen), kept.edits.get(chosen.id, {}), wrong or {}, bench.choices(home, chosen), here, busy)
        pieces = {"tools": page.choices(found, chosen.id if chosen else bench.LOOK), "form": form, "done": page.history(runs)}
        prints, values = changes({k: v for k, v in seen.items() if k in pieces}, pieces)
        return [{**prints, BUSY: busy}, *values]

    def tick(self, seen: dict):
        """A run went on.  The form is left alone while somebody types in it, unless its button changes."""
        now, tools, form, done = self.paint(seen)
        if now[BUSY] == seen.get(BUSY):
            form, now["form"] = gr.skip(), seen.get("form", now["form"])
        return [now, tools, form, done]

    def choose(self, seen: dict, event: gr.EventData):
        """Another tool."""
        self._change(lambda kept: kept.model_copy(update={"tool": str(event.id)}))
        return [*self.paint(seen), ""]

    def edit(self, seen: dict, event: gr.EventData):
        """A setting was left."""
        self._typed({str(event.field): str(event.value)})
        return self.paint(seen)

    def act(self, seen: dict, event: gr.EventData):
        """Start, look, or a setting back at its default."""
        self._typed(getattr(event, "fields", None) or {})
        if event.act == "look":
            return [*self._look(seen, self._kept().file), gr.skip()]
        if event.act == "reset":
            self._change(lambda kept: kept.model_copy(update={"edits": {**kept.edits, kept.tool: {k: v for k, v in kept.edits.get(kept.tool, {}).items() if k != str(event.field)}}}))
        if event.act != "start":
            return [*self.paint(seen), gr.skip(), gr.skip()]
        return self._start(seen)

    def _start(self, seen: dict):
        home, kept = self.ctx.home, self._kept()
        tool = next((t for t in bench.tools(home) if t.id == kept.tool and t.module), None)
        if tool is None:
            return [*self.paint(seen), gr.skip(), gr.skip()]
        config, wrong = bench.config_of(tool, kept.edits.get(tool.id, {}))
        if config is not None:
            try:
                self._check(config)
                supervisor.start_soon(lambda: bench.begin(home, config), home)
            except (ValueError, OSError) as error:
                wrong = {"": str(error)}
        return [*self.paint(_afresh(seen), wrong), gr.skip(), self.ctx.soon()]

    def _check(self, config) -> None:
        """Raises ValueError, before a run is made, for adapters on this computer that are not there or are none."""
        for source in (*([config.adapter] if hasattr(config, "adapter") else []), *(use.file for use in getattr(config, "adapters", ()))):
            if Path(source).expanduser().exists() or (self.ctx.home.outputs / source.partition("/")[0]).is_dir() or source.count("/") < 1:
                named(source, self.ctx.home)

    def _look(self, seen: dict, source: str):
        """[*outputs, contents] of a file that is looked into."""
        found, wrong = self._inspected(source)
        return [*self.paint(_afresh(seen) if wrong else seen, wrong), page.contents(found)]

    def _inspected(self, source: str) -> tuple[Contents | None, dict[str, str]]:
        if not source.strip():
            return None, {"@file": tr("name a file, or drop one on the left")}
        try:
            return inspect(named(source.strip(), self.ctx.home), self.ctx.home.plugins), {}
        except (ValueError, OSError) as error:
            return None, {"@file": str(error)}

    def dropped(self, upload: str | None, seen: dict):
        """A file was dropped: it is kept where tools find it, and looked into."""
        if not upload:
            return [*self.paint(seen), gr.skip(), gr.skip()]
        try:
            file = bench.bring(self.ctx.home, Path(upload))
        except (ValueError, OSError) as error:
            raise gr.Error(in_words(str(error)), print_exception=False) from None
        self._change(lambda kept: kept.model_copy(update={"tool": bench.LOOK, "file": str(file)}))
        return [*self._look(seen, str(file)), None]

    def on_run(self, seen: dict, event: gr.EventData):
        """Stop, end, delete a run, or look into its result."""
        try:
            run = Run.open(self.ctx.home.outputs, str(event.id))
            if event.act == "see":
                self._change(lambda kept: kept.model_copy(update={"tool": bench.LOOK, "file": run.id}))
                return [*self._look(seen, run.id), gr.skip()]
            {"stop": lambda: run.command("stop"), "kill": lambda: supervisor.kill(run), "delete": lambda: delete(run)}[str(event.act)]()
        except (ValueError, OSError, KeyError) as error:
            raise gr.Error(in_words(str(error)), print_exception=False) from None
        return [*self.paint(seen), gr.skip(), self.ctx.soon()]

    def _done(self, run: Run, tools: list[bench.Tool]) -> page.Done:
        view, status = self.ctx.watch.status(run)
        status = "starting" if supervisor.starting(run) else status
        busy = status in ("running", "starting", "queued")
        progress = views.progress(view, status) if busy else None
        result = result_of(run, view)
        if progress:
            text = tr("{doing}, {amount}", doing=progress.text, amount=progress.detail) if progress.detail else progress.text
        else:
            text = view.summary if status == "finished" else "" if status == "stopped" else run.why_numbered(view)
        file = result is not None and result.is_file()
        return page.Done(
            run.id, run.title, next((t.title for t in tools if t.id == run.kind), run.kind), status, text, progress.share if progress else None, tuple(view.warnings),
            media.file_url(self.ctx, run.id, "lora") if file else "", file, supervisor.kill_offered(run) if status == "running" else False,
            str(result) if result is not None and result.is_dir() and self.ctx.local else "",
        )  # fmt: skip

    def _kept(self) -> bench.Kept:
        return drafts.load(self.ctx.home, bench.DRAFT, bench.Kept)

    def _change(self, how) -> None:
        drafts.change(self.ctx.home, bench.DRAFT, bench.Kept, how)

    def _typed(self, fields: dict) -> None:
        """What stands in the boxes is kept."""
        for path, value in fields.items():
            if path == "@file":
                self._change(lambda kept, v=str(value): kept.model_copy(update={"file": v}))
            else:
                self._change(lambda kept, p=str(path), v=str(value): kept.model_copy(update={"edits": {**kept.edits, kept.tool: {**kept.edits.get(kept.tool, {}), p: v}}}))


def _afresh(seen: dict) -> dict:
    """What the browser shows, but for the form: that is sent again, whatever it says."""
    return {k: v for k, v in seen.items() if k != "form"}
