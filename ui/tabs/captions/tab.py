"""Captions: what each picture shows, in words.  A captioner writes them as a job; people mend them in the grid."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from training.data import datasets, rereading, rewriting
from training.data.captions import split
from training.data.datasets import Dataset, Picture
from training.data.tags import Count, counts
from training.data.tally import Tally, tally
from training.data.timed import is_timed
from training.plan import hardware
from training.runs import supervisor
from training.runs.events import RunView
from training.runs.run import Run, create, list_runs

from ... import counted, drafts, turns, views
from ...language import N_, sentence_end, tr, trc, trn
from ...language.heard import heard
from ...server import client, media
from ...shell import INSTANT, QUIET, UiContext, heading
from ...words import in_words
from ..dataset import befores, tiles
from ..train.draft import FORM, Draft
from ..train.missing import chosen, missing_html
from . import captioner, editing, notes, panel, tried
from .scope import ALL, CUT, FILTERS, FIRST_VIEW, matching, reached, tagged, to_caption

TITLE = N_("Captions")
GRID_JS = "easel.grid(element, (data) => trigger('act', data), watch, server)"
PATCH_JS = "watch('value', () => easel.patch(props.value))"
SHOWN_FAILED = 100
DRAFT = "captioner"
SUMMARY = re.compile(r"(\d+) (captioned|tried, nothing written)(?:, (\d+) had one already)?(?:, (\d+) failed)?")  # as the job writes it (training/jobs/caption.py)


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
    panel: gr.HTML
    find: gr.Textbox
    replace: gr.Textbox
    pattern: gr.Checkbox
    case: gr.Checkbox
    try_out: gr.Button
    swap: gr.Button
    preview: gr.HTML
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
    gr.HTML(heading(tr("Captions"), tr("What each picture shows, in words. A captioner writes them; mend what it got wrong.")), apply_default_css=False)
    missing = gr.HTML(apply_default_css=False)
    empty = gr.HTML(_empty(), apply_default_css=False, visible=False)
    with gr.Row(visible=False, elem_id="ez-cap") as body:
        with gr.Column(elem_id="ez-cap-side", min_width=0), gr.Column(elem_classes="ez-card"):
            gr.HTML(_above_the_form(), apply_default_css=False)
            form = gr.HTML(apply_default_css=False, js_on_load=client.BIND, elem_id="ez-captioner")
        with gr.Column(elem_id="ez-cap-main", min_width=0):
            job = gr.HTML(apply_default_css=False, js_on_load=client.BIND, elem_id="ez-caption-job")
            with gr.Row(elem_classes=["ez-row", "ez-tools"]):
                query = gr.Textbox(label=tr("Search captions"), show_label=False, container=False, placeholder=tr("Search captions and names"), max_lines=1, elem_classes="ez-grow")
                only = gr.Dropdown([(tr(text), only) for only, text in FILTERS.items()], value=ALL, label=tr("Show"), show_label=False, container=False, min_width=180, interactive=True)
                undo = gr.Button(tr("Undo"), visible=False, size="sm", elem_classes=["ez-quiet", "ez-fit"], min_width=0)
            cut = gr.HTML(apply_default_css=False, js_on_load=client.BIND)
            card = gr.HTML(apply_default_css=False, js_on_load=client.BIND, elem_id="ez-caption-tags")
            with gr.Accordion(tr("Edit several captions at once"), open=False, elem_classes="ez-fold"):
                with gr.Row(elem_classes="ez-row"):
                    find = gr.Textbox(label=tr("Find"), max_lines=1, elem_classes="ez-grow")
                    replace = gr.Textbox(label=tr("Replace with"), max_lines=1, elem_classes="ez-grow")
                with gr.Row(elem_classes="ez-row"):
                    pattern = gr.Checkbox(label=tr("Regular expression"), container=False, min_width=0, elem_classes="ez-fit", elem_id="ez-find-pattern")
                    case = gr.Checkbox(True, label=tr("Match case"), container=False, min_width=0, elem_classes="ez-fit")
                    try_out = gr.Button(tr("Preview"), elem_classes="ez-fit", min_width=0)
                    swap = gr.Button(tr("Replace all"), elem_classes="ez-fit", min_width=0)
                preview = gr.HTML(apply_default_css=False, elem_id="ez-find-preview")
                with gr.Row(elem_classes="ez-ends"):
                    front = gr.Textbox(label=tr("Put in front"), max_lines=1, placeholder="a photo of ", elem_classes="ez-grow", min_width=0)
                    add_front = gr.Button(tr("Add in front"), elem_classes="ez-fit", min_width=0)
                    behind = gr.Textbox(label=tr("Put behind"), max_lines=1, placeholder=", soft light", elem_classes="ez-grow", min_width=0)
                    add_behind = gr.Button(tr("Add behind"), elem_classes="ez-fit", min_width=0)
            grid = gr.HTML(apply_default_css=False, js_on_load=GRID_JS, elem_id="ez-caption-grid", server_functions=[_saver(ctx)])
            patch = gr.HTML("", html_template="", apply_default_css=False, js_on_load=PATCH_JS, elem_id="ez-caption-patch")
    return Parts(
        missing, empty, body, form, job, query, only, undo, cut, card, find, replace, pattern, case, try_out, swap, preview, front, add_front, behind, add_behind, grid, patch,
        gr.State(dict(FIRST_VIEW)), gr.State(""), gr.State(""),
    )  # fmt: skip


def wire(parts: Parts, ctx: UiContext) -> None:
    """The connections."""
    tab = _Tab(parts, ctx)
    asked = [ctx.dataset, parts.view]
    out = tab.outputs
    ctx.at_load(tab.show, asked, out, tab="captions")
    ctx.items["captions"].select(tab.show, asked, out, **QUIET)
    ctx.every_tick(tab.tick, [*asked, parts.seen], [parts.seen, parts.job, parts.patch, parts.form, parts.missing, parts.undo, parts.cut], tab="captions")
    gr.on([parts.query.change, parts.only.input], tab.search, [*asked, parts.query, parts.only], out, trigger_mode="always_last", **INSTANT)
    parts.grid.act(tab.turn, asked, out, **INSTANT)
    parts.panel.act(tab.panel_act, asked, [*out, parts.only, parts.query], **QUIET)
    parts.panel.edit(tab.panel_edit, asked, out, **INSTANT)
    looked_for = [parts.find, parts.replace, parts.pattern, parts.case]
    parts.try_out.click(tab.try_out, [*looked_for, *asked], parts.preview, **QUIET)
    gr.on([c.change for c in looked_for], lambda: "", None, parts.preview, **INSTANT)
    parts.cut.act(tab.note_act, asked, [*out, parts.only], **INSTANT)
    parts.cut.edit(tab.note_edit, [*asked, parts.choice], [parts.choice, *out], **INSTANT)
    parts.form.act(tab.form_act, asked, [ctx.timer, *out], **INSTANT)
    parts.form.edit(tab.edit, asked, parts.form, **INSTANT)
    parts.job.act(tab.job_act, asked, [ctx.timer, *out], **QUIET)
    parts.undo.click(tab.undo, asked, out, **QUIET)
    parts.swap.click(tab.swap, [*looked_for, parts.swap, *asked], [parts.preview, *out], **QUIET)
    gr.on([parts.add_front.click, parts.front.submit], tab.add_front, [parts.front, parts.add_front, *asked], out, **QUIET)
    gr.on([parts.add_behind.click, parts.behind.submit], tab.add_behind, [parts.behind, parts.add_behind, *asked], out, **QUIET)


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
        return [p.view, p.seen, p.missing, p.empty, p.body, p.form, p.job, p.undo, p.cut, p.grid, p.swap, p.add_front, p.add_behind, p.panel]

    def show(self, name: str, view: dict, change: dict | None = None, wrong: dict[str, str] | None = None):
        """The whole tab, as it is now.  change: what is looked at from now on."""
        turn = turns.begin(view, editing.plain(view) | (change or {}))
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return self._nothing(name, view)
        with ds.one_look():
            made = self._shown(ds, name, view, wrong or {})
        return made if turns.newest(view, turn) else [gr.skip()] * len(self.outputs)

    def _nothing(self, name: str, view: dict) -> list:
        view.update(FIRST_VIEW)
        return [view, "", missing_html(self.ctx.home, name, "captions"), gr.HTML(visible=True), gr.Row(visible=False), *[gr.skip()] * 9]

    def _shown(self, ds: Dataset, name: str, view: dict, wrong: dict[str, str]) -> list:
        look = self._look(ds, view)
        if not look.pictures:
            return self._nothing(name, view)
        run, run_view, status = self._job(ds)
        return [
            view, _print(run, status, run_view), missing_html(self.ctx.home, name, "captions"), gr.HTML(visible=False), gr.Row(visible=True),
            self._form(status, wrong, look), self._job_panel(ds, look, run, run_view, status), _undo_button(ds), _cut_html(ds, look.told),
            self._grid(ds, look, _items(run_view)), *_bulk_buttons(look), self._card(ds, look),
        ]  # fmt: skip

    def _trigger(self, ds: Dataset) -> str:
        """The trigger word that the Train form has for its pictures."""
        return drafts.load(self.ctx.home, FORM, Draft).word_of(ds.name)

    def _look(self, ds: Dataset, view: dict) -> Look:
        """What is to be seen; written into the view: a page that exists, and the selected that are there."""
        before = {key: view[key] for key in ("page", "picks")}
        look = look_at(ds, view, self._trigger(ds))
        view.update({key: look.view[key] for key, value in before.items() if view[key] is value})  # unless it was changed meanwhile
        return look

    def _card(self, ds: Dataset, look: Look) -> str:
        among = reached(look.matches, look.view, look.pictures)
        return panel.card(look.told, look.tags, look.view, len(look.reach), len(tagged(among, look.view["tags"], True)) if look.view["tags"] else 0, self._trigger(ds))

    def _grid(self, ds: Dataset, look: Look, items: dict) -> str:
        total, view, picks = len(look.shown), look.view, set(look.view["picks"])
        if not total:
            return f'<div class="ez-empty"><h2>{escape(tr("Nothing matches"))}</h2><p>{escape(tr("No caption fits this search."))}</p></div>'
        made = [
            tiles.caption_tile(
                p, lambda p: media.thumb_url(self.ctx, ds.name, p.id, p.sha256, p.treatment.view), lambda p: media.picture_url(self.ctx, ds.name, p.id, p.sha256), _chip(items, p), p.id in picks, befores.addresses(self.ctx, ds, p)
            )
            for p in look.page
        ]
        return f'<div data-dataset="{escape(ds.name, quote=True)}">{_picks_bar(look)}{tiles.page(made, view["page"], total, "ez-captions")}</div>'

    def _job(self, ds: Dataset) -> tuple[Run | None, RunView, str]:
        """The newest captioning run of a dataset, its view and status."""
        names, settled, closed = {ds.name, str(ds.path)}, self._kept_now().settled, False
        for run in list_runs(self.ctx.home.outputs, {"caption"}):  # the newest first
            if run.job().get("dataset") in names:
                closed = closed or run.id == settled
                if closed and tried.is_trial(run):
                    continue
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
        with ds.one_look():
            return self._went_on(ds, editing.plain(view), seen, now, run, run_view, status)

    def _went_on(self, ds: Dataset, view: dict, seen: str, now: str, run: Run | None, run_view: RunView, status: str) -> list:
        look = self._look(ds, view)
        return [
            now, self._job_panel(ds, look, run, run_view, status), _patch(ds, look.page, _items(run_view)),
            gr.skip() if _busy(status) == seen.startswith("busy") else self._form(status, {}, look), missing_html(self.ctx.home, ds.name, "captions"),
            _undo_button(ds), _cut_html(ds, look.told),
        ]  # fmt: skip

    def search(self, name: str, view: dict, query: str, only: str):
        """Something was typed or filtered."""
        return self.show(name, view, {"page": 0, "query": query or "", "only": only or ALL})

    def turn(self, name: str, view: dict, event: gr.EventData):
        """Another page of the grid; a caption was saved there, or pictures selected, which changes what there is to undo, missing or reached."""
        act = str(event.act)
        view.update(editing.plain(view))
        ds = chosen(self.ctx.home, name)
        if ds is None or act == "page":
            return self.show(name, view, {"page": int(event.page)})
        if act in ("clear", "matching"):
            return self.show(name, view, {"picks": [p.id for p in self._look(ds, view).shown] if act == "matching" else []})
        if act == "pick":
            there = set(map(str, event.shown))
            view["picks"] = [id for id in view["picks"] if id not in there] + list(map(str, event.ids))
        with ds.one_look():
            return self._beside_the_grid(ds, view)

    def _beside_the_grid(self, ds: Dataset, view: dict) -> list:
        """All but the grid, which somebody is at work in."""
        turn = turns.now(view)
        look, values = self._look(ds, view), [gr.skip()] * len(self.outputs)
        if not turns.newest(view, turn):
            return values
        values[0], values[2], values[7], values[8] = view, missing_html(self.ctx.home, ds.name, "captions"), _undo_button(ds), _cut_html(ds, look.told)
        run, run_view, status = self._job(ds)
        values[5], values[6] = self._form(status, {}, look), self._job_panel(ds, look, run, run_view, status)
        values[10:] = [*_bulk_buttons(look), self._card(ds, look)]
        return values

    def panel_act(self, name: str, view: dict, event: gr.EventData):
        """A tag was chosen, a number pressed, or captions changed by their tags."""
        act, ds = str(event.act), chosen(self.ctx.home, name)
        view.update(editing.plain(view))
        if ds is None:
            return [*self.show(name, view), gr.skip(), gr.skip()]
        if act in editing.VIEWS:
            change = editing.looked(view, act, event)
            box = (change["only"], change["query"]) if act in editing.SEARCHES else (gr.skip(), gr.skip())
            return [*self.show(name, view, change), *box]
        value = str(getattr(event, "value", "") or "")
        with ds.one_look():
            look = self._look(ds, view)
            whom = reached(look.matches, view, look.pictures) if act in ("rename", "untagged") else look.reach
            reach = len(tagged(whom, view["tags"], True)) if act in ("rename", "untagged") else len(whom)
        if str(getattr(event, "of", "")) != str(reach):
            _tell_other(trn("{n} caption", "{n} captions", int(getattr(event, "of", 0))), reach)
            return [*self.show(name, view), gr.skip(), gr.skip()]
        before = list(view["tags"])
        number = _said(lambda: editing.changed(ds, act, value, view, look.told, self._trigger(ds), [p.id for p in whom]))
        _tell(number)
        return [*self.show(name, view, editing.after(view, act, value, before) if number else None), gr.skip(), gr.skip()]

    def panel_edit(self, name: str, view: dict, event: gr.EventData):
        """A tag is looked for."""
        return self.show(name, view, {"find": str(event.value)[:200]})

    def note_act(self, name: str, view: dict, event: gr.EventData):
        """Only the captions that are too long."""
        return [*self.show(name, view, {"page": 0, "query": "", "only": CUT, "tags": []}), CUT]

    def note_edit(self, name: str, view: dict, which: str, event: gr.EventData):
        """How lines are read, which captions are to be read in another encoding, or that encoding was chosen."""
        ds, field, value = chosen(self.ctx.home, name), str(event.field), str(event.value)
        if field == notes.WHICH:
            return [value, *[gr.skip()] * len(self.outputs)]
        if ds and field == notes.LINES:
            _said(lambda: ds.set_lines(value))
        elif ds and field == notes.ENCODING:
            changed = _said(lambda: rereading.reread(ds, value, [which] if which else []))
            gr.Info(trn("{n} caption read again.", "{n} captions read again.", changed), duration=4)
        return ["", *self.show(name, view)]

    def _kept(self, how=lambda kept: kept) -> captioner.Kept:
        """What the form holds, after `how`."""
        return drafts.change(self.ctx.home, DRAFT, captioner.Kept, how)

    def _kept_now(self) -> captioner.Kept:
        return drafts.load(self.ctx.home, DRAFT, captioner.Kept)

    def _now(self) -> captioner.Settings:
        return captioner.complete(self._kept_now(), captioner.plugins(self.ctx.home))

    def _form(self, status: str, wrong: dict[str, str], look: Look) -> str:
        whom = to_caption(look.shown, look.view, look.pictures)
        return captioner.render(self.ctx.home, self._now(), wrong, _busy(status), whom.said, whom.mark)

    def _job_panel(self, ds: Dataset, look: Look, run: Run | None, view: RunView, status: str) -> str:
        """The newest captioning; of a trial what it would write."""
        if run is None or not tried.is_trial(run) or _busy(status) or not tried.proposals(_items(view)):
            return job_html(run, view, status)
        start = tried.go(to_caption(look.shown, look.view, look.pictures), self._now().mode == "missing")
        return tried.card(run, {p.id: p for p in look.pictures}, _items(view), lambda p: media.thumb_url(self.ctx, ds.name, p.id, p.sha256, p.treatment.view), start)

    def form_act(self, name: str, view: dict, event: gr.EventData):
        """A captioner or a mode was chosen, an option reset, or Start pressed."""
        id = self._now().captioner
        for path, value in (getattr(event, "fields", None) or {}).items():
            self._kept(lambda kept, p=str(path), v=str(value): captioner.edited(kept, id, p, v))
        if event.act in ("start", "try"):
            return self.start(name, view, trial=event.act == "try", said=str(getattr(event, "reach", "")))
        if event.act in ("captioner", "mode", "place"):
            self._kept(lambda kept: kept.model_copy(update={event.act: str(event.id)}))
        elif event.act == "reset":
            self._kept(lambda kept: captioner.reset(kept, id, str(event.field)))
        return [gr.skip(), *self._form_and_job(name, view)]

    def _form_and_job(self, name: str, view: dict) -> list:
        """The form, and the card of a trial, whose button says whom a start reaches."""
        values = [gr.skip()] * len(self.outputs)
        ds = chosen(self.ctx.home, name)
        if ds:
            with ds.one_look():
                values[5], values[6] = self.edited_form(name, view), self._job_panel(ds, self._look(ds, editing.plain(view)), *self._job(ds))
        return values

    def edit(self, name: str, view: dict, event: gr.EventData):
        """A field was changed."""
        id = self._now().captioner
        self._kept(lambda kept: captioner.edited(kept, id, str(event.field), str(event.value)))
        return self.edited_form(name, view)

    def edited_form(self, name: str, view: dict) -> str:
        """The form after a change, with what is wrong beside its field; what concerns the whole waits for Start."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return ""
        wrong = captioner.job(self.ctx.home, ds, self._now(), "cpu")[1]
        with ds.one_look():
            return self._form(self._job(ds)[2], {k: v for k, v in wrong.items() if k}, self._look(ds, editing.plain(view)))

    def start(self, name: str, view: dict, trial: bool = False, said: str | None = None):
        """A captioning run begins, or the form says what is wrong.  trial: on a few, and nothing is written.  said: the mark of whom the page said it reaches; None for wherever it did not."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return [gr.skip(), *self.show(name, view)]
        pictures, why = self._whom(ds, editing.plain(view), trial, said)
        if why:
            return [gr.skip(), *self.show(name, view, wrong={"": why})]
        config, wrong = captioner.job(self.ctx.home, ds, self._now(), hardware.machine(self.ctx.home.root).device, pictures, trial)
        if config is None:
            return [gr.skip(), *self.show(name, view, wrong=wrong)]
        run, _, status = self._job(ds)
        if _busy(status):
            return [gr.skip(), *self.show(name, view, wrong={"": tr("'{title}' is still going; stop it first.", title=run.title)})]
        if kept_out := supervisor.no_accelerator():
            return [gr.skip(), *self.show(name, view, wrong={"": kept_out})]
        try:
            create(self.ctx.home.outputs, config)  # the app's queue starts it within a second
        except (ValueError, OSError) as error:
            return [gr.skip(), *self.show(name, view, wrong={"": str(error)})]
        return [self.ctx.soon(), *self.show(name, view)]

    def _whom(self, ds: Dataset, view: dict, trial: bool, said: str | None) -> tuple[list[str], str]:
        """(names of the pictures that are captioned, [] for all; why there are none, or "")."""
        look = self._look(ds, view)
        whom = to_caption(look.shown, look.view, look.pictures)
        among = whom.pictures
        if said is not None and said != whom.mark:
            return [], tr("By now it would reach other pictures than the page said; look again, and press again.")
        if not (trial or whom.how):
            return [], ""
        if self._now().mode == "missing":
            left = [p for p in among if not p.caption]
            if among and not left:
                return [], trn(
                    "The selected picture has a caption already; choose {anew} or {beside}, to caption it again.",
                    "These {n} pictures have a caption already; choose {anew} or {beside}, to caption them again.", len(among), anew=captioner.mode_name("overwrite"), beside=captioner.mode_name("append"),
                )  # fmt: skip
            among = left
        if not among:
            return [], tr("No picture is shown, so there is none to caption; clear the search first.")
        return [p.id for p in among[: tried.COUNT if trial else None]], ""

    def _tried_act(self, ds: Dataset, run: Run, act: str, id: str) -> None:
        """A proposal was accepted, or the trial is done with."""
        if act == tried.ACCEPTED:
            _tell(tried.accept(ds, run, _items(self.ctx.watch.status(run)[0]), id))
        else:
            self._kept(lambda kept: kept.model_copy(update={"settled": run.id}))

    def job_act(self, name: str, view: dict, event: gr.EventData):
        """Stop, resume or end the job; of a trial, what becomes of it."""
        ds = chosen(self.ctx.home, name)
        run = self._job(ds)[0] if ds else None
        if event.act == "go":
            made = self.start(name, view, said=str(getattr(event, "reach", "")))
            if run and self._job(ds)[0].id != run.id:  # where nothing began, the trial stays to be seen
                self._tried_act(ds, run, "go", "")
            return made
        if run is not None:
            try:
                if event.act == "stop":
                    run.command("stop")
                elif event.act == "resume":
                    supervisor.start_soon(run, self.ctx.home)
                elif event.act == "kill":
                    supervisor.kill(run)
                elif tried.is_trial(run):
                    self._tried_act(ds, run, str(event.act), str(getattr(event, "id", "") or ""))
            except (ValueError, OSError) as error:
                raise gr.Error(in_words(str(error)), print_exception=False) from None
        return [self.ctx.soon(), *self.show(name, view)]

    def undo(self, name: str, view: dict):
        """The newest change is taken back."""
        ds = chosen(self.ctx.home, name)
        if ds:
            self.ctx.parts["dataset"].imports.at_rest(ds.name)  # it would take the newest step back, which an import is just making
            gr.Info(counted.undone(_said(ds.undo)), duration=4)
        return self.show(name, view)

    def try_out(self, find: str, replace: str, pattern: bool, case: bool, name: str, view: dict) -> str:
        """What a find and replace would do."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return ""
        captions = {p.id: p.caption for p in self._look(ds, editing.plain(view)).reach}
        return panel.previewed(_said(lambda: rewriting.preview(captions, rewriting.replacing(find or "", replace or "", pattern, case))))

    def swap(self, find: str, replace: str, pattern: bool, case: bool, said: str, name: str, view: dict):
        """Find and replace in the captions that are reached."""
        change = _said(lambda: rewriting.replacing(find or "", replace or "", pattern, case))
        return ["", *self._bulk(name, view, said, lambda ds, ids: ds.rewrite(change, "replaced", ids))]

    def add_front(self, text: str, said: str, name: str, view: dict):
        """A text in front of the captions that are shown."""
        return self._bulk(name, view, said, lambda ds, ids: ds.prefix(text or "", ids))

    def add_behind(self, text: str, said: str, name: str, view: dict):
        """A text behind the captions that are shown."""
        return self._bulk(name, view, said, lambda ds, ids: ds.suffix(text or "", ids))

    def _bulk(self, name: str, view: dict, said: str, work):
        """An edit of several.  said: what stood on the button, which tells how many it reaches; all that the browser sends of a button is its text."""
        ds = chosen(self.ctx.home, name)
        if ds:
            view.update(editing.plain(view))
            ids = [p.id for p in self._look(ds, view).reach]
            if said not in _bulk_words(len(ids)):
                _tell_other(said, len(ids))
            else:
                _tell(_said(lambda: work(ds, ids)))
        return self.show(name, view)


