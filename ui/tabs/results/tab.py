"""Results: every run, and everything about the chosen one, live."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr

from training import outside, registry
from training.away import place, state
from training.data import datasets
from training.data.parts import inside
from training.formats.deliver import Offer, adapter_file
from training.hub import publish
from training.hub.secrets import Secret
from training.jobfile import MAX_BYTES
from training.runs import choosing, exactly, longer, notes, origin, placing, queueing, searching, shown, supervisor
from training.runs.events import RunView
from training.runs.reached import reached
from training.runs.run import Run, list_runs, look_through, of_kinds

from ... import shell, views
from ...kept import kept
from ...language import N_, tr
from ...language.heard import heard
from ...poll import Watch, changes, result_of
from ...server import client, media
from ...theme import ASSETS
from ...words import in_words
from . import acts, advice, comparing, elsewhere, finding, gallery, looking, noted, outlook, queue, strips, travel
from . import page as runpage
from .acts import Done, Press
from .chart import chart

TITLE = N_("Results")
CSS = "".join((ASSETS / name).read_text(encoding="utf-8") for name in ("results.css", "advice.css")) + outlook.CSS
JS = (ASSETS / "results.js").read_text(encoding="utf-8")
SHEETS = (("jpg", N_("As a JPEG")), ("png", N_("As a PNG")))
NOTICE_S = 8.0  # how long the answer to an action stays
PIECES = ("queue", "find", "strip", "head", "going", "noted", "prompts", "teaching", "samples", "pairs", "advice", "chart", "checkpoints", "compare", "warnings", "details", "elsewhere")
# those with buttons and fields -> what becomes of a press while another one is being answered: a double click counts once, of a line that is
# typed the last state counts, and stars and notes all count
SPEAKING = {
    "queue": "multiple", "find": "always_last", "strip": "once", "head": "once", "going": "once", "noted": "multiple", "prompts": "once", "samples": "multiple", "advice": "once", "checkpoints": "once",
    "compare": "multiple", "elsewhere": "once",
}  # fmt: skip

@dataclass
class Parts:
    """What the tab is made of.  seen: what this browser shows already.  view: how somebody looks at the runs, which a tick never writes."""

    seen: gr.State
    view: gr.State
    boxes: dict[str, gr.HTML]
    body: gr.Column
    travel: travel.Parts

    def outputs(self) -> list:
        return [self.seen, self.body, *(self.boxes[name] for name in PIECES)]


def build(ctx) -> Parts:
    """The layout: the strip of runs, the chosen run's head, samples beside curve and checkpoints."""
    seen, view = gr.State({}), gr.State(looking.View())
    gr.HTML(shell.heading(tr(TITLE), tr("Samples, curve and checkpoints of every run. Training goes on when you close this page.")), apply_default_css=False)
    boxes = {"queue": gr.HTML("", apply_default_css=False, js_on_load=queue.BIND), "find": _box(), "strip": _box()}
    with gr.Column(visible=False, elem_classes="ez-results") as body:
        boxes["head"] = _box()
        boxes["going"] = _box()
        boxes["noted"] = _box()
        boxes["warnings"] = _box()
        with gr.Column(elem_classes="ez-card"):
            gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("Samples"))}</h2>')
            boxes["prompts"] = _box()
            boxes["samples"] = _box()
        boxes["pairs"] = _box()
        boxes["advice"] = _box()
        boxes["teaching"] = _box()
        with gr.Row(elem_classes="ez-two"):
            with gr.Column(elem_classes="ez-card", scale=3, min_width=320):
                gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("Loss"))}</h2>')
                boxes["chart"] = _box()
            with gr.Column(elem_classes="ez-card", scale=2, min_width=300):
                gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("Checkpoints"))}</h2>')
                boxes["checkpoints"] = _box()
        boxes["compare"] = _box()
        with gr.Column(elem_classes="ez-card"):
            boxes["details"] = _box()
            boxes["elsewhere"] = _box()
    return Parts(seen, view, boxes, body, travel.build(ctx))


def _box() -> gr.HTML:
    return gr.HTML("", apply_default_css=False, js_on_load=client.BIND)


