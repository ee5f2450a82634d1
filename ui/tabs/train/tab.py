"""Train: what to learn, how thoroughly, and Start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr

from easel import jobs
from training import registry
from training.config import DatasetUse, TrainConfig
from training.data import datasets
from training.data.datasets import Dataset
from training.data.parts import taken
from training.home import Home
from training.hub import account
from training.hub.secrets import Secret
from training.plan import own, timelaw
from training.plan.cards import labels
from training.plan.devices import CARDS
from training.plan.hardware import machine
from training.plan.translating import ENDINGS
from training.runs import queueing, supervisor

from ... import drafts, forms, shell
from ...language import N_, tr
from ...language.heard import heard
from ...poll import changes
from ...server import client, media
from ...words import plain
from . import brought, draft, elsewhere, finder, later, lawchart, ownpresets, triggerword, uses
from . import page as trainpage
from .draft import Draft, Plan
from .missing import Missing, missing
from .missing import chosen as open_chosen

TITLE = N_("Train")
PIECES = ("essentials", "presets", "settings", "plan", "elsewhere", "brought")
THUMBS = 4
LESS = 0.8  # of what was reckoned, for a run that ran out of memory all the same


@dataclass
class Parts:
    """What the tab is made of.  seen: what this browser shows."""

    seen: gr.State
    rate_seen: gr.State
    rate: gr.HTML
    bring: gr.File
    boxes: dict[str, gr.HTML]

    def outputs(self) -> list:
        return [self.seen, *(self.boxes[name] for name in PIECES)]


def build(ctx) -> Parts:
    """The layout: the form on the left, what it will take and Start on the right."""
    seen = gr.State({})
    gr.HTML(shell.heading(tr("Train"), tr("Three choices are enough. Everything else has a good value already.")), apply_default_css=False)
    boxes: dict[str, gr.HTML] = {}
    with gr.Row(elem_classes="ez-two", elem_id="ez-train"):
        with gr.Column(scale=5, min_width=320):
            with gr.Column(elem_classes="ez-card"):
                boxes["essentials"] = _box()
            with gr.Column(elem_classes="ez-card"):
                boxes["presets"] = _box()
            with gr.Accordion(tr("All settings"), open=False, elem_classes="ez-card ez-all"):
                boxes["settings"] = _box()
            rate = _box()
            with gr.Column(elem_classes="ez-card"):
                gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("Bring settings from another trainer, or a preset"))}</h2>', apply_default_css=False)
                bring = gr.File(label=tr("A job file of another trainer"), show_label=False, file_types=list(ENDINGS), type="filepath", elem_classes=["ez-drop", "ez-drop-settings"], height=124)
                boxes["brought"] = _box()
        with gr.Column(scale=2, min_width=290, elem_classes="ez-side-card"), gr.Column(elem_classes="ez-card"):
            boxes["plan"] = _box()
            boxes["elsewhere"] = _box()
    return Parts(seen, gr.State({}), rate, bring, boxes)


def _box() -> gr.HTML:
    return gr.HTML("", apply_default_css=False, js_on_load=client.BIND)


def wire(parts: Parts, ctx) -> None:
    """Each field that is left is an edit, each button an act; both give a new draft, and the page is painted from it."""
    inputs = [ctx.dataset, parts.seen]

    def look(dataset, seen):
        return paint(ctx, dataset, form_of(ctx), seen)

    def edit(dataset, seen, event: gr.EventData):
        path, value = str(event._data.get("field", "")), str(event._data.get("value", ""))
        if path == "dataset":
            return [*paint(ctx, value, form_of(ctx), _fresh(seen)), value]
        chosen, form = dataset, form_of(ctx)
        if path == "data.datasets" and draft.asks_for_pictures(ctx.home, form, machine(ctx.home.root)):
            typed, chosen = draft.typed_rows(ctx.home, form, value, dataset)
            form = changed(ctx, lambda _: typed)
        else:
            form = changed(ctx, lambda form: form.left(dataset, path, value))
        return [*paint(ctx, chosen, form, _fresh(seen)), chosen if chosen != dataset else gr.skip()]

    def act(dataset, seen, event: gr.EventData):
        return answer(ctx, dataset, _fresh(seen), dict(event._data or {}))

    def act_here(dataset, seen, event: gr.EventData, token: gr.OAuthToken | None):
        return answer(ctx, dataset, _fresh(seen), dict(event._data or {}), Secret(token.token) if token else None)

    ctx.at_load(look, inputs, parts.outputs(), tab="train")
    ctx.items["train"].select(look, inputs, parts.outputs(), **shell.INSTANT)
    ctx.dataset.change(look, inputs, parts.outputs(), **shell.INSTANT)
    for name in ("essentials", "settings", "elsewhere"):
        parts.boxes[name].edit(edit, inputs, [*parts.outputs(), ctx.dataset], **shell.INSTANT)
    def bring(file, dataset, seen):
        return [None, *brought_file(ctx, file, dataset, _fresh(seen))]

    parts.bring.upload(bring, [parts.bring, *inputs], [parts.bring, *parts.outputs()], **shell.QUIET)
    def look_at_rate(dataset, rate_seen):
        return rate_look(ctx, dataset, rate_seen)

    def act_on_rate(dataset, seen, event: gr.EventData):
        act = str((event._data or {}).get("act", ""))
        try:
            edits = finder.do(ctx, act)
        except (ValueError, OSError):  # it has just ended by itself
            edits = {}
        form = form_of(ctx)
        for path, text in edits.items():
            form = changed(ctx, lambda form, path=path, text=text: form.left(dataset, path, text))
        return [*paint(ctx, dataset, form, _fresh(seen)), {}, rate_html(ctx, dataset)]

    rate = [parts.rate_seen, parts.rate]
    ctx.every_tick(look_at_rate, [ctx.dataset, parts.rate_seen], rate, tab="train")
    ctx.items["train"].select(look_at_rate, [ctx.dataset, parts.rate_seen], rate, **shell.INSTANT)
    ctx.at_load(look_at_rate, [ctx.dataset, parts.rate_seen], rate, tab="train")
    parts.rate.act(act_on_rate, inputs, [*parts.outputs(), *rate], **shell.INSTANT)
    for name in PIECES:
        parts.boxes[name].act(act_here if shell.oauth() else act, inputs, [*parts.outputs(), ctx.dataset, ctx.run, ctx.tabs, ctx.timer], **shell.INSTANT)


def rate_look(ctx, dataset: str, seen: dict) -> tuple[Any, Any]:
    """(seen, the card of the search), or gr.skip() for what this browser shows: beside a finished search the form is looked at again only when it has changed."""
    run = finder.current(ctx.home)
    of = (run.id, form_of(ctx).model_dump_json(), dataset) if run is not None and run.last_kind() == "finished" else None
    shown = seen.get("rate")
    if of is not None and shown is not None and shown.sure and seen.get("of") == of:
        return gr.skip(), gr.skip()
    prints, values = changes(seen, {"rate": rate_html(ctx, dataset)})
    return {**prints, "of": of}, values[0]


def rate_html(ctx, dataset: str) -> str:
    """The card of the search for a learning rate; "" where none is shown."""
    run = finder.current(ctx.home)
    if run is None:
        return ""
    config = None
    if run.last_kind() == "finished":  # then whether the form still says the same
        form, has = form_of(ctx), machine(ctx.home.root)
        with _one_look(ctx.home, form, dataset):
            config = draft.plan(ctx.home, form, dataset, has.on(form.gpu)).config
    return finder.html(ctx, run, config)


def form_of(ctx) -> Draft:
    """What stands in the form, in every browser."""
    return drafts.load(ctx.home, draft.FORM, Draft)


def changed(ctx, how: Callable[[Draft], Draft]) -> Draft:
    """The form after a change."""
    return drafts.change(ctx.home, draft.FORM, Draft, how)


def _fresh(seen: dict) -> dict:
    return {k: v for k, v in seen.items() if k not in ("fault", "anyway", "tried", "denied", "fitted", "away_fault", "own_fault")}


def paint(ctx, dataset: str, form: Draft, seen: dict) -> list:
    """[seen, every piece]; gr.skip() for what this browser shows already."""
    has = machine(ctx.home.root).on(form.gpu)
    found = [(ds.name, ds.title) for ds in datasets.list_datasets(ctx.home)]
    dataset = dataset if dataset in dict(found) else found[0][0] if len(found) == 1 else ""
    with _one_look(ctx.home, form, dataset):
        made = draft.plan(ctx.home, form, dataset, has)
        prints, values = changes(seen.get("prints", {}), _pieces(ctx, form, made, found, seen, has))
    return [{**seen, "prints": prints}, *values]


@contextmanager
def _one_look(home: Home, form: Draft, dataset: str) -> Iterator[None]:
    """While inside, each dataset of the form is looked at once."""
    with ExitStack() as looks:
        for ds in _of_form(home, form, dataset):
            looks.enter_context(ds.one_look())
        yield


def _of_form(home: Home, form: Draft, dataset: str) -> list[Dataset]:
    """The datasets that the form names and that are there; a part of a folder in place is one itself."""
    holds, found = form.kept(home, dataset), {}
    for name, part in ((dataset, holds.own.part), (holds.prior, ""), *((use.name, use.part) for use in holds.more)):
        with suppress(ValueError):
            if name:
                found[name] = datasets.resolve(home, name)
                found[name, part] = taken(home, DatasetUse(name=name, part=part)).ds
    return list({ds.meta: ds for ds in found.values()}.values())


def _pieces(ctx, form: Draft, made: Plan, found: list[tuple[str, str]], seen: dict, has) -> dict[str, str]:
    # what is merely not filled in yet is no fault before Start was pressed
    wrong = {p: t for p, t in made.wrong.items() if p != "dataset" or seen.get("tried")} | seen.get("denied", {})
    wrong = {path: plain(text) for path, text in wrong.items()}
    above = (draft.ABOVE, *([draft.WORDS] if made.words else ["concept.low"] if not made.at_once else []))
    parts = forms.groups(TrainConfig, draft.choices(ctx.home, _family(made, form)) | draft.options(ctx.home, made, form.edits), (*draft.HIDDEN, *above, *draft.idle(ctx.home, made, form.edits)))
    settings = forms.render(parts, made.base, form.edits, wrong, shown=made.config, pictures={"steps": trainpage.epochs_row(form, made, wrong), **_drawn(ctx, made)}) if made.base else ""
    holds = form.kept(ctx.home, made.dataset)
    learnt = [] if made.words else uses.shown(ctx.home, holds.own, holds.more, made.dataset)
    busy = None if has.device in CARDS and draft.free_card(ctx.home, made, form, has) else supervisor.running(ctx.home)
    return {
        "essentials": trainpage.essentials(holds, made, found, wrong, list(labels(has.cards).items()) if len(has.cards) > 1 else [], learnt, triggerword.line(ctx.home, form, made)),
        "presets": trainpage.presets(made, form, has, draft.bases(ctx.home, made.presets, has), _mine(ctx, made, has, seen)),
        "settings": settings,
        "plan": trainpage.plan_card(
            made, [] if made.words or "data.datasets" in form.edits else _missing(ctx, made.dataset, learnt), [] if made.words else thumbs(ctx, made.dataset), dict(found).get(made.dataset, ""),
            busy.title if busy and supervisor.uses_gpu(busy) else "", seen.get("fault", ""), bool(seen.get("anyway")), seen.get("fitted"), dict(found),
            queueing.read(ctx.home).paused, later.html(later.others(ctx.home, busy), bool(seen.get("anyway"))),
        ),
        "elsewhere": elsewhere.html(ctx.home, form, made.dataset, seen, machine(ctx.home.root)),
        "brought": brought.html(drafts.load(ctx.home, brought.NOTE, brought.Brought)),
    }  # fmt: skip


def _mine(ctx, made: Plan, has, seen: dict) -> str:
    said = f'<p class="ez-error" role="alert">{escape(plain(seen["own_fault"]))}</p>' if seen.get("own_fault") else ""
    return ownpresets.html(made.presets, made.preset.id if made.preset else "", has, lambda id, what: media.preset_url(ctx, id, what)) + said


def _missing(ctx, dataset: str, learnt: list[uses.Shown]) -> list[Missing]:
    """What is still to do before these datasets can be trained on; of those that were added with their titles."""
    found = missing(ctx.home, dataset)
    others = {one.use.name: one.title for one in learnt[1:] if one.count and one.use.name != dataset and not datasets.resolve(ctx.home, one.use.name).in_place}
    return found + [replace(m, text=tr("{dataset}: {fault}", dataset=title, fault=m.text)) for name, title in others.items() for m in missing(ctx.home, name)]


def _family(made: Plan, form: Draft) -> str:
    """The family that the form is about, also while something else in it is wrong."""
    config = made.config or made.base
    return form.edits.get("model.family", config.model.family if config else "")


def _drawn(ctx, made: Plan) -> dict[str, str]:
    """What settings come to, as pictures: {dotted path of the first of them: HTML}."""
    config = made.config or made.base
    try:
        now, usual = (timelaw.expected(c, registry.get("families", c.model.family, ctx.home.plugins).SPEC) for c in (config, made.base))
    except ValueError:
        return {}  # no such family: the plan says so
    return {"loss.timestep_law": lawchart.chart(now, usual), finder.PATH: finder.row(made.config, ctx.home)}


def thumbs(ctx, name: str) -> list[str]:
    """Addresses of the first thumbnails of a dataset."""
    ds = open_chosen(ctx.home, name)
    if ds is None:
        return []
    return [media.thumb_url(ctx, ds.name, p.id, p.sha256, p.treatment.view) for p in ds.page(0, 12)[0] if p.usable][:THUMBS]


def answer(ctx, dataset: str, seen: dict, data: dict, token: Secret | None = None) -> list:
    """What a button does: [*outputs, dataset, run, tabs, timer].  token: of whoever is signed in to a Space."""
    run = None
    if data.get("act") == "base":
        data = draft.same_goal(ctx.home, form_of(ctx), str(data.get("id", "")), machine(ctx.home.root))
    note = drafts.load(ctx.home, brought.NOTE, brought.Brought)
    act = str(data.get("act", ""))
    form = changed(ctx, lambda form: _of_the_note(pressed(form, data, dataset), note, act))
    if act == "brought-folders" and note.rows:
        form, dataset = draft.typed_rows(ctx.home, form, note.rows, dataset)
        form = changed(ctx, lambda _: form)
    if act == "split-uses" and dataset:
        form = changed(ctx, lambda form: draft.apart(ctx.home, form, dataset))
    if data.get("act") in ("brought-undo", "brought-close"):
        drafts.change(ctx.home, brought.NOTE, brought.Brought, lambda _: brought.Brought())
    if act.startswith(ownpresets.ACT):
        try:
            ownpresets.do(ctx.home, act, data)
        except (ValueError, OSError) as error:
            seen = {**seen, "own_fault": str(error)}
    if data.get("act") == "start":
        dataset = str((data.get("fields") or {}).get("dataset", dataset))
        run, seen = start(ctx, dataset, form, seen, "anyway" in data, token, data)
    if act.startswith("away") or act == "start-away":
        run, seen, form = away(ctx, dataset, form, seen, data, token)
    if act == f"{finder.ACT}find":
        seen = find_rate(ctx, dataset, form, seen, token)
        return [*paint(ctx, dataset, form, seen), dataset or gr.skip(), gr.skip(), gr.skip(), ctx.soon()]
    if data.get("act") == "fit":
        dataset, said = fitted(ctx, dataset, form)
        form, seen = form_of(ctx), {**seen, "fitted": said}
    painted = paint(ctx, dataset, form, seen)
    if run is None:
        return [*painted, dataset or gr.skip(), gr.skip(), gr.skip(), gr.skip()]
    return [*painted, dataset or gr.skip(), run, ctx.go("results"), ctx.soon()]


def fitted(ctx, dataset: str, form: Draft, ran_out: bool = False) -> tuple[str, list[str]]:
    """(its dataset, what was changed, in words) after the form was made to fit this machine.  ran_out: it was tried, and what was reckoned was too little."""
    has = machine(ctx.home.root).on(form.gpu)
    with _one_look(ctx.home, form, dataset):
        made = draft.plan(ctx.home, form, dataset, has)
        if ran_out and (e := made.estimate) and e.fits:
            few = {"vram_free_bytes": int(LESS * e.vram_bytes)} if e.vram_bytes else {"ram_free_bytes": int(LESS * e.ram_bytes)}
            has = replace(has, **few)
        edits, said = draft.fitting(ctx.home, made, form, has)
    rows = edits.pop("data.datasets", "")
    form = changed(ctx, lambda form: form.model_copy(update={"edits": {**form.edits, **edits}}))
    if rows:
        form, dataset = draft.typed_rows(ctx.home, form, rows, dataset)
        changed(ctx, lambda _: form)
    return dataset, said


def brought_file(ctx, file: str | None, dataset: str, seen: dict) -> list:
    """A job file of another trainer was dropped: its settings are in the form, and the note says what became of each."""
    if not file:
        return paint(ctx, dataset, form_of(ctx), seen)
    if own.is_one(Path(file)):
        try:
            id = own.bring(Path(file), ctx.home)
        except (ValueError, OSError) as error:
            return paint(ctx, dataset, form_of(ctx), {**seen, "own_fault": tr("{file}: {fault}", file=Path(file).name, fault=heard(str(error)))})
        return paint(ctx, dataset, changed(ctx, lambda form: form.model_copy(update={"preset": id})), seen)
    form, note = brought.take(Path(file), form_of(ctx), ctx.home, ctx.local)
    form = changed(ctx, lambda _: form)
    drafts.change(ctx.home, brought.NOTE, brought.Brought, lambda _: note)
    return paint(ctx, dataset, form, seen)


def _of_the_note(form: Draft, note: brought.Brought, act: str) -> Draft:
    """The form after a button of the note."""
    return note.before if act == "brought-undo" and note.before is not None else form


def pressed(form: Draft, data: dict, dataset: str) -> Draft:
    """The form after a button, while a dataset was chosen; Start brings along what was typed and not sent yet."""
    act = str(data.get("act", ""))
    if act in ("preset", "quality"):
        return form.model_copy(update={act: str(data.get("id", ""))})
    if act == "word":
        return form.edited("trigger", str(data.get("id", "")))
    if act == "learn-all":
        return form.edited("data.held_out", "0")
    if act in ("reset", "reset-all"):
        return form.reset(str(data.get("field", "")) if act == "reset" else "")
    for path, value in (data.get("fields") or {}).items():
        if path != "dataset":
            form = form.left(dataset, str(path), str(value))
    if act == "add-use" and len(form.more) < uses.MOST:
        own = form.at(dataset).own.model_copy(update={"name": dataset})  # so that it is known which one is the first
        form = form.model_copy(update={"own": own, "more": (*form.more, uses.new())})
    if act == "drop-use":
        form = form.model_copy(update={"more": tuple(use for use in form.more if use.key != data.get("id"))})
    return form


def start(ctx, dataset: str, form: Draft, seen: dict, anyway: bool, token: Secret | None = None, data: Mapping[str, Any] = MappingProxyType({})) -> tuple[str | None, dict]:
    """(id of the new run, seen), or (None, seen with the reason).  data: of the button, which may name a time or a run to begin after."""
    found = [ds.name for ds in datasets.list_datasets(ctx.home)]
    dataset = dataset if dataset in found else found[0] if len(found) == 1 else ""
    with _one_look(ctx.home, form, dataset):
        made = draft.plan(ctx.home, form, dataset, machine(ctx.home.root).on(form.gpu))
    if made.wrong:
        names = ", ".join(dict.fromkeys(_where(path) for path in made.wrong))
        return None, {**seen, "tried": True, "fault": made.wrong.get("", tr("Not started: look at {fields}", fields=names))}
    if made.estimate and not made.estimate.fits and not anyway:
        return None, {**seen, "anyway": True, "fault": tr("Not started: it does not fit this computer, see above")}
    denied = jobs.hindrances(ctx.home, made.config, (token or account.find_token()[0]).reveal() or None)
    if denied:
        return None, {**seen, "tried": True, "denied": denied, "fault": _not_started(next(iter(denied.values())))}
    try:
        return draft.begin(ctx.home, made, token, form.gpu, later.wait_of(ctx.home, data)).id, seen
    except (ValueError, OSError) as error:
        return None, {**seen, "fault": _not_started(str(error))}


def _not_started(why: str) -> str:
    return tr("Not started: {why}", why=heard(why))


def find_rate(ctx, dataset: str, form: Draft, seen: dict, token: Secret | None) -> dict:
    """seen, with the reason where a search for the learning rate could not be started."""
    with _one_look(ctx.home, form, dataset):
        made = draft.plan(ctx.home, form, dataset, machine(ctx.home.root).on(form.gpu))
    try:
        if made.wrong or made.config is None:
            names = ", ".join(dict.fromkeys(_where(path) for path in made.wrong))
            raise ValueError(tr("look at {fields} first", fields=names) if names else tr("look at the settings first"))
        denied = jobs.hindrances(ctx.home, made.config, (token or account.find_token()[0]).reveal() or None)
        if denied:
            raise ValueError(next(iter(denied.values())))
        finder.start(ctx.home, made.config, form.gpu, token)
    except (ValueError, OSError) as error:
        return {**seen, "tried": True, "denied": {finder.PATH: tr("It was not looked for: {why}", why=heard(str(error)))}}
    return seen


def away(ctx, dataset: str, form: Draft, seen: dict, data: dict, token: Secret | None) -> tuple[str | None, dict, Draft]:
    """(id of the new run or None, seen, the form) after a button of the panel on other machines."""
    act, id = str(data["act"]), str(data.get("id", ""))
    if act == "away":
        seen = {**seen, "away_open": not seen.get("away_open")}
    if act == "away-place":
        form = changed(ctx, lambda form: form.model_copy(update={"place": id}))
    if act == "away-machine":
        kind = form.place or next((k for k, told in seen.get("away", {}).items() if not told["why"]), "")
        form = changed(ctx, lambda form: form.edited(f"{draft.AWAY}.{kind}.machine", id))
    if act == "away-look" or (act == "away" and seen["away_open"]):
        seen = {**seen, "away": elsewhere.look(ctx.home, form, token), "away_looked": act == "away-look"}
    if act != "start-away":
        return None, seen, form
    with _one_look(ctx.home, form, dataset):
        made, why = elsewhere.config_for(ctx.home, form, dataset, id, seen.get("away", {}), machine(ctx.home.root))
    if made is None or made.wrong:
        names = ", ".join(dict.fromkeys(_where(path) for path in made.wrong)) if made else ""
        return None, {**seen, "tried": True, "away_fault": _not_started(why) if why else tr("Not started: look at {fields}", fields=names)}, form
    if denied := jobs.hindrances(ctx.home, made.config, (token or account.find_token()[0]).reveal() or None):
        return None, {**seen, "tried": True, "away_fault": _not_started(next(iter(denied.values())))}, form
    try:
        return draft.begin(ctx.home, made, token).id, seen, form
    except (ValueError, OSError) as error:
        return None, {**seen, "away_fault": _not_started(str(error))}, form


# fields above the folded ones, as the page names them
CALLED = {
    "dataset": N_("Pictures"), "name": N_("Name"), "trigger": N_("Trigger word"), "keep.on": N_("Keep what the base model knows"), "concept.targets": N_("What changes"),
    "concept.low": N_("Low ends"), "prior": N_("Keep as it is"), "gpu": N_("Graphics card"), "epochs": N_("Epochs in All settings"), "preset": N_("the preset"),
}  # fmt: skip


def _where(path: str) -> str:
    """A field as the page names it."""
    if path.startswith(f"{uses.PLACE}."):
        return tr("The datasets of this run")
    return tr(CALLED[path]) if path in CALLED else tr("{setting} in All settings", setting=tr(forms.label_of(path)))