@dataclass(frozen=True)
class Look:
    """What is to be seen at one moment.  matches: by search and filter; shown: of those, with the chosen tags; reach: what an edit of several changes."""

    view: dict
    pictures: list[Picture]
    told: Tally
    tags: list[Count]
    matches: list[Picture]
    shown: list[Picture]
    page: list[Picture]
    reach: list[Picture]


def look_at(ds: Dataset, view: dict, trigger: str) -> Look:
    """One look at a dataset, with a page that exists and a selection that is there."""
    pictures = ds.pictures(check=False)
    usable = {p.id: p.captions for p in pictures if p.usable}
    told = tally(usable, trigger)
    matches = matching(pictures, view, told)
    shown = tagged(matches, view["tags"], view["any"])
    page = min(max(0, int(view["page"])), tiles.pages(len(shown)) - 1)
    view = view | {"page": page, "picks": [id for id in view["picks"] if id in usable]}
    tags = list(told.tags) if len(matches) == len(usable) else counts(p.captions for p in matches)
    return Look(view, pictures, told, tags, matches, shown, shown[page * tiles.PER_PAGE : (page + 1) * tiles.PER_PAGE], reached(shown, view, pictures))


def _tell(changed: int) -> None:
    gr.Info(trn("{n} caption changed.", "{n} captions changed.", changed) if changed else tr("No caption was changed."), duration=4)


