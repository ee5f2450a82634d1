"""Captions: what each picture shows, in words.  A captioner writes them as a job; people mend them in the grid."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from training.data import datasets, rereading
from training.data.captions import cut_captions, longest, split
from training.data.datasets import Dataset, Picture
from training.plan import hardware
from training.runs import supervisor
from training.runs.events import RunView
from training.runs.run import Run, create, list_runs

from ... import drafts, views
from ...server import client, media
from ...shell import INSTANT, QUIET, UiContext, heading
from ...words import in_words
from ..dataset import tiles
from ..train.missing import chosen, missing_html
from . import captioner, notes

TITLE = "Captions"
ALL, BARE, CUT = "ok", "no caption", "cut"
FILTERS = [("All captions", ALL), ("Without a caption", BARE), ("Longer than is read", CUT)]
FIRST_VIEW = {"page": 0, "query": "", "only": ALL}
GRID_JS = "easel.grid(element, (data) => trigger('act', data), watch, server)"
PATCH_JS = "watch('value', () => easel.patch(props.value))"
SHOWN_FAILED = 100
DRAFT = "captioner"
EMPTY = (
    '<div class="ez-empty"><h2>No pictures to caption</h2><p>Captions tell the model what it sees. Add some pictures first.</p>'
    '<button type="button" class="ez-btn ez-primary" data-tab="dataset">Add pictures</button></div>'
)
STATUS = {"done": ("ez-ok", "new"), "failed": ("ez-bad", "failed"), "skipped": ("", "")}


@dataclass
class Parts:
    """What the tab is made of."""

    missing: gr.HTML
    empty: gr.HTML
    body: gr.Row
    form: gr.HTML
    job: gr.HTML
    query: gr.Textbox
    only: gr.Dropdown
    undo: gr.Button
    cut: gr.HTML
    find: gr.Textbox
    replace: gr.Textbox
    swap: gr.Button
    front: gr.Textbox
    add_front: gr.Button
    behind: gr.Textbox
    add_behind: gr.Button
    grid: gr.HTML
    patch: gr.HTML
    view: gr.State
    seen: gr.State  # the print of the job that the page shows
    choice: gr.State  # the picture whose caption is to be read in another encoding; "" for all that were guessed


def build(ctx: UiContext) -> Parts:
    """The layout."""
    gr.HTML(heading("Captions", "What each picture shows, in words. A captioner writes them; mend what it got wrong."), apply_default_css=False)
    missing = gr.HTML(apply_default_css=False)
    empty = gr.HTML(EMPTY, apply_default_css=False, visible=False)
    with gr.Row(visible=False, elem_id="ez-cap") as body:
        with gr.Column(elem_id="ez-cap-side", min_width=0), gr.Column(elem_classes="ez-card"):
            gr.HTML('<h2 class="ez-subtitle">Write captions with</h2><button type="button" class="ez-btn ez-sheet-toggle" data-sheet="ez-cap-side" aria-expanded="false">Write captions with a model</button>', apply_default_css=False)
            form = gr.HTML(apply_default_css=False, js_on_load=client.BIND, elem_id="ez-captioner")
        with gr.Column(elem_id="ez-cap-main", min_width=0):
            job = gr.HTML(apply_default_css=False, js_on_load=client.BIND, elem_id="ez-caption-job")
            with gr.Row(elem_classes=["ez-row", "ez-tools"]):
                query = gr.Textbox(label="Search captions", show_label=False, container=False, placeholder="Search captions and names", max_lines=1, elem_classes="ez-grow")
                only = gr.Dropdown(FILTERS, value=ALL, label="Show", show_label=False, container=False, min_width=180, interactive=True)
                undo = gr.Button("Undo", visible=False, size="sm", elem_classes=["ez-quiet", "ez-fit"], min_width=0)
            cut = gr.HTML(apply_default_css=False, js_on_load=client.BIND)
            with gr.Accordion("Edit several captions at once", open=False, elem_classes="ez-fold"):
                with gr.Row(elem_classes="ez-row"):
                    find = gr.Textbox(label="Find", max_lines=1, elem_classes="ez-grow")
                    replace = gr.Textbox(label="Replace with", max_lines=1, elem_classes="ez-grow")
                    swap = gr.Button("Replace all", elem_classes="ez-fit", min_width=0)
                with gr.Row(elem_classes="ez-row"):
                    front = gr.Textbox(label="Put in front", max_lines=1, placeholder="a photo of ", elem_classes="ez-grow")
                    add_front = gr.Button("Add in front", elem_classes="ez-fit", min_width=0)
                    behind = gr.Textbox(label="Put behind", max_lines=1, placeholder=", soft light", elem_classes="ez-grow")
                    add_behind = gr.Button("Add behind", elem_classes="ez-fit", min_width=0)
            grid = gr.HTML(apply_default_css=False, js_on_load=GRID_JS, elem_id="ez-caption-grid", server_functions=[_saver(ctx)])
            patch = gr.HTML("", html_template="", apply_default_css=False, js_on_load=PATCH_JS, elem_id="ez-caption-patch")
    return Parts(
        missing, empty, body, form, job, query, only, undo, cut, find, replace, swap, front, add_front, behind, add_behind, grid, patch,
        gr.State(dict(FIRST_VIEW)), gr.State(""), gr.State(""),
    )  # fmt: skip


def wire(parts: Parts, ctx: UiContext) -> None:
    """The connections."""
    tab = _Tab(parts, ctx)
    asked = [ctx.dataset, parts.view]
    out = tab.outputs
    ctx.at_load(tab.show, asked, out)
    ctx.items["captions"].select(tab.show, asked, out, **QUIET)
    ctx.every_tick(tab.tick, [*asked, parts.seen], [parts.seen, parts.job, parts.patch, parts.form, parts.missing, parts.undo, parts.cut], tab="captions")
    gr.on([parts.query.change, parts.only.input], tab.search, [ctx.dataset, parts.query, parts.only], out, trigger_mode="always_last", **INSTANT)
    parts.grid.act(tab.turn, asked, out, **INSTANT)
    parts.cut.act(tab.note_act, asked, [*out, parts.only], **INSTANT)
    parts.cut.edit(tab.note_edit, [*asked, parts.choice], [parts.choice, *out], **INSTANT)
    parts.form.act(tab.form_act, asked, [ctx.timer, *out], **INSTANT)
    parts.form.edit(tab.edit, ctx.dataset, parts.form, **INSTANT)
    parts.job.act(tab.job_act, asked, [ctx.timer, *out], **QUIET)
    parts.undo.click(tab.undo, asked, out, **QUIET)
    parts.swap.click(tab.swap, [parts.find, parts.replace, *asked], out, **QUIET)
    gr.on([parts.add_front.click, parts.front.submit], tab.add_front, [parts.front, *asked], out, **QUIET)
    gr.on([parts.add_behind.click, parts.behind.submit], tab.add_behind, [parts.behind, *asked], out, **QUIET)


def _saver(ctx: UiContext):
    def save_caption(data: dict) -> dict:
        """Saves one caption the moment its box is left.  {text, chips, note} as saved, or {error}."""
        try:
            ds = datasets.open_dataset(ctx.home, str(data.get("dataset", "")))
            text = ds.set_caption(str(data.get("id", "")), str(data.get("text", ""))[: 2**20])
        except (ValueError, OSError) as error:
            return {"error": in_words(str(error))}
        return {"text": text, "chips": tiles.caption_chips(split(text, ds.lines), ("", "")), "note": tiles.source_note("typed" if text else "")}

    return save_caption


@dataclass
class _Tab:
    """The handlers."""

    parts: Parts
    ctx: UiContext

    @property
    def outputs(self) -> list:
        p = self.parts
        return [p.view, p.seen, p.missing, p.empty, p.body, p.form, p.job, p.undo, p.cut, p.grid, p.swap, p.add_front, p.add_behind]

    def show(self, name: str, view: dict, wrong: dict[str, str] | None = None):
        """The whole tab, as it is now."""
        home = self.ctx.home
        ds = chosen(home, name)
        if ds is None or not ds.counts().total:
            return [dict(FIRST_VIEW), "", missing_html(home, name, "captions"), gr.HTML(visible=True), gr.Row(visible=False), *[gr.skip()] * 8]
        pictures, total, view = _page_of(ds, view)
        run, run_view, status = self._job(ds)
        grid = self._grid(ds, pictures, total, view, _items(run_view))
        return [
            view, _print(run, status, run_view), missing_html(home, name, "captions"), gr.HTML(visible=False), gr.Row(visible=True),
            self._form(ds, status, wrong or {}), job_html(run, run_view, status), _undo_button(ds), _cut_html(ds), grid, *_bulk_buttons(ds, view),
        ]  # fmt: skip

    def _grid(self, ds: Dataset, pictures: list[Picture], total: int, view: dict, items: dict) -> str:
        if not total:
            return '<div class="ez-empty"><h2>Nothing matches</h2><p>No caption fits this search.</p></div>'
        made = [
            tiles.caption_tile(
                p, lambda p: media.thumb_url(self.ctx, ds.name, p.id, p.sha256), lambda p: media.picture_url(self.ctx, ds.name, p.id, p.sha256), _chip(items, p)
            )
            for p in pictures
        ]
        return f'<div data-dataset="{escape(ds.name, quote=True)}">{tiles.page(made, view["page"], total, "ez-captions")}</div>'

    def _job(self, ds: Dataset) -> tuple[Run | None, RunView, str]:
        """The newest captioning run of a dataset, its view and status."""
        names = {ds.name, str(ds.path)}
        for run in list_runs(self.ctx.home.outputs, {"caption"}):
            if run.job().get("dataset") in names:
                view, status = self.ctx.watch.status(run)
                return run, view, "starting" if supervisor.starting(run) else status
        return None, RunView(), ""

    def tick(self, name: str, view: dict, seen: str):
        """The job went on: its panel, and the tiles that it wrote, without disturbing who types."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return gr.skip()
        run, run_view, status = self._job(ds)
        now = _print(run, status, run_view)
        if now == seen:
            return gr.skip()
        pictures, _, _ = _page_of(ds, view)
        return [
            now, job_html(run, run_view, status), _patch(ds, pictures, _items(run_view)),
            gr.skip() if _busy(status) == seen.startswith("busy") else self._form(ds, status, {}), missing_html(self.ctx.home, name, "captions"),
            _undo_button(ds), _cut_html(ds),
        ]  # fmt: skip

    def search(self, name: str, query: str, only: str):
        """Something was typed or filtered."""
        return self.show(name, {"page": 0, "query": query or "", "only": only or ALL})

    def turn(self, name: str, view: dict, event: gr.EventData):
        """Another page of the grid; or a caption was saved there, which changes what there is to undo and what is missing."""
        if event.act == "saved":
            values, ds = [gr.skip()] * len(self.outputs), chosen(self.ctx.home, name)
            if ds:
                values[2], values[7], values[8] = missing_html(self.ctx.home, name, "captions"), _undo_button(ds), _cut_html(ds)
                values[10:] = _bulk_buttons(ds, view)
            return values
        return self.show(name, {**view, "page": int(event.page)})

    def note_act(self, name: str, view: dict, event: gr.EventData):
        """Only the captions that are too long."""
        return [*self.show(name, {"page": 0, "query": "", "only": CUT}), CUT]

    def note_edit(self, name: str, view: dict, which: str, event: gr.EventData):
        """How lines are read, which captions are to be read in another encoding, or that encoding was chosen."""
        ds, field, value = chosen(self.ctx.home, name), str(event.field), str(event.value)
        if field == notes.WHICH:
            return [value, *[gr.skip()] * len(self.outputs)]
        if ds and field == notes.LINES:
            _said(lambda: ds.set_lines(value))
        elif ds and field == notes.ENCODING:
            changed = _said(lambda: rereading.reread(ds, value, [which] if which else []))
            gr.Info(f"{views.count(changed, 'caption')} read again.", duration=4)
        return ["", *self.show(name, view)]

    def _kept(self, how=lambda kept: kept) -> captioner.Kept:
        """What the form holds, after `how`."""
        return drafts.change(self.ctx.home, DRAFT, captioner.Kept, how)

    def _now(self) -> captioner.Settings:
        return captioner.complete(drafts.load(self.ctx.home, DRAFT, captioner.Kept), captioner.plugins(self.ctx.home))

    def _form(self, ds: Dataset, status: str, wrong: dict[str, str]) -> str:
        return captioner.render(self.ctx.home, self._now(), wrong, _busy(status))

    def form_act(self, name: str, view: dict, event: gr.EventData):
        """A captioner or a mode was chosen, an option reset, or Start pressed."""
        id = self._now().captioner
        for path, value in (getattr(event, "fields", None) or {}).items():
            self._kept(lambda kept, p=str(path), v=str(value): captioner.edited(kept, id, p, v))
        if event.act == "start":
            return self.start(name, view)
        if event.act in ("captioner", "mode"):
            self._kept(lambda kept: kept.model_copy(update={event.act: str(event.id)}))
        elif event.act == "reset":
            self._kept(lambda kept: captioner.reset(kept, id, str(event.field)))
        return [gr.skip(), *self._only_form(name)]

    def _only_form(self, name: str) -> list:
        values = [gr.skip()] * len(self.outputs)
        values[5] = self.edited_form(name)
        return values

    def edit(self, name: str, event: gr.EventData):
        """A field was changed."""
        id = self._now().captioner
        self._kept(lambda kept: captioner.edited(kept, id, str(event.field), str(event.value)))
        return self.edited_form(name)

    def edited_form(self, name: str) -> str:
        """The form after a change, with what is wrong beside its field; what concerns the whole waits for Start."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return ""
        wrong = captioner.job(self.ctx.home, ds, self._now(), "cpu")[1]
        return self._form(ds, self._job(ds)[2], {k: v for k, v in wrong.items() if k})

    def start(self, name: str, view: dict):
        """A captioning run begins, or the form says what is wrong."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return [gr.skip(), *self.show(name, view)]
        config, wrong = captioner.job(self.ctx.home, ds, self._now(), hardware.machine(self.ctx.home.root).device)
        if config is None:
            return [gr.skip(), *self.show(name, view, wrong)]
        run, _, status = self._job(ds)
        if _busy(status):
            return [gr.skip(), *self.show(name, view, {"": f"'{run.title}' is still going; stop it first"})]
        if kept_out := supervisor.no_accelerator():
            return [gr.skip(), *self.show(name, view, {"": kept_out})]
        try:
            create(self.ctx.home.outputs, config)  # the app's queue starts it within a second
        except (ValueError, OSError) as error:
            return [gr.skip(), *self.show(name, view, {"": str(error)})]
        return [self.ctx.soon(), *self.show(name, view)]

    def job_act(self, name: str, view: dict, event: gr.EventData):
        """Stop, resume or end the job."""
        ds = chosen(self.ctx.home, name)
        run = self._job(ds)[0] if ds else None
        if run is not None:
            try:
                if event.act == "stop":
                    run.command("stop")
                elif event.act == "resume":
                    supervisor.start_soon(run, self.ctx.home)
                elif event.act == "kill":
                    supervisor.kill(run)
            except (ValueError, OSError) as error:
                raise gr.Error(in_words(str(error)), print_exception=False) from None
        return [self.ctx.soon(), *self.show(name, view)]

    def undo(self, name: str, view: dict):
        """The newest change is taken back."""
        ds = chosen(self.ctx.home, name)
        if ds:
            said = _said(ds.undo)
            gr.Info(f"{said[:1].upper()}{said[1:]}." if said else "There is nothing to undo.", duration=4)
        return self.show(name, view)

    def swap(self, find: str, replace: str, name: str, view: dict):
        """Find and replace in the captions that are shown."""
        return self._bulk(name, view, lambda ds, ids: ds.find_replace(find or "", replace or "", ids))

    def add_front(self, text: str, name: str, view: dict):
        """A text in front of the captions that are shown."""
        return self._bulk(name, view, lambda ds, ids: ds.prefix(text or "", ids))

    def add_behind(self, text: str, name: str, view: dict):
        """A text behind the captions that are shown."""
        return self._bulk(name, view, lambda ds, ids: ds.suffix(text or "", ids))

    def _bulk(self, name: str, view: dict, work):
        ds = chosen(self.ctx.home, name)
        if ds:
            changed = _said(lambda: work(ds, shown_ids(ds, view)))
            gr.Info(f"{views.count(changed, 'caption')} changed." if changed else "No caption was changed.", duration=4)
        return self.show(name, view)