def wire(parts: Parts, ctx) -> None:
    """Polls while the tab is shown; every button of the page is one event with a word."""

    def look(chosen, seen, view=looking.USUAL):
        return paint(ctx, chosen, seen, view)

    def act(chosen, seen, view, event: gr.EventData):
        return act_here(chosen, seen, view, event, None)

    def act_here(chosen, seen, view, event: gr.EventData, token: gr.OAuthToken | None):
        data = event._data or {}
        what, value = str(data.get("act", "")), str(data.get("value", ""))
        among = looking.among(view, {run.id for run in list_runs(ctx.home.outputs, {"train"})}, seen.get("run") or chosen) if what == "with" else view
        now = looking.after(among, what, value)
        return [*answer(ctx, chosen, seen, data, Secret(token.token) if token else None, now), gr.skip() if now == view else now]

    inputs = [ctx.run, parts.seen, parts.view]
    ctx.at_load(look, inputs, parts.outputs(), tab="results")
    ctx.every_tick(look, inputs, parts.outputs(), tab="results")
    ctx.items["results"].select(look, inputs, parts.outputs(), **shell.INSTANT)
    ctx.run.change(look, inputs, parts.outputs(), **shell.INSTANT)
    outputs = [*parts.outputs(), ctx.run, ctx.tabs, ctx.timer, ctx.dataset, parts.view]
    travel.wire(parts.travel, ctx, look, parts.outputs(), parts.view)
    for name, mode in SPEAKING.items():
        parts.boxes[name].act(act_here if shell.oauth() else act, inputs, outputs, trigger_mode=mode, **shell.INSTANT)

    def mend(chosen, seen, view, event: gr.EventData):
        data = event._data or {}
        if data.get("act") != "caption":
            return [*answer(ctx, chosen, seen, data, None, view), gr.skip(), gr.skip()]
        dataset, name = outlook.caption_of(str(data.get("value", "")))
        return [*[gr.skip()] * (len(outputs) - 4), ctx.go("captions"), gr.skip(), dataset, gr.skip(), name]

    parts.boxes["teaching"].act(mend, inputs, [*outputs, ctx.parts["captions"].query], **shell.INSTANT)


# what the page shows


def empty() -> str:
    """Instead of a page without a run."""
    what = tr("A run appears here as soon as it starts, with its samples, its loss curve and, in the end, the LoRA. It goes on when you close this page.")
    return (
        f'<div class="ez-empty"><h2>{escape(tr("No runs yet"))}</h2><p>{escape(what)}</p>'
        f'<button type="button" class="ez-btn ez-primary" data-tab="train">{escape(tr("Set up a run"))}</button></div>'
    )


def paint(ctx, chosen: str, seen: dict[str, Any], view: looking.View = looking.USUAL) -> list:
    """[seen, body, every piece]; gr.skip() for what this browser shows already."""
    now = time.time()
    everyone, broken = look_through(ctx.home.outputs)
    busy = supervisor.foremost(supervisor.busy(ctx.home, everyone))
    runs, cards = [], []
    for one in of_kinds(everyone, {"train"}):
        try:
            waits = ctx.watch.status(one)[1] == "queued"  # only such a one can be kept from starting
            now_view, status = status_now(ctx, one, ahead_of(ctx.home, one, busy) if waits else "")
            cards.append(runpage.Card(one.id, one.title, status, one.created_t, now_view))
            runs.append(one)
        except (ValueError, OSError) as error:  # it became unreadable since it was listed
            broken.append((one.id, in_words(str(error))))
    run = pick(runs, chosen, ctx.watch)
    if run is None:
        pieces = dict.fromkeys(PIECES, "") | {"queue": queue.html(queue.look(ctx.home, busy, everyone)), "strip": runpage.broken(broken) or empty()}
    else:
        notice = seen.get("notice", ("", "", 0.0))
        page = page_of(ctx, run, ahead_of(ctx.home, run, busy), notice[:2] if notice[2] > now else ("", ""))
        page = replace(page, gone=seen["gone"][1] if seen.get("gone", ("",))[0] == run.id else "", room=seen["room"][1] if seen.get("room", ("",))[0] == run.id else None)
        facts = [searching.facts(one) for one in runs]
        query = searching.parse(view.find)
        among = cards if query.empty else [card for card, of in zip(cards, facts, strict=True) if searching.matches(query, of, card.status)]
        made = pieces_of(ctx, page, among, now, bool(seen.get("all")) or not query.empty, view)
        made |= {"find": finding.html(facts, view.find, len(among), now), "compare": compare_of(ctx, run, runs, view.beside), "queue": queue.html(queue.look(ctx.home, busy, everyone), run.id)}
        pieces = {name: made[name] for name in PIECES}
        pieces["strip"] += runpage.broken(broken)
    prints, values = changes(seen.get("prints", {}), {"body": run is not None, **pieces})
    body = gr.Column(visible=run is not None) if values[0] in (True, False) else values[0]
    which = run.id if run else ""
    if prints == seen.get("prints") and which == seen.get("run", ""):
        return [gr.skip()] * (2 + len(PIECES))
    return [{**seen, "prints": prints, "run": which}, body, *values[1:]]