def _tell_other(said: str, reach: int) -> None:
    """What a press would reach has changed between what the page said and the press."""
    text = trn(
        "Nothing was changed. The page said '{said}'; by now it would be {n} caption. Look again, and press again.",
        "Nothing was changed. The page said '{said}'; by now it would be {n} captions. Look again, and press again.", reach, said=said,
    )  # fmt: skip
    gr.Warning(text, duration=8)


def _picks_bar(look: Look) -> str:
    """What is selected; the script counts the page's own ticks to those elsewhere."""
    here = {p.id for p in look.page}
    picks = look.view["picks"]
    elsewhere = sum(id not in here for id in picks)
    every = f'<button type="button" class="ez-btn" data-act="matching">{escape(trc("pictures", "Select all {n}", n=len(look.shown)))}</button>' if len(look.shown) > len(look.page) else ""
    return (
        f'<div class="ez-picks" data-tell data-elsewhere="{elsewhere}"{"" if picks else " hidden"}><b class="ez-num" data-count>{escape(trn("{n} selected", "{n} selected", len(picks)))}</b>'
        f'<button type="button" class="ez-btn" data-act="all">{escape(tr("Select page"))}</button>{every}<button type="button" class="ez-btn" data-act="clear">{escape(trc("what is selected", "Clear"))}</button></div>'
    )


