"""Dataset: pictures in, checked, shown, named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from training.data import controls, datasets, embedded, exporting, importing
from training.data.datasets import Dataset
from training.data.health import Goal
from training.hub import arriving
from training.plan import hardware
from training.runs import losing

from ... import counted, turns, views
from ...language import N_, tr, trc, trn
from ...language.heard import heard
from ...server import client, media, uploads
from ...server.folders import allowed_folder
from ...shell import INSTANT, QUIET, UiContext, heading
from ...theme import ASSETS
from ...words import in_words
from ..train import draft
from ..train.missing import chosen, missing_html
from . import absorbed, befores, judged, onhub, tiles, treated, versions, welcome
from .imports import Import, Imports, outcome

TITLE = N_("Dataset")
JS = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in ("drop.js", "treated.js", "befores.js", "clips.js"))
CSS = (ASSETS / "dataset.css").read_text(encoding="utf-8")
SHOWN_LOSING = 8  # runs that are named before a dataset is deleted
SHOWN_REFUSED = 200  # rows in the list of refused files
FILTERS = [(N_("All pictures"), ""), (N_("Without a caption"), "no caption"), (N_("Left out"), "out"), (N_("Can’t be used"), "refused"), (N_("Same picture twice"), "duplicate")]
FIRST_VIEW = {"page": 0, "query": "", "only": "", "finding": "", "before": ""}
GRID_JS = "easel.grid(element, (data) => trigger('act', data), watch)"
TREATED_JS = "easel.grid(element, (data) => (data.act === 'treat' ? trigger('treat', data) : trigger('act', data)), watch)"
IN_TURN = {"trigger_mode": "multiple", "concurrency_limit": 1}  # three quick presses are three quarter turns
SIGN_OF_PICTURES = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" '
    'aria-hidden="true"><rect x="3" y="3" width="18" height="18" rx="3"/><circle cx="8.7" cy="8.7" r="1.6"/><path d="m4 17 4.5-4.5 4 4 3-3L21 18"/></svg>'
)
# run -> what it loses with its dataset
LOSES = {
    "finished": N_("<b>{title}</b> (finished) cannot be trained longer or exactly again"),
    "running": N_("<b>{title}</b> (running) is at work on it"),
    "queued": N_("<b>{title}</b> (queued) cannot begin"),
    "stopped": N_("<b>{title}</b> (stopped) cannot be resumed"),
    "failed": N_("<b>{title}</b> (failed) cannot be resumed"),
    "interrupted": N_("<b>{title}</b> (interrupted) cannot be resumed"),
}
FETCHES = {arriving.FETCHING: N_("Downloading"), arriving.CHECKING: N_("Checking pictures")}
# titles of one word, which are not taken up from the engine as its sentences are
TITLES = (N_("Edges"), N_("Lines"), N_("Grey"), N_("Blurred"))


@dataclass
class Parts:
    """What the tab is made of."""

    welcome: welcome.Parts
    work: gr.Column
    picker: gr.Dropdown
    new: gr.Button
    new_row: gr.Row
    new_name: gr.Textbox
    create: gr.Button
    cancel: gr.Button
    example: gr.Button
    missing: gr.HTML
    drop: gr.File
    folder: gr.Textbox
    add_folder: gr.Button
    outcome: gr.HTML
    tools: gr.Row
    query: gr.Textbox
    only: gr.Dropdown
    check: gr.Button
    undo: gr.Button
    health: gr.HTML
    before_row: gr.Row
    before_of: gr.HTML
    before: gr.File
    before_no: gr.Button
    grid: gr.HTML
    past: gr.HTML
    absorb: gr.HTML
    kind: gr.Dropdown
    make: gr.Button
    away: gr.HTML
    manage: gr.Accordion
    name: gr.Textbox
    rename: gr.Button
    delete: gr.Button
    sure: gr.Row
    sure_text: gr.HTML
    really: gr.Button
    keep: gr.Button
    view: gr.State
    seen: gr.State  # the print of the import that the page shows
    imports: Imports
    arrive: onhub.Arrive
    leave: onhub.Leave


def build(ctx: UiContext) -> Parts:
    """The layout."""
    first = welcome.build(ctx)
    with gr.Column(visible=False, elem_id="ez-work") as work:
        with gr.Row(elem_classes="ez-spread"):
            gr.HTML(heading(tr("Dataset"), tr("The pictures and video clips to learn from. Each is checked as it comes in; originals stay as they are.")), apply_default_css=False, elem_classes="ez-grow")
            with gr.Row(elem_classes=["ez-row", "ez-fit"]):
                picker = gr.Dropdown(label=tr("Dataset"), show_label=False, container=False, min_width=200, elem_id="ez-picker", interactive=True)
                new = gr.Button(trc("a new dataset", "New"), size="md", elem_classes="ez-fit", min_width=0)
        with gr.Row(visible=False, elem_classes=["ez-card", "ez-row"]) as new_row:
            new_name = gr.Textbox(label=tr("Name of the new dataset"), placeholder="my-cat", max_lines=1, elem_classes="ez-grow")
            create = gr.Button(tr("Create"), variant="primary", elem_classes="ez-fit", min_width=0)
            cancel = gr.Button(tr("Cancel"), elem_classes=["ez-quiet", "ez-fit"], min_width=0)
            example = gr.Button(tr("Try the example instead"), elem_classes=["ez-quiet", "ez-fit"], min_width=0)
        missing = gr.HTML(apply_default_css=False)
        drop = gr.File(label=tr("Add pictures"), show_label=False, file_count="multiple", type="filepath", elem_classes="ez-drop", height=128)
        from_where = tr("Add a folder of this computer") if ctx.local else tr("Add a folder of the computer that Easel runs on")
        with gr.Accordion(from_where, open=False, elem_classes="ez-fold"), gr.Row(elem_classes="ez-row"):
            folder = gr.Textbox(label=tr("Folder"), placeholder="/home/me/pictures/cat" if ctx.local else "cat", info=folder_info(ctx), max_lines=1, elem_classes="ez-grow")
            add_folder = gr.Button(tr("Add folder"), elem_classes="ez-fit", min_width=0)
        arrive = onhub.build_arrive(GRID_JS)
        report = gr.HTML(apply_default_css=False, js_on_load=GRID_JS, elem_id="ez-outcome")
        with gr.Row(elem_classes=["ez-row", "ez-tools"], visible=False) as tools:
            search = tr("Search names and captions")
            query = gr.Textbox(label=search, show_label=False, container=False, placeholder=search, max_lines=1, elem_classes="ez-grow")
            only = gr.Dropdown([(tr(text), value) for text, value in FILTERS], value="", label=tr("Show"), show_label=False, container=False, min_width=180, interactive=True, elem_id="ez-only")
            check = gr.Button(tr("Check this dataset"), size="md", elem_classes="ez-fit", min_width=0, elem_id="ez-check")
            undo = gr.Button(tr("Undo"), visible=False, size="sm", elem_classes=["ez-quiet", "ez-fit"], min_width=0)
        health = gr.HTML(apply_default_css=False, js_on_load=GRID_JS, elem_id="ez-health")
        with gr.Row(visible=False, elem_classes=["ez-card", "ez-row", "ez-before"]) as before_row:
            before_of = gr.HTML(apply_default_css=False, elem_classes="ez-grow")
            before = gr.File(label=tr("The picture before"), show_label=False, file_count="multiple", type="filepath", elem_classes=["ez-drop", "ez-drop-before"], elem_id="ez-before-file", height=96)
            before_no = gr.Button(tr("Cancel"), elem_classes=["ez-quiet", "ez-fit"], min_width=0)
        grid = gr.HTML(apply_default_css=False, html_template=picks() + "${value}", js_on_load=TREATED_JS, elem_id="ez-pictures")
        with gr.Accordion(tr("What should the trigger word absorb?"), open=False, elem_classes="ez-fold"):
            absorb = gr.HTML(apply_default_css=False, js_on_load=client.BIND, elem_id="ez-absorb")
        with gr.Accordion(tr("Versions, and pictures that were removed"), open=False, elem_classes="ez-fold", elem_id="ez-past"):
            past = gr.HTML(apply_default_css=False, js_on_load=GRID_JS, elem_id="ez-versions")
        with gr.Accordion(tr("Make control pictures, for a ControlNet or a T2I-Adapter"), open=False, elem_classes="ez-fold"), gr.Row(elem_classes="ez-row"):
            options = [(f"{heard(title)}: {heard(says)}", kind) for kind, (title, says) in controls.KINDS.items()]
            elsewhere = tr("Depth and poses are made on the Tools tab, by models.")
            kind = gr.Dropdown(options, value="edges", label=tr("For pictures that have none"), info=elsewhere, interactive=True, elem_classes="ez-grow", elem_id="ez-control-kind")
            make = gr.Button(trc("control pictures", "Make"), elem_classes="ez-fit", min_width=0)
        with gr.Accordion(tr("Download this dataset"), open=False, elem_classes="ez-fold"):
            away = gr.HTML(apply_default_css=False)
        leave = onhub.build_leave(GRID_JS)
        with gr.Accordion(tr("Rename or delete this dataset"), open=False, visible=False, elem_classes="ez-fold") as manage:
            with gr.Row(elem_classes="ez-row"):
                name = gr.Textbox(label=tr("Name"), max_lines=1, elem_classes="ez-grow")
                rename = gr.Button(tr("Rename"), elem_classes="ez-fit", min_width=0)
                delete = gr.Button(tr("Delete dataset"), elem_classes=["ez-danger", "ez-fit"], min_width=0)
            with gr.Row(visible=False, elem_classes=["ez-row", "ez-sure"]) as sure:
                sure_text = gr.HTML(apply_default_css=False, elem_classes="ez-grow")
                really = gr.Button(tr("Delete"), variant="stop", elem_classes="ez-fit", min_width=0)
                keep = gr.Button(trc("and do not delete", "Keep"), elem_classes="ez-fit", min_width=0)
    return Parts(
        first, work, picker, new, new_row, new_name, create, cancel, example, missing, drop, folder, add_folder, report, tools, query, only, check, undo, health, before_row, before_of, before, before_no, grid, past, absorb, kind, make, away, manage,
        name, rename, delete, sure, sure_text, really, keep, gr.State(dict(FIRST_VIEW)), gr.State(""), Imports(uploads.folder(ctx.home)), arrive, leave,
    )  # fmt: skip


def picks() -> str:
    """What is shown while pictures are selected."""
    return (
        f'<div class="ez-picks" hidden><b class="ez-num" data-count></b><button type="button" class="ez-btn" data-act="all">{escape(tr("Select page"))}</button>'
        f'<button type="button" class="ez-btn" data-act="none">{escape(trc("what is selected", "Clear"))}</button>{treated.buttons()}{befores.buttons()}'
        f'<button type="button" class="ez-btn ez-bad" data-act="remove">{escape(tr("Delete"))}</button></div>'
    )


def _empty() -> str:
    """In place of the grid where no picture is there yet."""
    says = tr("Drop some above. Ten to thirty good ones are enough for a person, an object or a style.")
    return f'<div class="ez-empty">{SIGN_OF_PICTURES}<h2>{escape(tr("No pictures yet"))}</h2><p>{escape(says)}</p></div>'


def _nothing_away() -> str:
    """In place of the downloads."""
    return f'<p class="ez-muted ez-small">{escape(tr("There is nothing to download yet."))}</p>'


def wire(parts: Parts, ctx: UiContext) -> None:
    """The connections."""
    tab = _Tab(parts, ctx)
    out = tab.outputs
    asked = [ctx.dataset, parts.view]
    ctx.busy.append(parts.imports.busy)
    ctx.at_load(tab.show, asked, out, tab="dataset")
    ctx.every_tick(tab.tick, [*asked, parts.seen], out, tab="dataset")
    ctx.items["dataset"].select(tab.show, asked, out, **QUIET)
    parts.picker.input(tab.choose, [parts.picker, parts.view], out, **INSTANT)
    for drop in (parts.drop, parts.welcome.drop):
        drop.upload(tab.take_in, [drop, *asked], [drop, ctx.timer, *out], **QUIET)
    parts.add_folder.click(tab.take_folder, [parts.folder, *asked], [parts.folder, ctx.timer, *out], **QUIET)
    parts.make.click(tab.make_controls, [parts.kind, *asked], [ctx.timer, *out], **QUIET)
    parts.grid.act(tab.act, asked, out, **QUIET)
    parts.before.upload(tab.take_before, [parts.before, *asked], [parts.before, *out], **QUIET)
    parts.before_no.click(tab.no_before, asked, out, **INSTANT)
    parts.grid.treat(tab.treat, asked, out, **QUIET | IN_TURN)
    parts.absorb.act(tab.act_absorb, asked, out, **QUIET)
    parts.health.act(tab.act_health, asked, [ctx.timer, *out], **QUIET)
    parts.check.click(tab.check, asked, [ctx.timer, *out], **QUIET)
    parts.outcome.act(tab.act, asked, out, **INSTANT)
    parts.past.act(tab.act_past, asked, out, **QUIET)
    gr.on([parts.query.change, parts.only.input], tab.search, [*asked, parts.query, parts.only], out, trigger_mode="always_last", **INSTANT)
    parts.undo.click(tab.undo, asked, out, **QUIET)
    _wire_names(parts, ctx, tab)
    onhub.wire_arrive(parts.arrive, ctx, parts.imports, asked, tab)
    onhub.wire_leave(parts.leave, ctx)
    for button in (parts.welcome.start, parts.example):
        button.click(tab.try_it, parts.view, [parts.welcome.fault, ctx.run, ctx.tabs, ctx.timer, parts.new_row, *out], **QUIET)


def _wire_names(parts: Parts, ctx: UiContext, tab: _Tab) -> None:
    """New, rename, delete."""
    hide = (lambda: gr.Row(visible=False)), None
    parts.new.click(lambda: (gr.Row(visible=True), ""), None, [parts.new_row, parts.new_name], **INSTANT)
    parts.cancel.click(*hide, parts.new_row, **INSTANT)
    gr.on([parts.create.click, parts.new_name.submit], tab.create, [parts.new_name, parts.view], [parts.new_row, *tab.outputs], **QUIET)
    gr.on([parts.rename.click, parts.name.submit], tab.rename, [parts.name, ctx.dataset, parts.view], tab.outputs, **QUIET)
    parts.delete.click(tab.ask, ctx.dataset, [parts.sure, parts.sure_text], **INSTANT)
    parts.keep.click(*hide, parts.sure, **INSTANT)
    parts.really.click(tab.delete, [ctx.dataset, parts.view], [parts.sure, *tab.outputs], **QUIET)


@dataclass
class _Tab:
    """The handlers.  Each gives back the whole tab, as it then is."""

    parts: Parts
    ctx: UiContext

    @property
    def outputs(self) -> list:
        p = self.parts
        return [
            self.ctx.dataset, p.view, p.seen, p.welcome.column, p.work, p.picker, p.missing, p.outcome, p.tools, p.undo, p.grid, p.away, p.manage, p.name, p.health, p.past, p.absorb, p.before_row, p.before_of,
        ]  # fmt: skip

    def show(self, name: str, view: dict, change: Mapping | None = None):
        """The tab for a dataset; for the one that was worked on last when that one is gone.  change: what is looked at from now on."""
        turn = turns.begin(view, change)
        made = self._shown(name, view)
        return made if turns.newest(view, turn) else [gr.skip()] * len(self.outputs)

    def _shown(self, name: str, view: dict) -> list:
        home = self.ctx.home
        there = datasets.list_datasets(home)
        ds = chosen(home, name) or datasets.latest(home)
        if ds is None:
            view.update(FIRST_VIEW)
            return ["" if name else gr.skip(), view, "", gr.Column(visible=True), gr.Column(visible=False), *[gr.skip()] * 14]
        with ds.one_look():
            return self._whole(ds, name, view, there)

    def _whole(self, ds: Dataset, name: str, view: dict, there: Sequence[Dataset]) -> list:
        home = self.ctx.home
        goal = goal_of(draft.aim(home, hardware.machine(home.root), ds.name))
        health, stale = self.parts.imports.health(ds, goal)
        filtered = judged.shown(health, view.get("finding", ""))
        pictures, total, view["page"] = _page_of(ds, view, filtered[1] if filtered else None)
        everything = total if not (view["query"] or view["only"] or filtered) else ds.counts().total
        undo = ds.can_undo()
        job = self.parts.imports.of(ds.name)
        return [
            gr.skip() if ds.name == name else ds.name, view, _print(job), gr.Column(visible=False), gr.Column(visible=True),
            gr.Dropdown(choices=[(d.title, d.name) for d in there], value=ds.name), missing_html(home, ds.name, "dataset"), outcome_html(job),
            gr.Row(visible=bool(everything)), gr.Button(counted.undo(undo), visible=bool(undo)),
            (judged.filter_html(filtered[0], total) if filtered else "") + self._grid(ds, pictures, total, view, bool(everything)), self._away(ds) if everything else _nothing_away(),
            gr.Accordion(visible=True), ds.title, judged.health_html(health, view.get("finding", "") if filtered else "", stale),
            versions.panel(self.ctx, ds, versions.Look.of(view.get("past", {}), ds.name)), absorbed.of(ds, goal.trigger if goal else ""), *self._asked_before(ds, view),
        ]  # fmt: skip

    def _grid(self, ds: Dataset, pictures: Sequence, total: int, view: dict, any_there: bool) -> str:
        if not any_there:
            return "" if (job := self.parts.imports.of(ds.name)) and not job.ended else _empty()
        if not total:
            return f'<div class="ez-empty"><h2>{escape(tr("Nothing matches"))}</h2><p>{escape(tr("No picture fits this search."))}</p></div>'
        aim = draft.aim(self.ctx.home, hardware.machine(self.ctx.home.root), ds.name)
        goal = goal_of(aim)
        shown = lambda file, version, view: (media.thumb_url(self.ctx, ds.name, file, version, view), media.picture_url(self.ctx, ds.name, file, version))
        made = [
            tiles.picture_tile(
                p, lambda p: shown(p.id, p.sha256, p.treatment.view)[0], lambda p: shown(p.id, p.sha256, "")[1], aim, befores.addresses(self.ctx, ds, p), goal
            )
            for p in pictures
        ]
        return tiles.page(made, view["page"], total, "ez-pictures", treated.left_out(ds) if not view["only"] else 0)

    def _asked_before(self, ds: Dataset, view: dict) -> tuple[gr.Row, str]:
        """The box for what a picture is made from, where it was asked for."""
        try:
            picture = ds.get(view["before"]) if view.get("before") else None
        except ValueError:  # it is gone
            picture = None
        view["before"] = picture.id if picture else ""
        return gr.Row(visible=picture is not None), befores.asked(picture.id, len(picture.references)) if picture else ""

    def take_before(self, files: list[str] | None, name: str, view: dict):
        """What a picture is made from was chosen."""
        ds, id = chosen(self.ctx.home, name), view.get("before", "")
        if ds and id and files:
            self._at_rest(ds)
            refused = [v for v in self._said(lambda: importing.add_references(ds, id, [Path(f) for f in files])) if not v.ok]
            if refused:
                gr.Warning(f"{escape(refused[0].file)}: {escape(in_words(refused[0].reason))}")
        return [None, *self.show(name, view, {"before": ""})]

    def no_before(self, name: str, view: dict):
        """None is to be chosen after all."""
        return self.show(name, view, {"before": ""})

    def _away(self, ds: Dataset) -> str:
        """The dataset as files that other programs take."""
        return tiles.away([(heard(title), heard(says), media.dataset_url(self.ctx, ds.name, kind)) for kind, (title, says) in exporting.KINDS.items()], in_words(exporting.trimmed([p for p in ds.pictures(check=False) if p.usable])))

    def choose(self, name: str, view: dict):
        """Another dataset was picked: nothing that is on its way for the one before is painted over it."""
        turns.begin(view, FIRST_VIEW)
        made = self._shown(name, view)
        turns.begin(view)
        return [name, *made[1:]]

    def search(self, name: str, view: dict, query: str, only: str):
        """Something was typed or filtered."""
        return self.show(name, view, {**FIRST_VIEW, "query": query or "", "only": only or ""})

    def tick(self, name: str, view: dict, seen: str):
        """An import went on or came to its end."""
        job = self.parts.imports.of(name)
        now = _print(job)
        if now == seen:
            return gr.skip()
        if job is None or job.ended:
            return self.show(name, view)
        values = [gr.skip()] * len(self.outputs)
        values[2], values[7] = now, outcome_html(job)
        return values

    def take_in(self, files: list[str] | None, name: str, view: dict):
        """Files were dropped."""
        paths = [Path(f) for f in files or []]
        ds = chosen(self.ctx.home, name) or datasets.create(self.ctx.home, title_for(paths))
        self._begin(lambda: self.parts.imports.files(ds, paths))
        return [None, self.ctx.soon(), *self.choose(ds.name, view)]

    def take_folder(self, folder: str, name: str, view: dict):
        """A folder of this computer was named."""
        text = (folder or "").strip().strip('"')
        if not text:
            raise gr.Error(tr("Type the folder first."), print_exception=False)
        path = Path(text).expanduser() if self.ctx.local else self._said(lambda: allowed_folder(text, self.ctx.folders))
        ds = chosen(self.ctx.home, name) or datasets.create(self.ctx.home, path.name or tr("My pictures"))
        self._begin(lambda: self.parts.imports.folder(ds, path))
        return ["", self.ctx.soon(), *self.choose(ds.name, view)]

    def make_controls(self, kind: str, name: str, view: dict):
        """Control pictures are asked for."""
        ds = chosen(self.ctx.home, name)
        if ds:
            self._begin(lambda: self.parts.imports.controls(ds, kind))
        return [self.ctx.soon(), *self.show(name, view)]

    def act(self, name: str, view: dict, event: gr.EventData):
        """Something on the page of pictures was clicked."""
        ds = chosen(self.ctx.home, name)
        act = str(event.act)
        if act == "page":
            return self.show(name, view, {"page": int(event.page)})
        if act == "dismiss":
            self.parts.imports.dismiss(name)
        if act == "stop":
            self.parts.imports.cancel(name)
        if act == "prompts" and ds:
            self._use_prompts(ds)
        if act == "remove" and ds:
            self._said(lambda: ds.remove([str(i) for i in event.ids]))
        if act == "before" and ds and event.ids:
            return self.show(name, view, {"before": str(event.ids[0])})
        if act == "unpair" and ds:
            count = self._said(lambda: ds.remove_references([str(i) for i in event.ids]))
            gr.Info(trn("{n} picture taken away. Undo brings it back.", "{n} pictures taken away. Undo brings them back.", count), duration=4)
        if act == "absorb" and ds:
            count = self._said(lambda: ds.take_out([str(event.key).removeprefix("leak ")]))
            gr.Info(trn("{n} caption changed.", "{n} captions changed.", count), duration=4)
        if act == "finding":
            return self.show(name, view, {"page": 0, "finding": str(event.key)})
        if act == "close":
            self.parts.imports.forget_health(name)
        if act == "focus" and ds:
            x, y = (float(share) for share in str(event.key).split())
            self._said(lambda: ds.set_focus(str(event.ids[0]), x, y))
        if act == "trim" and ds:
            start, end = (float(at) for at in str(event.key).split())
            self._said(lambda: ds.trim(str(event.ids[0]), start, end))
        return self.show(name, view)

    def _use_prompts(self, ds: Dataset) -> None:
        """The prompts in pictures become their captions; the offer is taken, so it goes."""
        count = self._said(lambda: embedded.use(ds))
        if job := self.parts.imports.of(ds.name):
            job.verdicts = [v for v in job.verdicts if v.kind != "prompts"]
        gr.Info(trn("{n} caption written. Undo takes them back.", "{n} captions written. Undo takes them back.", count), duration=4)

    def treat(self, name: str, view: dict, event: gr.EventData):
        """Pictures are turned, mirrored, left out or taken back."""
        if (ds := chosen(self.ctx.home, name)) and event.ids:
            self._said(lambda: ds.treat([str(i) for i in event.ids], str(event.key)))
        return self.show(name, view)

    def act_absorb(self, name: str, view: dict, event: gr.EventData):
        """A trait is added to those that captions leave out, or let go."""
        if ds := chosen(self.ctx.home, name):
            data, traits = dict(event._data or {}), ds.absorbs
            trait = str(data.get("value" if data.get("act") == "absorb-typed" else "trait", ""))
            self._said(lambda: ds.set_absorbs([t for t in traits if t != trait] if data.get("act") == "release" else [*traits, trait]))
        return self.show(name, view)

    def check(self, name: str, view: dict):
        """The health check is asked for."""
        ds = chosen(self.ctx.home, name)
        if ds:
            goal = goal_of(draft.aim(self.ctx.home, hardware.machine(self.ctx.home.root), ds.name))
            self._begin(lambda: self.parts.imports.check(ds, goal or Goal()))
        return [self.ctx.soon(), *self.show(name, view, {"finding": ""})]

    def act_health(self, name: str, view: dict, event: gr.EventData):
        """Something on the outcome of a check was clicked."""
        if str(event.act) == "check":
            return self.check(name, view)
        return [gr.skip(), *self.act(name, view, event)]

    def act_past(self, name: str, view: dict, event: gr.EventData):
        """Something on the versions or the bin was clicked."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return self.show(name, view)
        if str(event.act) not in ("everything", "compare", "close", "ask", "leaf"):
            self._at_rest(ds)
        past = versions.Look.of(view.get("past", {}), ds.name)
        past, said = self._said(lambda: versions.act(ds, self.ctx.home, past, str(event.act), str(event.key), [str(i) for i in event.ids]))
        if said:
            gr.Info(said, duration=6)
        return self.show(name, view, {"past": past.told(ds.name)})

    def undo(self, name: str, view: dict):
        """The newest change is taken back."""
        ds = chosen(self.ctx.home, name)
        if ds:
            self._at_rest(ds)
            said = self._said(ds.undo)
            gr.Info(counted.undone(said), duration=4)
        return self.show(name, view)

    def create(self, title: str, view: dict):
        """A new, empty dataset."""
        ds = self._said(lambda: datasets.create(self.ctx.home, title))
        return [gr.Row(visible=False), *self.choose(ds.name, view)]

    def rename(self, title: str, name: str, view: dict):
        """Another name for the dataset."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return self.show(name, view)
        self._at_rest(ds)
        renamed = self._said(lambda: datasets.rename(ds, title))
        return [renamed.name, *self.show(renamed.name, view)[1:]]

    def ask(self, name: str):
        """Before a dataset is deleted."""
        ds = chosen(self.ctx.home, name)
        if ds is None:
            return gr.Row(visible=False), ""
        sentence = trn(
            "Delete <b>{title}</b> with {n} picture and all captions? This cannot be undone. What you copied them from stays.",
            "Delete <b>{title}</b> with {n} pictures and all captions? This cannot be undone. What you copied them from stays.", ds.counts().total, title=escape(ds.title),
        )  # fmt: skip
        return gr.Row(visible=True), f"<p>{sentence}</p>" + _lost_html(losing.of(ds, self.ctx.home))

    def delete(self, name: str, view: dict):
        """The dataset is gone."""
        ds = chosen(self.ctx.home, name)
        if ds:
            self._at_rest(ds)
            self._said(lambda: datasets.delete(ds))
            self.parts.imports.dismiss(ds.name)
            self.parts.imports.forget_health(ds.name)
        left = datasets.latest(self.ctx.home)
        return [gr.Row(visible=False), *self.choose(left.name if left else "", view)]

    def try_it(self, view: dict):
        """The example is being trained, and Results shows it."""
        try:
            name, run = welcome.start_example(self.ctx.home)
        except (ValueError, OSError) as error:
            return [welcome.fault_html(str(error)), *[gr.skip()] * (4 + len(self.outputs))]
        return ["", run, self.ctx.go("results"), self.ctx.soon(), gr.Row(visible=False), *self.choose(name, view)]

    def _at_rest(self, ds: Dataset) -> None:
        self.parts.imports.at_rest(ds.name)

    def _begin(self, begin) -> None:
        self._said(begin)

    def _said(self, work):
        """What work() gives back; its ValueError, and what the disk refuses, as a message on the page."""
        try:
            return work()
        except ValueError as error:
            raise gr.Error(in_words(str(error)), print_exception=False) from None
        except OSError as error:
            raise gr.Error(tr("The disk did not allow that: {why}. Mend that, then try again.", why=error.strerror or error), print_exception=False) from None


def goal_of(aim: draft.Aim | None) -> Goal | None:
    """What the Train form, as it stands, makes of pictures, for the health check."""
    return Goal(aim.side_px, aim.max_aspect, aim.divisor, aim.batch, aim.trigger, aim.what, control=aim.control) if aim and aim.side_px >= aim.divisor else None


def folder_info(ctx: UiContext) -> str:
    """What may be typed as a folder, and what needs no typing at all."""
    copied = tr("Everything below it is copied; the folder stays as it is.")
    ready = tr("A folder of pictures that is put at {folder} is a dataset already, without a copy.", folder=ctx.home.datasets / "NAME")
    if ctx.local:
        return f"{copied} {ready}"
    where = counted.either([str(folder) for folder in ctx.folders])
    allowed = tr("A folder in {folders} (others with --data DIR, when Easel is started).", folders=where)
    return f"{allowed} {copied} {ready}"


def title_for(paths: Sequence[Path]) -> str:
    """A first name for a dataset made of these files: that of a single ZIP or tar, else a plain one."""
    archive = re.fullmatch(r"(.+?)\.(?:zip|tar|tgz|txz|tbz2|tar\.\w{2,3})", paths[0].name, re.IGNORECASE) if len(paths) == 1 else None
    return archive[1] if archive else tr("My pictures")


def _page_of(ds: Dataset, view: dict, among: frozenset[str] | None) -> tuple[list, int, int]:
    """(pictures, how many match, a page that exists)."""
    number = max(0, int(view["page"]))
    pictures, total = ds.page(number * tiles.PER_PAGE, tiles.PER_PAGE, view["query"], view["only"], among)
    last = tiles.pages(total) - 1
    if number > last:
        number = last
        pictures, total = ds.page(number * tiles.PER_PAGE, tiles.PER_PAGE, view["query"], view["only"], among)
    return pictures, total, number


def _print(job: Import | None) -> str:
    return f"{id(job)}:{job.done}:{job.ended}" if job else ""


def outcome_html(job: Import | None) -> str:
    """Progress of an import, then what became of the files."""
    if job is None or (job.checks and job.ended and not job.error):
        return ""
    if not job.ended:
        share = f'<div class="ez-bar"><i style="width:{100 * job.done / job.of:.1f}%"></i></div>' if job.of and job.done else '<div class="ez-bar ez-busy"><i></i></div>'
        fetching = job.doing == arriving.FETCHING
        done, of = (views.size(job.done), views.size(job.of)) if fetching else (job.done, job.of)
        count = tr("{done} of {of}", done=done, of=of) if job.of else ""
        title = tr(FETCHES[job.doing]) if job.doing else tr("Looking closely at the pictures") if job.checks else tr("Checking pictures")
        stop = f'<button type="button" class="ez-link" data-act="stop">{escape(tr("Cancel"))}</button>' if fetching and job.stop and not job.stop.is_set() else ""
        return (
            f'<div class="ez-card ez-import" role="status"><div class="ez-spread"><b>{escape(title)}</b><span class="ez-muted ez-num">{escape(count)}</span></div>{share}'
            f'<div class="ez-spread"><p class="ez-muted ez-small ez-oneline">{escape(job.file)}</p>{stop}</div></div>'
        )
    look = "" if job.cancelled else "ez-bad" if job.error else "ez-warn" if job.refused else "ez-ok"
    said = outcome(job)
    close = f'<button type="button" class="ez-link" data-act="dismiss">{escape(tr("Dismiss"))}</button>'
    refused, left, noted = len(job.refused), len(job.left_out), len(job.noted)
    lists = (
        _rows(trn("Not added: {n} file", "Not added: {n} files", refused), job.refused, refused <= 6),
        _rows(trn("Left out: {n} file", "Left out: {n} files", left), job.left_out),
        _rows(trn("Good to know: {n} file", "Good to know: {n} files", noted), job.noted),
    )
    return (
        f'<div class="ez-note {look} ez-import" role="status"><div class="ez-spread"><b>{escape(in_words(said))}</b>{close}</div>'
        f"{_prompts(job)}{''.join(lists)}</div>"
    )


def _lost_html(lost: list[losing.Losing]) -> str:
    """The runs that a deletion takes their pictures from, each with what that means."""
    if not lost:
        return ""
    lines = "".join(f"<li>{tr(LOSES[one.status], title=escape(one.title))}</li>" for one in lost[:SHOWN_LOSING])
    more = f"<li>{escape(counted.more(len(lost) - SHOWN_LOSING))}</li>" if len(lost) > SHOWN_LOSING else ""
    need = trn("{n} run needs it:", "{n} runs need it:", len(lost))
    return f"<p>{escape(need)}</p><ul>{lines}{more}</ul><p>{escape(tr('What they have made stays.'))}</p>"


def _prompts(job: Import) -> str:
    """That pictures carry the prompts that they were drawn from, and the button that makes captions of them."""
    if not job.prompts:
        return ""
    return f'<div class="ez-acts"><span>{escape(in_words(counted.said(job.prompts)))}</span><button type="button" class="ez-btn" data-act="prompts">{escape(tr("Use as captions"))}</button></div>'


def _rows(title: str, verdicts: list, opened: bool = False) -> str:
    if not verdicts:
        return ""
    rows = "".join(f"<tr><td>{escape(v.file)}</td><td>{escape(counted.said(v.reason, '; '))}</td></tr>" for v in verdicts[:SHOWN_REFUSED])
    more = f'<p class="ez-muted ez-small">{escape(counted.more(len(verdicts) - SHOWN_REFUSED))}</p>' if len(verdicts) > SHOWN_REFUSED else ""
    return (
        f'<details {"open" if opened else ""}><summary>{escape(title)}</summary>'
        f'<div class="ez-scroll"><table class="ez-table"><thead><tr><th>{escape(tr("File"))}</th><th>{escape(tr("Why"))}</th></tr></thead><tbody>{rows}</tbody></table></div>{more}</details>'
    )
