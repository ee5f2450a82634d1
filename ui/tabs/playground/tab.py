"""Playground: pictures of what was trained, at once, from a model that stays in memory while somebody plays."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from training import registry
from training.hub.secrets import Secret
from training.jobs.play import READY
from training.plan.hardware import machine
from training.runs import supervisor
from training.runs.run import Run, create

from ... import drafts, shell, views
from ...language import N_, tr, trn
from ...language.heard import heard
from ...poll import changes
from ...server import client, media
from ...words import in_words
from ..publish import tab as publish
from ..train import draft
from ..train import tab as train
from . import asks, besides, many, sliders, votes
from . import page as playpage
from .asks import Wish

TITLE = N_("Playground")
CSS, JS = client.CSS, client.JS
PIECES = ("form", "engine", "stage", "repair", "votes", "history", "many", "sheets")
FAULTS = ("fault", "many-fault", "repair-fault")
NOTICE_S = 8.0
LOOK_S = 0.15  # between two looks for a picture that is being drawn
LOST = N_("The picture was not finished: the model left the memory before. Draw again.")
PATIENCE_S = 900.0  # of one click; the page's own tick shows what comes later
OWN = N_("The base model’s own")


@dataclass
class Parts:
    """What the tab is made of.  seen: what this browser shows already."""

    seen: gr.State
    boxes: dict[str, gr.HTML]
    drop: gr.File  # a picture for a network beside the base model; the style sheet hides it where the form asks for none

    def outputs(self) -> list:
        return [self.seen, *(self.boxes[name] for name in PIECES)]


def build(ctx) -> Parts:
    """The layout: the form on the left, the pictures and what was drawn before on the right."""
    seen = gr.State({})
    boxes: dict[str, gr.HTML] = {}
    gr.HTML(shell.heading(tr("Playground"), tr("Try what was trained: a prompt, a picture, side by side with another, at any strength.")), apply_default_css=False)
    with gr.Row(elem_classes="ez-two", elem_id="ez-play"):
        with gr.Column(scale=2, min_width=300, elem_classes="ez-side-card"), gr.Column(elem_classes="ez-card"):
            boxes["form"] = _box()
            drop = gr.File(label=tr("Drop a picture here"), show_label=False, file_types=["image"], type="filepath", elem_classes=["ez-drop", "ez-drop-shown"], height=104)
            boxes["engine"] = _box()
        with gr.Column(scale=4, min_width=320):
            with gr.Column(elem_classes="ez-card"):
                boxes["stage"] = _box()
            boxes["repair"] = _box()
            boxes["votes"] = _box()
            boxes["history"] = _box()
            boxes["many"] = _box()
            boxes["sheets"] = _box()
    return Parts(seen, boxes, drop)


def _box() -> gr.HTML:
    return gr.HTML("", apply_default_css=False, js_on_load=client.BIND)


def wire(parts: Parts, ctx) -> None:
    """Each field that is left is an edit, each button an act; after Draw the pictures are followed as they come."""
    inputs = [ctx.run, parts.seen]

    def look(chosen, seen):
        return paint(ctx, seen)

    def follow_run(chosen, seen):
        wish = form_of(ctx)
        if chosen and chosen != wish.run.removeprefix(besides.MARK) and not wish.run.startswith(asks.BASE):
            changed(ctx, lambda w: w.edited("run", asks.choice_of(ctx.home, chosen)))
        return paint(ctx, seen)

    def edit(chosen, seen, event: gr.EventData):
        data = event._data or {}
        changed(ctx, lambda wish: wish.edited(str(data.get("field", "")), str(data.get("value", ""))))
        return paint(ctx, {k: v for k, v in seen.items() if k not in FAULTS})

    def act(chosen, seen, event: gr.EventData):
        return answer(ctx, chosen, seen, dict(event._data or {}))

    def act_here(chosen, seen, event: gr.EventData, token: gr.OAuthToken | None):
        return answer(ctx, chosen, seen, dict(event._data or {}), Secret(token.token) if token else None)

    def dropped(upload, seen):
        if not upload:
            return [*paint(ctx, seen), gr.skip()]
        try:
            shown = besides.bring(ctx.home, Path(upload))
        except (ValueError, OSError) as error:
            raise gr.Error(in_words(str(error)), print_exception=False) from None
        takes = asks.bench(ctx.home, form_of(ctx)).takes(ctx.home)
        changed(ctx, lambda wish: wish.edited("more_from", shown) if takes else wish.model_copy(update={"shown": shown}))
        return [*paint(ctx, seen), None]

    def follow(seen):
        yield from followed(ctx, seen)

    ctx.at_load(look, inputs, parts.outputs(), tab="playground")
    ctx.every_tick(look, inputs, parts.outputs(), tab="playground")
    ctx.items["playground"].select(look, inputs, parts.outputs(), **shell.INSTANT)
    ctx.run.change(follow_run, inputs, parts.outputs(), **shell.INSTANT)
    parts.drop.upload(dropped, [parts.drop, parts.seen], [*parts.outputs(), parts.drop], **shell.QUIET)
    for name in ("form", "repair", "many"):
        parts.boxes[name].edit(edit, inputs, parts.outputs(), **shell.INSTANT)
    outputs = [*parts.outputs(), ctx.run, ctx.tabs, ctx.timer]
    for name in PIECES:
        parts.boxes[name].act(act_here if shell.oauth() else act, inputs, outputs, **shell.INSTANT).then(
            follow, [parts.seen], parts.outputs(), **shell.QUIET
        )


def form_of(ctx) -> Wish:
    """What stands in the form, in every browser."""
    return drafts.load(ctx.home, asks.FORM, Wish)


def changed(ctx, how) -> Wish:
    """The form after a change."""
    return drafts.change(ctx.home, asks.FORM, Wish, how)


# what the page shows


def paint(ctx, seen: dict[str, Any]) -> list:
    """[seen, every piece]; gr.skip() for what this browser shows already."""
    prints, values = changes(seen.get("prints", {}), pieces_of(ctx, seen))
    if prints == seen.get("prints") and "touched" not in seen:
        return [gr.skip()] * (1 + len(PIECES))
    return [{**{k: v for k, v in seen.items() if k != "touched"}, "prints": prints}, *values]


def pieces_of(ctx, seen: dict[str, Any]) -> dict[str, str]:
    """Every piece of the page as HTML."""
    wish = form_of(ctx)
    bench = asks.bench(ctx.home, wish)
    studios = asks.studios(ctx.home)
    notice = seen.get("notice", ("", 0.0))
    past = asks.history(ctx.home)
    made, studio = shown(ctx, wish, past, studios)
    waiting = _waiting(ctx, wish, studio) if made is None else None
    ballot = made is not None and made.told["request"]["mode"] == "vote" and not made.told["error"] and made.id not in voted_on(ctx, made)
    hidden = ballot or waiting is not None and wish.mode == "vote"
    if made is None and waiting is None and past and not wish.showing:
        made, studio = past[0], past[0].studio
    lost = wish.showing and made is None and waiting is None
    files = _files(studio, wish.showing) if waiting and studio else []
    found = votes.of(bench.run) if bench.run else []
    kept = [one for one in past if one.told["request"]["mode"] != "vote" or one.id in voted_on(ctx, one)]
    return {
        "form": playpage.form(wish, bench, samplers_of(ctx, bench), seen.get("fault", ""), shown_to(ctx, wish, bench), makings_of(ctx, wish, bench)),
        "engine": playpage.engine(engine_of(ctx, studios, bench)),
        "stage": playpage.stage(made, files, waiting, _src(ctx, studio), notice[0] if notice[1] > time.time() else tr(LOST) if lost else "", hidden, bench.run is not None and made is not None),
        "repair": sliders.form(ctx.home, wish, bench, seen.get("repair-fault", "")),
        "votes": playpage.votes(votes.ranks(bench.run, ctx.watch.view(bench.run)), len(found)) if bench.run else "",
        "many": many.form(wish, bench, seen.get("many-fault", ""), many.told(ctx.home, wish, bench)),
        "sheets": many.past(wish, many.sheets(ctx), lambda run: _src(ctx, run)),
        "history": playpage.history(kept, wish.showing, lambda one: _src(ctx, one.studio)),
    }


def shown_to(ctx, wish: Wish, bench: asks.Bench) -> playpage.Shown | None:
    """What the network of the chosen run can be shown, and is; None for a LoRA."""
    if bench.beside is None:
        return None
    options = besides.offered(ctx.home, bench.beside)
    if wish.shown.startswith(besides.FILE):
        return playpage.Shown(bench.beside.control, [(wish.shown, tr("The one that was dropped")), *options])
    found = besides.picture(ctx.home, bench.beside, wish.shown)
    if found is None:
        return playpage.Shown(bench.beside.control, options)
    ds, picture = found
    file, version = (picture.control.path.name, picture.control.sha256) if bench.beside.control and picture.control else (picture.id, picture.sha256)
    return playpage.Shown(bench.beside.control, options, media.thumb_url(ctx, ds.name, file, version, picture.treatment.view))


def makings_of(ctx, wish: Wish, bench: asks.Bench) -> playpage.Makings | None:
    """What the base model can make pictures from, and does; None where it draws from words alone."""
    takes = bench.takes(ctx.home)
    if takes is None:
        return None
    rows = []
    for one in besides.chosen(wish.made_from, takes):
        ds, picture = besides.lying(ctx.home, bench.run, one) or (None, None)
        file, version = (picture.control.path.name, picture.control.sha256) if picture and picture.control and not takes.first else (picture.id, picture.sha256) if picture else ("", "")
        rows.append((one, besides.label(one), media.thumb_url(ctx, ds.name, file, version, picture.treatment.view) if ds and picture and not ds.in_place else ""))
    return playpage.Makings(takes, besides.makings(ctx.home, bench.run, takes), rows)


def voted_on(ctx, made: asks.Made) -> set[str]:
    """The pairs that were voted on, of the run that a request is about."""
    try:
        return votes.voted(Run.open(ctx.home.outputs, made.told["request"]["about"].get("run", "")))
    except ValueError:  # the run is gone, so there is nothing left to vote for
        return {made.id}


def shown(ctx, wish: Wish, past: list[asks.Made], studios: list[Run]) -> tuple[asks.Made | None, Run | None]:
    """(what came of the request that is shown, its studio)."""
    for one in past:
        if one.id == wish.showing:
            return one, one.studio
    for studio in studios if wish.showing else []:
        if found := asks.made(studio, wish.showing):
            return found, studio
    running = next((run for run in studios if run.locked() or supervisor.starting(run)), None)
    return None, running


def _waiting(ctx, wish: Wish, studio: Run | None) -> playpage.Waiting | None:
    """The request that is shown, while the studio lives and it is not through."""
    if not wish.showing or studio is None:
        return None
    if wish.showing not in _asked and ctx.watch.view(studio).phase == READY:  # it was cut off, and is asked for by nobody any more
        return None
    done = len(_files(studio, wish.showing))
    return playpage.Waiting(wish.showing, done, max(_asked.get(wish.showing, 1), done))


_asked: dict[str, int] = {}  # pictures of requests that were sent by this app and are not through


def _files(studio: Run | None, id: str) -> list[str]:
    """The pictures of a request that are there, in their order."""
    if studio is None or not id:
        return []
    found = studio.samples(f"{id}_*.png") + studio.samples(f"{id}_*.webp")
    return [f"samples/{path.name}" for path in sorted(found, key=lambda p: int(p.stem.rpartition("_")[2]))]


def _src(ctx, studio: Run | None) -> playpage.Source:
    return lambda path: media.sample_url(ctx, studio.id if studio else "", path, "1")  # a picture never changes


def engine_of(ctx, studios: list[Run], bench: asks.Bench) -> playpage.Engine:
    """How the studio stands that is open, or why none can be opened."""
    studio = next((run for run in studios if run.locked() or supervisor.starting(run)), None)
    if studio is None:
        return playpage.Engine(blocked=hindrance(ctx, bench))
    view = ctx.watch.view(studio)
    if supervisor.starting(studio) or not view.phase:
        return playpage.Engine(tr("Starting"))
    detail = views.amount(view.phase_done, view.phase_of, view.phase_unit)
    return playpage.Engine(heard(view.phase), detail, view.phase == READY, view.memory_bytes)


def hindrance(ctx, bench: asks.Bench) -> str:
    """Why no model can be loaded now; "" where one can."""
    if why := supervisor.no_accelerator():
        return heard(why)
    busy = supervisor.running(ctx.home)
    if busy is None or not supervisor.uses_gpu(busy):
        return ""
    if bench.run is not None and busy.path == bench.run.path:
        return tr("‘{title}’ is training: Draw asks the training itself for the picture, after its next step, with the weights of that moment.", title=busy.title)
    return tr("‘{title}’ is using the machine; pictures can be drawn again when it has ended.", title=busy.title)


def samplers_of(ctx, bench: asks.Bench) -> list[tuple[str, str]]:
    """What can be chosen as a sampler: for flow families only their own."""
    from training.plan.samplers import SAMPLERS

    try:
        flow = registry.get("families", bench.usual["model"]["family"], ctx.home.plugins).SPEC.prediction == "flow"
    except ValueError:
        flow = True
    return [("", tr(OWN)), *((id, sampler.title) for id, sampler in SAMPLERS.items() if not flow)]


def followed(ctx, seen: dict[str, Any]) -> Iterator[list]:
    """The page again and again, whenever the studio has said something, as long as a request is being drawn."""
    until, said = time.monotonic() + PATIENCE_S, 0.0
    while (id := form_of(ctx).showing) in _asked and time.monotonic() < until:
        studio = next((run for run in asks.studios(ctx.home) if run.locked()), None)
        last_t = ctx.watch.view(studio).last_t if studio else 0.0
        if last_t != said:
            said, painted = last_t, paint(ctx, seen)
            seen = seen if painted[0] == gr.skip() else painted[0]
            yield painted
        time.sleep(LOOK_S)
        settle(ctx, id)
    yield paint(ctx, seen)  # a generator that says nothing at all would empty the page


def settle(ctx, id: str) -> None:
    """A request that is through, or whose studio is gone, is waited for no more."""
    studios = asks.studios(ctx.home)
    if any(asks.made(studio, id) for studio in studios) or not any(run.locked() or supervisor.starting(run) for run in studios):
        _asked.pop(id, None)


# what its buttons do


def answer(ctx, chosen: str, seen: dict[str, Any], data: dict[str, Any], token: Secret | None = None) -> list:
    """Does what a button says, then paints: [*outputs, run, tabs, timer].  token: of whoever is signed in to a Space."""
    seen = {k: v for k, v in seen.items() if k not in (*FAULTS, "notice")} | {"touched": True}
    for path, value in (data.get("fields") or {}).items():
        changed(ctx, lambda wish, path=path, value=value: wish.edited(str(path), str(value)))
    act, id, run, tabs = str(data.get("act", "")), str(data.get("id", "")), gr.skip(), gr.skip()
    try:
        if act == "mode" and id in asks.MODES:
            changed(ctx, lambda wish: wish.edited("mode", id))
        elif act == "dice":
            changed(ctx, lambda wish: wish.edited("seed", str(secrets.randbelow(2**31))))
        elif act == "less_from":
            changed(ctx, lambda wish: wish.model_copy(update={"made_from": besides.fewer(wish.made_from, id)}))
        elif act == "draw":
            said = draw(ctx, token)
            seen |= {"notice": (said, time.time() + NOTICE_S)} if said else {}
        elif act == "close":
            close(ctx)
        elif act == "show":
            changed(ctx, lambda wish: wish.model_copy(update={"showing": id}))
        elif act == "again":
            again(ctx, id)
        elif act == "vote":
            seen |= vote(ctx, id)
        elif act == "sample":
            seen |= {"notice": (make_sample_prompt(ctx), time.time() + NOTICE_S)}
        elif act == "publish":
            run, tabs = publish_it(ctx, id, "shown" in data), ctx.go("publish")
        elif act == "sheet":
            changed(ctx, lambda wish: wish.model_copy(update={"many_showing": "" if wish.many_showing == id else id}))
        elif act in ("many", "many-stop", "many-resume"):
            said = draw_many(ctx, act, id, token)
            seen |= {"notice": (said, time.time() + NOTICE_S)} if said else {}
        elif act == "repair-save":
            seen |= {"notice": (save_repair(ctx), time.time() + NOTICE_S)}
        elif act in ("repair-reset", "repair-only", "repair-none", "repair-all"):
            changed(ctx, lambda wish: sliders.pressed(ctx.home, wish, asks.bench(ctx.home, wish), act.removeprefix("repair-"), id))
    except (ValueError, OSError) as error:
        seen |= {next((f"{a}-fault" for a in ("many", "repair") if act.startswith(a)), "fault"): in_words(str(error))}
    return [*paint(ctx, seen), run, tabs, ctx.soon()]


def draw(ctx, token: Secret | None = None) -> str:
    """Asks the studio for what the form says; opens it first where it is closed.  What to tell the person.  Raises ValueError, OSError."""
    wish = form_of(ctx)
    bench = asks.bench(ctx.home, wish)
    busy = supervisor.running(ctx.home)
    if busy is not None and bench.run is not None and busy.path == bench.run.path and wish.prompt.strip():
        busy.command("sample", prompt=wish.prompt.strip())
        return tr("The training draws it after this step; it appears on the Results tab.")
    asked = asks.request(ctx.home, wish, bench, votes.of(bench.run) if bench.run else [])
    studio = asks.studio(ctx.home, asks.config_of(ctx.home, bench.usual, asks.family_title(ctx.home, bench.usual)))
    if studio.status() != "running" and not supervisor.starting(studio):
        supervisor.start(studio, ctx.home, token)
    if studio.status() != "running":
        raise ValueError(f"{tr('The model could not be loaded.')} {heard(studio.why_numbered())}".strip())
    studio.command("draw", request=asked.model_dump_json())
    _asked[asked.id] = len(asked.shots)
    changed(ctx, lambda w: w.model_copy(update={"showing": asked.id}))
    return ""


def draw_many(ctx, act: str, id: str, token: Secret | None = None) -> str:
    """Begins the form's drawing job, stops one, or lets it go on.  What to tell the person.  Raises ValueError, OSError."""
    if act == "many":
        wish = form_of(ctx)
        config = many.config_of(ctx.home, wish, asks.bench(ctx.home, wish))
        pictures = many.count(config, ctx.home)
        made: list[Run] = []

        def begun() -> Run:
            made.append(create(ctx.home.outputs, config))
            return made[0]

        supervisor.start_soon(begun, ctx.home, token)
        changed(ctx, lambda w: w.model_copy(update={"many_showing": made[0].id}))
        return trn("{n} picture to draw; it appears under Sheets when it is there.", "{n} pictures to draw; they appear under Sheets as they come.", pictures)
    run = Run.open(ctx.home.outputs, id)
    if run.kind != "generate":
        raise ValueError(tr("that is no set of pictures"))
    if act == "many-stop":
        run.command("stop")
    else:
        supervisor.start_soon(run, ctx.home, token)
    return ""