def _said(work) -> Any:
    """What work() gives back; its ValueError as a message on the page."""
    try:
        return work()
    except ValueError as error:
        raise gr.Error(in_words(str(error)), print_exception=False) from None


def _bulk_buttons(look: Look) -> list:
    """The three buttons of the edit of several, each with how many captions it reaches."""
    number = len(look.reach)
    return [gr.Button(word, interactive=bool(number)) for word in _bulk_words(number)]


def _bulk_words(number: int) -> tuple[str, str, str]:
    if not number:
        return tr("Replace in no caption"), tr("Add in front in no caption"), tr("Add behind in no caption")
    return (
        trn("Replace in {n} caption", "Replace in {n} captions", number),
        trn("Add in front in {n} caption", "Add in front in {n} captions", number),
        trn("Add behind in {n} caption", "Add behind in {n} captions", number),
    )


def _items(view: RunView) -> dict[str, tuple[str, str]]:
    """{picture: (status, text)} of the newest attempt at each."""
    return {id: (status, text) for id, status, text in view.items}


def _chip(items: dict, picture: Picture) -> tuple[str, str]:
    """(class, word) for a tile: what the captioner did with it, while that is still what stands there."""
    status, text = items.get(picture.id, ("", ""))
    if status == "done" and text != picture.caption:
        return "", ""
    if status == "done":
        return "ez-ok", trc("caption", "new")
    return ("ez-bad", trc("caption", "failed")) if status == "failed" else ("", "")