def _said(work) -> Any:
    """What work() gives back; its ValueError as a message on the page."""
    try:
        return work()
    except ValueError as error:
        raise gr.Error(in_words(str(error)), print_exception=False) from None


def _page_of(ds: Dataset, view: dict) -> tuple[list[Picture], int, dict]:
    """(pictures, how many match, the view with a page that exists)."""
    number, size = max(0, int(view["page"])), tiles.PER_PAGE
    if view["only"] == CUT:
        long = _too_long(ds)
        pictures, total = long[number * size : (number + 1) * size], len(long)
    else:
        pictures, total = ds.page(number * size, size, view["query"], view["only"])
    if number > (last := tiles.pages(total) - 1):
        return _page_of(ds, {**view, "page": last})
    return pictures, total, view


def shown_ids(ds: Dataset, view: dict) -> list[str]:
    """The pictures that the search and the filter show, on all pages, and that have a caption: what an edit of several changes."""
    if view["only"] == CUT:
        return [p.id for p in _too_long(ds)]
    wanted = set(ds.matching(view["query"], view["only"]))
    return [p.id for p in ds.pictures(check=False) if p.usable and p.caption and p.id in wanted]


def _bulk_buttons(ds: Dataset, view: dict) -> list:
    """The three buttons of the edit of several, each with how many captions it reaches."""
    number = len(shown_ids(ds, view))
    of = f"in {views.count(number, 'caption')}" if number else "in no caption"
    return [gr.Button(f"{word} {of}", interactive=bool(number)) for word in ("Replace", "Add in front", "Add behind")]