def pick(runs: list[Run], chosen: str, watch: Watch) -> Run | None:
    """The chosen run; where it is gone or none was chosen, the one that runs, else the newest."""
    for run in runs:
        if run.id == chosen:
            return run
    return next((run for run in runs if watch.status(run)[1] == "running"), runs[0] if runs else None)


def shown_run(runs: list[Run], chosen: str, seen: dict[str, Any], watch: Watch) -> Run | None:
    """The run whose buttons this browser shows: where the chosen one is gone or none was chosen, another could run by now.  Raises ValueError where it is gone."""
    ids = {run.id for run in runs}
    shown = chosen if chosen in ids else seen.get("run") or chosen
    if shown and shown not in ids:
        raise ValueError(tr("The page has changed meanwhile; look again."))
    return pick(runs, shown, watch)


def pieces_of(ctx, page: runpage.Page, cards: list[runpage.Card], now: float, everything: bool, view: looking.View) -> dict[str, str]:
    """Every piece of the page as HTML."""

    def src_of(id):
        return lambda path: media.sample_url(ctx, id, path)

    src = src_of(page.id)
    run = Run(ctx.home.outputs / page.id)
    said = notes.of(run)
    wall = gallery.Wall(page.id, said, shown.fixed_of(run.job()), view.starred, view.everything, tuple((page.links[f"contact-sheet.{end}"], tr(what)) for end, what in SHEETS), strips.of(run.job(), ctx.home.plugins))
    checkpoints, seen = _kept(page), (wall.fixed, wall.starred, wall.everything, wall.sheets, wall.strip, page.videos)
    samples = kept("samples", page.id, (page.view.samples, page.view.prompts, page.view.checkpoints, said), (seen, tuple(checkpoints.items())), lambda: gallery.grid(page.view, src, page.videos, checkpoints, wall))
    pairs = kept("pairs", page.id, (page.view.samples, said), (), lambda: gallery.before_after(page.view, src, hidden=said.hidden, strip=wall.strip))
    curve = kept("chart", page.id, (page.view.losses, page.view.validations), page.view.of, lambda: chart(page.view))
    table = f'<a class="ez-link ez-small ez-csv" href="{page.links["losses.csv"]}" download>{escape(tr("Download as a table (CSV)"))}</a>' if page.view.losses else ""
    return {
        "strip": runpage.strip(cards, page.id, src_of, now, everything),
        "head": runpage.head(page, now),
        "noted": noted.html(page.id, said),
        "prompts": noted.editor(run, page.view) if page.status == "running" and page.stopping_s is None else "",
        "going": outlook.line(page.going, page.status != "running"),
        "teaching": outlook.pictures(page.odd, page.weighed, page.status == "running" and page.stopping_s is None),
        "samples": samples,
        "pairs": f'<section class="ez-card"><h2 class="ez-subtitle ez-gap-below">{escape(tr("Before and after"))}</h2>{pairs}</section>' if pairs else "",
        "advice": advice.panel(page.view, tuple(step for step, _ in page.checkpoints), page.choosable, page.status == "finished"),
        "chart": curve + table,
        "checkpoints": runpage.checkpoints(page),
        "warnings": runpage.warnings(page.view),
        "details": runpage.details(page),
        "elsewhere": elsewhere.html(page.elsewhere),
    }


def _kept(page: runpage.Page) -> dict[int, str]:
    """{step: address of its checkpoint, in the layout that is offered first}."""
    firsts = ((step, next((url for what, url in page.links.items() if what.startswith(f"step-{step}-")), "")) for step, _ in page.checkpoints)
    return {step: url for step, url in firsts if url}


def compare_of(ctx, run: Run, runs: list[Run], beside) -> str:
    """The card that puts other runs beside the chosen one."""
    known = {one.id: one for one in runs}
    shown = [run, *(known[id] for id in beside if id in known and id != run.id)][: comparing.MOST]
    taken = {one.id for one in shown}
    others = tuple((one.id, f"{one.title} · {views.when(one.created_t, time.time())}") for one in runs if one.id not in taken)[: comparing.MOST_OFFERED]
    now = [ctx.watch.view(one) for one in shown]

    def make() -> str:
        sides = [comparing.of(one, view, lambda path, id=one.id: media.sample_url(ctx, id, path)) for one, view in zip(shown, now, strict=True)]
        return comparing.html(sides, others)

    of = [part for one, view in zip(shown, now, strict=True) for part in (view.samples, view.prompts, view.losses, view.validations, notes.of(one), one.job())]
    return kept("compare", run.id, tuple(of) if len(shown) > 1 else (), (tuple(one.id for one in shown), others), make)