def _print(run: Run | None, status: str, view: RunView) -> str:
    return f"{'busy' if _busy(status) else 'idle'}:{run.id}:{status}:{view.attempt}:{len(view.items)}:{view.phase}:{view.phase_done:.0f}:{supervisor.kill_offered(run)}" if run else ""


def _patch(ds: Dataset, pictures: list[Picture], items: dict) -> str:
    rows = {p.id: {"text": p.caption, "chips": tiles.caption_chips(p.captions, _chip(items, p), is_timed(p.caption)), "note": tiles.caption_note(p)} for p in pictures}
    return json.dumps({"dataset": ds.name, "rows": rows})


def _busy(status: str) -> bool:
    return status in ("running", "queued", "starting")


def _undo_button(ds: Dataset):
    undo = ds.can_undo()
    return gr.Button(counted.undo(undo), visible=bool(undo))


def _cut_html(ds: Dataset, told: Tally) -> str:
    """What to know of the captions as a whole."""
    return notes.pairs_html(ds) + notes.cut_html(len(told.long)) + notes.lines_html(ds) + notes.encodings_html(rereading.guessed(ds))


def _empty() -> str:
    """What stands in place of the tab while there are no pictures."""
    return (
        f'<div class="ez-empty"><h2>{escape(tr("No pictures to caption"))}</h2><p>{escape(tr("Captions tell the model what it sees. Add some pictures first."))}</p>'
        f'<button type="button" class="ez-btn ez-primary" data-tab="dataset">{escape(tr("Add pictures"))}</button></div>'
    )