def _too_long(ds: Dataset) -> list[Picture]:
    pictures = [p for p in ds.pictures(check=False) if p.usable]
    return [pictures[i] for i, _ in cut_captions(longest(p.captions) for p in pictures)]


def _items(view: RunView) -> dict[str, tuple[str, str]]:
    """{picture: (status, text)} of the newest attempt at each."""
    return {id: (status, text) for id, status, text in view.items}


def _chip(items: dict, picture: Picture) -> tuple[str, str]:
    """(class, word) for a tile: what the captioner did with it, while that is still what stands there."""
    status, text = items.get(picture.id, ("", ""))
    if status == "done" and text != picture.caption:
        return "", ""
    return STATUS.get(status, ("", ""))


def _print(run: Run | None, status: str, view: RunView) -> str:
    return f"{'busy' if _busy(status) else 'idle'}:{run.id}:{status}:{view.attempt}:{len(view.items)}:{view.phase}:{view.phase_done:.0f}:{supervisor.kill_offered(run)}" if run else ""


def _patch(ds: Dataset, pictures: list[Picture], items: dict) -> str:
    rows = {p.id: {"text": p.caption, "chips": tiles.caption_chips(p.captions, _chip(items, p)), "note": tiles.caption_note(p)} for p in pictures}
    return json.dumps({"dataset": ds.name, "rows": rows})