def ahead_of(home, run: Run, busy: Run | None) -> str:
    """Title of the run that keeps this one from starting; "" when none does."""
    if not busy or busy.path == run.path or not supervisor.uses_gpu(busy):
        return ""
    ahead = supervisor.in_the_way(run, home) if placing.cards_for(run, home) else busy
    return ahead.title if ahead else ""


def status_now(ctx, run: Run, ahead: str) -> tuple[RunView, str]:
    """(view, status); "starting" while its worker is on its way, as for a queued run that nothing keeps from starting."""
    view, status = ctx.watch.status(run)
    waits = ahead or status == "queued" and (not origin.made_here(run.path) or queueing.why_held(ctx.home, run))
    return view, "starting" if status == "queued" and not waits or status in views.RESUMABLE and supervisor.starting(run) else status


def page_of(ctx, run: Run, ahead: str, notice: tuple[str, str]) -> runpage.Page:
    """What there is to say about a run, read from its folder."""
    view, status = status_now(ctx, run, ahead)
    result = result_of(run, view)
    asked_s = stopping(run, view) if status == "running" else None
    kept = [(step, adapter_file(path).stat().st_size) for step, path in run.checkpoints() if adapter_file(path).is_file()]
    files = ("lora", *(f"step-{step}" for step, _ in kept))
    offers = offers_of(ctx, run)
    offered = [f"{what}-{o.id}" for what in files for o in offers]
    links = {what: media.file_url(ctx, run.id, what) for what in (*(files if offers else files[:1]), *offered, "log.txt", "job.yaml", "losses.csv", "contact-sheet.jpg", "contact-sheet.png")}
    whole = result is not None and result.is_dir()
    startable = status in ("queued", *views.RESUMABLE)
    return runpage.Page(
        id=run.id, title=run.title, status=status, view=view, about=about(run), created_t=run.created_t,
        why=run.why(view) if status in ("failed", "interrupted") else "", kind=run.error_kind(view) if status in ("failed", "interrupted") else None,
        stopping_s=asked_s, kill_offered=asked_s is not None and asked_s >= supervisor.KILL_OFFERED_AFTER_S, ahead=ahead,
        leaving=status in views.RESUMABLE and run.locked(), held=queue.held(ctx.home, run) if status == "queued" else "",
        result=(str(result) if whole else result.name) if result else "", whole=whole, result_bytes=_size_bytes(result) if result else 0,
        checkpoints=tuple(kept), videos=frozenset(f"samples/{p.name}" for p in run.samples("*.mp4")),
        longer=longer_of(run, status), ways=ways_of(run, status, ctx.home), again=again_of(ctx, run), size_bytes=run.size_bytes() if status != "running" else 0, log=run.log_tail(), settings=settings_of(run), notice=notice, links=links,
        foreign=None if not startable or origin.made_here(run.path) else origin.question(run.path),
        downloads=tuple((o.id, o.title) for o in offers), choosable=status == "finished" and not choosing.hindrance(run), exports=travel.ways_out(ctx, run), elsewhere=() if shell.oauth() or status == "queued" else elsewhere.rows_of(ctx, run),
        going=outlook.going_of(run, view), odd=outlook.odd_of(ctx, run, view), weighed=outlook.weighed_of(view),
        away=place_of(run), left_there=state.remembered(run.path) is not None,
        lacks=travel.lacking(run, ctx) if status in views.RESUMABLE and not supervisor.sent_away(run) else (), sets=tuple((ds.name, ds.title) for ds in datasets.list_datasets(ctx.home)) if status in views.RESUMABLE else (),
    )  # fmt: skip


def offers_of(ctx, run: Run) -> tuple[Offer, ...]:
    """The files in which the run's adapter can be downloaded: none of a whole model, or where a plugin of its job is gone."""
    try:
        return publish.offers_of(run, ctx.home.plugins)
    except ValueError:
        return ()


def _size_bytes(result) -> int:
    return sum(f.stat().st_size for f in result.rglob("*") if f.is_file()) if result.is_dir() else result.stat().st_size


def stopping(run: Run, view: RunView) -> float | None:
    """Seconds since this attempt was asked to stop; None when it was not."""
    asked_t = run.asked_t("stop", view.started_t)
    return None if asked_t is None else time.time() - asked_t