def _above_the_form() -> str:
    return (
        f'<h2 class="ez-subtitle">{escape(tr("Write captions with"))}</h2>'
        f'<button type="button" class="ez-btn ez-sheet-toggle" data-sheet="ez-cap-side" aria-expanded="false">{escape(tr("Write captions with a model"))}</button>'
    )


def _ended(run: Run, view: RunView, status: str) -> str:
    """How a captioning that goes on no more came out."""
    if status == "finished" and view.summary:
        return summed(view.summary)
    return tr("What was written is saved.") if status == "stopped" else in_words(run.why_numbered())


def summed(summary: str) -> str:
    """What the job says of itself at its end, a sentence."""
    found = SUMMARY.fullmatch(summary)
    if not found:
        return in_words(summary)
    made, kind, had, failed = found.groups()
    said = [trn("{n} captioned", "{n} captioned", int(made)) if kind == "captioned" else trn("{n} tried, nothing written", "{n} tried, nothing written", int(made))]
    said += [trn("{n} had one already", "{n} had one already", int(had))] if had else []
    said += [trn("{n} failed", "{n} failed", int(failed))] if failed else []
    return counted.joined(said) + sentence_end()


def job_html(run: Run | None, view: RunView, status: str) -> str:
    """The panel of the newest captioning run."""
    if run is None:
        return ""
    done = _items(view)
    failed = [(id, text) for id, (state, text) in done.items() if state == "failed"]
    if _busy(status):
        progress = views.progress(view, status)
        bar = '<div class="ez-bar ez-busy"><i></i></div>' if progress.share is None else f'<div class="ez-bar"><i style="width:{100 * progress.share:.1f}%"></i></div>'
        stuck = f'<button type="button" class="ez-btn ez-danger" data-act="kill">{escape(tr("End it now"))}</button>' if supervisor.kill_offered(run) else ""
        inside = (
            f'<div class="ez-spread"><b>{escape(progress.text)}</b>{views.chip(status)}</div>{bar}<div class="ez-spread"><span class="ez-muted ez-small ez-num">'
            f'{escape(progress.detail)}</span><span class="ez-row">{stuck}<button type="button" class="ez-btn" data-act="stop">{escape(tr("Stop"))}</button></span></div>'
        )
    else:
        again = f'<button type="button" class="ez-btn" data-act="resume">{escape(tr("Go on"))}</button>' if status in views.RESUMABLE else ""
        inside = f'<div class="ez-spread"><b>{escape(tr("Last captioning"))}</b>{views.chip(status)}</div><p>{escape(_ended(run, view, status))}</p>{again}'
    rows = "".join(f"<tr><td>{escape(id)}</td><td>{escape(heard(text))}</td></tr>" for id, text in failed[:SHOWN_FAILED])
    many = trn("{n} picture failed", "{n} pictures failed", len(failed))
    table = f'<details data-key="caption-failed"><summary>{escape(many)}</summary><div class="ez-scroll"><table class="ez-table"><tbody>{rows}</tbody></table></div></details>' if failed else ""
    return f'<div class="ez-card ez-job" role="status">{inside}{table}</div>'