def save_repair(ctx) -> str:
    """Begins the job that writes what the sliders say.  What to tell the person.  Raises ValueError, OSError."""
    wish = form_of(ctx)
    config = sliders.save_config(ctx.home, wish, asks.bench(ctx.home, wish))
    supervisor.start_soon(lambda: create(ctx.home.outputs, config), ctx.home)
    return tr("‘{title}’ is being written; it stands on the Tools tab, among what was made.", title=config.name)


def close(ctx) -> None:
    """The model leaves the memory; what was drawn stays."""
    for studio in asks.studios(ctx.home):
        if studio.status() == "running":
            studio.command("stop")


def again(ctx, id: str) -> None:
    """The form as it was for an earlier request.  Raises ValueError where that is gone."""
    made = next((one for one in asks.history(ctx.home) if one.id == id), None)
    if made is None:
        raise ValueError(tr("that picture is gone"))
    about = {k: v for k, v in made.told["request"]["about"].items() if k in Wish.model_fields}
    changed(ctx, lambda wish: Wish.model_validate({**about, "showing": id}))


def vote(ctx, value: str) -> dict[str, Any]:
    """What of `seen` changes: the pair is shown with its names now.  Raises ValueError."""
    wish = form_of(ctx)
    made = next((one for one in asks.history(ctx.home) if one.id == wish.showing), None)
    if made is None or made.told["request"]["mode"] != "vote" or value not in ("0", "0.5", "1"):
        raise ValueError(tr("there is nothing to vote on; draw two pictures first"))
    shots = made.told["request"]["shots"]
    one, other = (shot["place"]["label"] for shot in shots[:2])
    run = Run.open(ctx.home.outputs, made.told["request"]["about"].get("run", ""))
    if made.id in votes.voted(run):
        raise ValueError(tr("you voted on these two already; draw again for the next pair"))
    votes.add(run, made.id, votes.step_of(run, one), votes.step_of(run, other), float(value), shots[0]["prompt"], shots[0]["seed"])
    said = tr("A was {one}, B was {other}. Draw again for the next pair.", one=playpage.named(one), other=playpage.named(other))
    return {"notice": (said, time.time() + 4 * NOTICE_S)}