def about(run: Run) -> str:
    """Base model, datasets with the versions it was trained on, size of the adapter: one line."""
    job, learnt = run.job(), exactly.learnt(run)
    try:
        named = [(use["name"], learnt.get(use["name"]) or learnt.get(inside(use["name"], use.get("part", "")))) for use in job["data"]["datasets"]]
        names = [tr("{name} (version {version})", name=name, version=one.version) if one else name for name, one in named]
        family = job["model"]["family"]
        try:
            family = heard(registry.get("families", family).SPEC.called(job["model"]["source"]))
        except ValueError:
            pass  # its plugin is gone; the id still says which it was
        away = place_of(run)
        return " · ".join(filter(None, (family, ", ".join(names), _adapter(job["adapter"]), tr("on {place}", place=away) if away else "")))
    except (KeyError, TypeError, AttributeError):
        return run.kind


def place_of(run: Run) -> str:
    """The other machine that a run is trained on, "" for any other run."""
    if not supervisor.is_elsewhere(run):
        return ""
    try:
        module, options = place.of(run.config(), run.plugins)
        where = place.where(module, options)
        return tr(where) if where == module.TITLE else where
    except (ValueError, OSError):
        return str(run.job()["place"]["kind"])  # its plugin is gone; the id still says which it was


def _adapter(told: dict[str, Any]) -> str:
    """The kind of adapter, where it is not the usual one, and its rank, where it has one."""
    try:
        adapter = registry.get("adapters", told["type"])
    except ValueError:
        return told["type"]
    words = ([tr(adapter.TITLE)] if told["type"] != "lora" else []) + ([tr("rank {rank}", rank=told["rank"])] if "rank" in adapter.USES else [])
    return ", ".join(words)


def settings_of(run: Run) -> str:
    """The job file as it stands: written whole when the run was made."""
    return outside.read_text(run.path / "job.yaml", MAX_BYTES)


# what its buttons do


def answer(ctx, chosen: str, seen: dict[str, Any], data: dict[str, Any], token: Secret | None = None, view: looking.View = looking.USUAL) -> list:
    """Does what a button says, then paints: [*outputs, run, tabs, timer, dataset].  token: of whoever is signed in to a Space."""
    seen = {k: v for k, v in seen.items() if k not in ("notice", "gone", "room")}
    act, now = str(data.get("act", "")), chosen
    try:
        if act == "all":
            done = Done(seen={"all": not seen.get("all")})
        elif act == "choose":
            done = Done(chosen=str(data.get("run", "")))
        elif act in looking.ACTS:
            done = Done()  # `view` holds it already
        elif act.startswith(queue.ACT):
            done = Done(queue.do(ctx.home, act.removeprefix(queue.ACT), data))
        else:
            run = shown_run(list_runs(ctx.home.outputs, {"train"}), chosen, seen, ctx.watch)
            if run is None:
                raise ValueError(tr("That run is gone."))
            if act not in noted.ACTS:  # a field that is left for another run's card is saved while that one is chosen
                now = run.id
            done = acts.on_run(Press(ctx, run, act, data, token))
    except (ValueError, OSError) as error:
        done = Done(in_words(str(error)), "ez-bad")
    now = now if done.chosen is None else done.chosen
    seen |= done.seen
    if done.said:
        seen["notice"] = (done.look, done.said, time.time() + NOTICE_S)
    painted = paint(ctx, now, seen, view)
    if painted[0] == gr.skip():
        painted[0] = seen
    return [*painted, gr.skip() if now == chosen else now, done.tabs, ctx.soon(), done.dataset]


def again_of(ctx, run: Run) -> str | None:
    """Why a run cannot be trained again on exactly the same pictures; "" where it can, None where it says of none which they were."""
    return exactly.hindrance(run, ctx.home) if exactly.learnt(run) else None


def longer_of(run: Run, status: str) -> tuple[int, tuple[str, ...]]:
    """(how many more steps are proposed, what they mean), or (0, why it cannot be); (0, ()) for a run that is not finished."""
    if status != "finished":
        return 0, ()
    try:
        if refused := longer.hindrance(run):
            return 0, (in_words(refused),)
        config = run.config()
        more = max(1, config.steps // 2)
        return more, tuple(longer.said(config, more, went_milder=bool(reached(run))))
    except (ValueError, OSError) as error:
        return 0, (in_words(str(error)),)


def ways_of(run: Run, status: str, home) -> tuple[tuple[tuple[str, str], ...], float]:
    """((id, title) of how the learning rate may go on when it is trained longer, what it is proposed to begin anew at)."""
    try:
        config = run.config() if status == "finished" else None
        return (tuple((id, longer.WAYS[id]) for id in longer.ways(config, home.plugins)), longer.usual_share(config)) if config else ((), 0.3)
    except (ValueError, OSError):
        return (), 0.3