def _busy(status: str) -> bool:
    return status in ("running", "queued", "starting")


def _undo_button(ds: Dataset):
    undo = ds.can_undo()
    return gr.Button(f"Undo {undo}" if undo else "Undo", visible=bool(undo))


def _cut_html(ds: Dataset) -> str:
    """What to know of the captions as a whole."""
    return notes.cut_html(len(_too_long(ds))) + notes.lines_html(ds) + notes.encodings_html(rereading.guessed(ds))


def job_html(run: Run | None, view: RunView, status: str) -> str:
    """The panel of the newest captioning run."""
    if run is None:
        return ""
    done = _items(view)
    failed = [(id, text) for id, (state, text) in done.items() if state == "failed"]
    if _busy(status):
        progress = views.progress(view, status)
        bar = '<div class="ez-bar ez-busy"><i></i></div>' if progress.share is None else f'<div class="ez-bar"><i style="width:{100 * progress.share:.1f}%"></i></div>'
        stuck = '<button type="button" class="ez-btn ez-danger" data-act="kill">End it now</button>' if supervisor.kill_offered(run) else ""
        inside = (
            f'<div class="ez-spread"><b>{escape(progress.text)}</b>{views.chip(status)}</div>{bar}<div class="ez-spread"><span class="ez-muted ez-small ez-num">'
            f'{escape(progress.detail)}</span><span class="ez-row">{stuck}<button type="button" class="ez-btn" data-act="stop">Stop</button></span></div>'
        )
    else:
        said = {"finished": view.summary, "stopped": "What was written is saved."}.get(status) or run.why()
        again = '<button type="button" class="ez-btn" data-act="resume">Go on</button>' if status in views.RESUMABLE else ""
        inside = f'<div class="ez-spread"><b>Last captioning</b>{views.chip(status)}</div><p>{escape(in_words(said))}</p>{again}'
    rows = "".join(f"<tr><td>{escape(id)}</td><td>{escape(text)}</td></tr>" for id, text in failed[:SHOWN_FAILED])
    table = f'<details data-key="caption-failed"><summary>{views.count(len(failed), "picture")} failed</summary><div class="ez-scroll"><table class="ez-table"><tbody>{rows}</tbody></table></div></details>' if failed else ""
    return f'<div class="ez-card ez-job" role="status">{inside}{table}</div>'