def make_sample_prompt(ctx) -> str:
    """The form's prompt is one of the sample prompts on the Train tab.  What to tell the person.  Raises ValueError."""
    prompt = form_of(ctx).prompt.strip().replace("\n", " ")
    if not prompt:
        raise ValueError(tr("There is no prompt to keep"))
    form = train.form_of(ctx)
    made = draft.plan(ctx.home, form, "", machine(ctx.home.root))
    typed = form.edits.get("sample.prompts")
    before = typed.splitlines() if typed is not None else list(made.base.sample.prompts) if made.base else []
    if prompt in before:
        return tr("It is one of the Train tab’s sample prompts already.")
    train.changed(ctx, lambda f: f.edited("sample.prompts", "\n".join([*before, prompt])))
    return tr("It is one of the sample prompts on the Train tab now, for the next run.")


def publish_it(ctx, checkpoint: str, shown_one: bool) -> str:
    """The run whose checkpoint stands on the Publish tab now.  Raises ValueError.

    checkpoint "": the one of the picture that is shown.  shown_one: of the run of that picture, else of the run in the form.
    """
    wish = form_of(ctx)
    made = next((one for one in asks.history(ctx.home) if one.id == wish.showing), None)
    if made and shown_one:
        about = made.told["request"]["about"]
        wish = wish.edited("run", about.get("run", "")).edited("checkpoint", about.get("checkpoint", asks.FINAL))
    bench = asks.bench(ctx.home, wish)
    if bench.run is None:
        raise ValueError(tr("Choose a run first; a base model is not published"))
    point = checkpoint or wish.checkpoint
    if point == asks.FINAL and not bench.run.result():
        point = bench.points[-1]
    drafts.change(ctx.home, f"publish-{bench.run.id}", publish.Wish, lambda w: w.model_copy(update={"checkpoint": point, "card": ""}))
    return bench.run.id
