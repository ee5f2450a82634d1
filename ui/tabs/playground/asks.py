"""What the Playground's form asks the studio for: which base model, which LoRA, which pictures."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from training import registry
from training.formats.adapting import stands_alone
from training.home import Home
from training.jobfile import parse
from training.jobs.play import Config, Request, told_of
from training.plan.fromrun import drawing_like
from training.plan.hardware import machine
from training.plan.presets import list_presets
from training.plan.prompts import with_place
from training.plan.shots import FINAL, Shot, unweighted
from training.runs.run import Run, create, list_runs

from ...language import N_, tr
from . import besides, repairs
from .votes import step_of

FORM = "playground"  # name of the draft on disk
BASE = "base:"  # of what is chosen in place of a run: the base model of a run, "base:" alone the one that comes with Easel
SMALL = {"sizes": [[64, 64]], "steps": 12, "guidance": 3.0, "negative": "", "trigger": "", "frames": 1}
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
MOST_STEPS = 12  # checkpoints in a row; more are thinned out evenly
MODES = {
    "one": N_("One picture"), "before": N_("Before and after"), "strengths": N_("Strengths"), "checkpoints": N_("Checkpoints"),
    "two": N_("Two LoRAs"), "film": N_("Film"), "vote": N_("Vote"), "repair": N_("Repair"),
}  # fmt: skip
HISTORY = 24
NO_RUN = N_("the base model")  # what is drawn with then, as names of jobs and pictures' labels have it


class Wish(BaseModel):
    """The form.  run "": none was chosen yet.  other: a second LoRA, a run's id or a file or Hub id.  showing: id of the request on the stage."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run: str = ""
    checkpoint: str = FINAL
    strength: str = "1"
    prompt: str = ""
    negative: str | None = None
    mode: str = "one"
    shown: str = ""  # what a network beside the base model is shown, as besides.py names it
    made_from: str = ""  # what pictures are made from, as besides.py names them, one a line
    other: str = ""
    other_strength: str = "1"
    seed: str = "42"
    steps: str = ""
    guidance: str = ""
    size: str = ""
    sampler: str = ""
    showing: str = ""
    own_blocks: str = "{}"  # JSON: {block: factor} of the LoRA, where that is not 1
    other_blocks: str = "{}"  # the same of the donor, where that is not 0
    many_prompts: str = ""
    many_count: str = "1"
    many_rows: str = ""
    many_columns: str = ""
    many_strengths: str = "-1 0 1"
    many_showing: str = ""  # id of the run whose sheet is open

    def edited(self, path: str, text: str) -> Wish:
        """The form after one field was left."""
        which, slash, block = path.partition("/")
        if slash and which in repairs.USUAL:
            return self.model_copy(update={which: repairs.moved(getattr(self, which), {block[:200]: number(text, tr("Factor"))}, repairs.USUAL[which])})
        if path == "more_from":
            return self.model_copy(update={"made_from": besides.more(self.made_from, text)}) if text else self
        if path not in Wish.model_fields or path in ("showing", "many_showing", *repairs.USUAL):
            return self
        changed = {path: text[:20_000]}
        if path == "other":
            changed |= {"other_blocks": "{}"}
        if path == "run":
            changed |= {"mode": "one"} if text.startswith(besides.MARK) else {}
            changed |= {"shown": "", "made_from": "", "own_blocks": "{}", "checkpoint": FINAL, "steps": "", "guidance": "", "size": "", "negative": None}
        return self.model_copy(update=changed)


@dataclass(frozen=True)
class Bench:
    """What a form comes to.  points: checkpoints that can be drawn with, oldest first.  usual: the settings where the form says nothing."""

    run: Run | None
    title: str
    points: tuple[str, ...]
    usual: dict[str, Any]
    choices: list[tuple[str, str]] = field(default_factory=list)
    beside: besides.Beside | None = None  # of a run that trained a network beside the base model; run is None then

    def takes(self, home: Home) -> besides.Takes | None:
        """What pictures it makes something from; None where it draws from words alone."""
        return None if self.beside else besides.takes_of(self.usual["model"]["family"], self.usual["frames"], home.plugins)


def bench(home: Home, wish: Wish) -> Bench:
    """Raises ValueError where the run's base model cannot be told."""
    runs = [run for run in list_runs(home.outputs, {"train"}) if points(run)]
    choices = [(run.id, run.title) for run in runs]
    networks = [found for run in list_runs(home.outputs, {"train"}) if (found := besides.of(run))]
    choices += [(besides.MARK + found.run.id, f"{found.run.title} ({tr(found.title)})") for found in networks]
    seen: dict[str, tuple[str, str]] = {}
    for run in list_runs(home.outputs, {"train"}):
        model = run.job().get("model")
        source = str(model.get("source", "")) if isinstance(model, dict) else ""
        if source and source != "builtin":
            seen.setdefault(source, (f"{BASE}{run.id}", tr("No LoRA: {model}", model=source.rstrip("/").rsplit("/", 1)[-1])))
    choices += [(BASE, tr("No LoRA: Easel’s own small model")), *seen.values()]
    chosen = wish.run if wish.run in dict(choices) else choices[0][0]
    if chosen.startswith(BASE):
        like = chosen.removeprefix(BASE)
        usual = drawing_like(Run.open(home.outputs, like)) if like else _small(home)
        return Bench(None, NO_RUN, (), usual, choices)
    if chosen.startswith(besides.MARK):
        found = next(found for found in networks if besides.MARK + found.run.id == chosen)
        return Bench(None, found.run.title, (), drawing_like(found.run), choices, found)
    run = next(run for run in runs if run.id == chosen)
    return Bench(run, run.title, points(run), drawing_like(run), choices)


def choice_of(home: Home, run: str) -> str:
    """How a run is called among the choices."""
    return besides.MARK + run if besides.of(Run.open(home.outputs, run)) else run


def _small(home: Home) -> dict[str, Any]:
    """How to draw with the small base model that comes with Easel; its family is what its presets say."""
    preset = next(p for p in list_presets(plugins=home.plugins) if p.source_model == "builtin")
    return {"model": {"family": preset.family, "source": "builtin"}, **SMALL}


def points(run: Run) -> tuple[str, ...]:
    """The checkpoints that a run has on disk, and its result where that is another one than the last of them; () for a network of its own."""
    try:
        if stands_alone(registry.get("adapters", str(run.job().get("adapter", {}).get("type", "lora")), run.plugins)):
            return ()
        steps = [str(step) for step, _ in run.checkpoints()]
        return (*steps, *([FINAL] if run.result() and (not steps or steps[-1] != step_of(run, FINAL)) else []))
    except (ValueError, OSError, AttributeError):
        return ()


def config_of(home: Home, usual: dict[str, Any], title: str) -> Config:
    """The studio that a bench needs."""
    model = dict(usual["model"])
    roomy = model.get("quantise_text", "none") == "none" and not model.get("offload")
    data = {"kind": "play", "name": f"Playground {title}"[:90], "device": machine(home.root).device, "model": model, "keep_text": roomy}
    return parse(Config, data, N_("the Playground"))


def studio(home: Home, config: Config) -> Run:
    """The studio for this base model: one that was there before, or a new one."""
    for run in studios(home):
        job = run.job()
        if job.get("model") == config.model.model_dump(mode="json") and job.get("device") == config.device:
            return run
    return create(home.outputs, config)


def studios(home: Home) -> list[Run]:
    """All that were ever opened, newest first."""
    return list_runs(home.outputs, {"play"})


def source_of(bench: Bench, point: str) -> str:
    """How a checkpoint is named as a LoRA's source."""
    last = bench.points[-1] if bench.points else FINAL
    point = last if point == FINAL else point
    if point not in bench.points:
        raise ValueError(tr("that checkpoint is gone; there are: {checkpoints}", checkpoints=", ".join(bench.points)))
    return bench.run.id if point == FINAL else f"{bench.run.id}/{point}"


def request(home: Home, wish: Wish, bench: Bench, votes: list[tuple[str, str, float]]) -> Request:
    """What Draw asks for.  Raises ValueError, in plain words, where the form cannot be drawn."""
    if wish.mode not in MODES:
        raise ValueError(tr("there is no way to draw called {name}", name=repr(wish.mode)))
    if not wish.prompt.strip():
        raise ValueError(tr("Say what to draw"))
    if bench.beside and wish.mode not in besides.ways(bench.beside):
        raise ValueError(tr("“{way}” cannot be drawn with the {kind} of a run; choose “{other}”", way=tr(MODES[wish.mode]), kind=tr(bench.beside.title), other=tr(MODES["one"])))
    if bench.run is None and not bench.beside and wish.mode in ("before", "strengths", "checkpoints", "film", "vote", "repair"):
        raise ValueError(tr("“{way}” needs a LoRA; choose a run", way=tr(MODES[wish.mode])))
    rows = {"one": _one, "before": _before, "strengths": _strengths, "checkpoints": _checkpoints, "film": _checkpoints, "two": _two, "vote": _vote, "repair": _repair}[wish.mode](wish, bench, votes)
    shots = [_shot(wish, bench, k, worn, place) for k, (place, worn) in enumerate(rows)]
    if bench.beside:
        told = besides.told(home, bench.beside, wish.shown)
        shots = [shot | told if k or wish.mode != "before" else shot for k, shot in enumerate(shots)]
    if takes := bench.takes(home):
        told = made_from_of(home, wish, bench, takes)
        shots = [shot | told for shot in shots]
    if wish.mode == "repair":
        uses, rules = repair_of(home, wish, bench)
        shots[1] |= {"loras": [*uses, *besides_own(bench.usual)], "blocks": rules}
    about = {name: value for name, value in wish.model_dump().items() if isinstance(value, str) and name != "showing" and not name.startswith("many_")} | {"run": bench.run.id if bench.run else wish.run}
    id = f"{time.time_ns() // 10**6:012x}{secrets.token_hex(3)}"
    return parse(Request, {"id": id, "mode": wish.mode, "shots": shots, "film": wish.mode == "film", "about": about}, "this")


def made_from_of(home: Home, wish: Wish, bench: Bench, takes: besides.Takes) -> dict[str, Any]:
    """What a shot or a drawing job says of the pictures that it makes something from: in their shape, unless a size was typed.  Raises ValueError."""
    found = besides.made_from(home, bench.run, takes, wish.made_from)
    return {"made_from": found, "keep_shape": not wish.size.strip()} if found else {}


Worn = list[tuple[str, float]]
Place = dict[str, str]  # label: a word of ours, which page.caption() says, a checkpoint or a strength; where it is a name: title, and step and strength beside it
Row = tuple[Place, Worn]


def _one(wish: Wish, bench: Bench, votes) -> list[Row]:
    return [(_label(wish, bench), _worn(wish, bench))]


def _before(wish: Wish, bench: Bench, votes) -> list[Row]:
    return [({"label": "without"}, []), (_label(wish, bench), _worn(wish, bench))]


def _strengths(wish: Wish, bench: Bench, votes) -> list[Row]:
    source = source_of(bench, wish.checkpoint)
    return [({"label": f"{strength:+g}" if strength else "0"}, [(source, strength)]) for strength in STRENGTHS]


def _checkpoints(wish: Wish, bench: Bench, votes) -> list[Row]:
    strength = number(wish.strength, tr("Strength"))
    return [({"label": "start"}, []), *(({"label": point}, [(source_of(bench, point), strength)]) for point in thinned(bench.points))]


def _two(wish: Wish, bench: Bench, votes) -> list[Row]:
    if not wish.other.strip():
        raise ValueError(tr("“Two LoRAs” needs a second one; name it under Second LoRA"))
    other = [(wish.other.strip(), number(wish.other_strength, tr("Strength of the second LoRA")))]
    theirs = _titled(dict(bench.choices).get(wish.other) or wish.other.rsplit("/", 1)[-1])
    if bench.run is None:
        return [(_label(wish, bench), []), (theirs, other)]
    return [(_titled(bench.title), _worn(wish, bench)), (theirs, other), ({"label": "both"}, _worn(wish, bench) + other)]


def _repair(wish: Wish, bench: Bench, votes) -> list[Row]:
    return [({"label": "before"}, _worn(wish, bench)), ({"label": "repaired"}, [])]  # worn as repair_of says


def repair_of(home: Home, wish: Wish, bench: Bench) -> tuple[list[repairs.Use], list[repairs.Rule]]:
    """What the sliders come to.  Raises ValueError, OSError."""
    if bench.run is None:
        raise ValueError(tr("“{way}” needs a LoRA; choose a run", way=tr(MODES["repair"])))
    donor = (wish.other.strip(), number(wish.other_strength, tr("Strength of the second LoRA"))) if wish.other.strip() else None
    return repairs.recipe(home, _worn(wish, bench)[0], wish.own_blocks, donor, wish.other_blocks)


def _vote(wish: Wish, bench: Bench, votes: list[tuple[str, str, float]]) -> list[Row]:
    """Two checkpoints that met seldom, in an order that tells nothing."""
    label = lambda point: step_of(bench.run, point) if bench.run else point
    points = tuple({label(point): point for point in bench.points}.values())  # the result may be one of them
    if len(points) < 2:
        raise ValueError(tr("a vote needs two checkpoints; this run has one"))
    met: dict[frozenset[str], int] = {}
    for one, other, _ in votes:
        both = frozenset((label(one), label(other)))
        met[both] = met.get(both, 0) + 1
    pairs = [(a, b) for n, a in enumerate(points) for b in points[n + 1 :]]
    times = lambda pair: met.get(frozenset(map(label, pair)), 0)
    fewest = min(map(times, pairs))
    pair = list(secrets.choice([p for p in pairs if times(p) == fewest]))
    if secrets.randbelow(2):
        pair.reverse()
    strength = number(wish.strength, tr("Strength"))
    return [({"label": point}, [(source_of(bench, point), strength)]) for point in pair]


def _label(wish: Wish, bench: Bench) -> Place:
    if bench.beside:
        return _titled(bench.title)
    if bench.run is None:
        return {"label": NO_RUN}
    strength = number(wish.strength, tr("Strength"))
    return _titled(bench.title) | ({"step": wish.checkpoint} if wish.checkpoint != FINAL else {}) | ({"strength": f"{strength:g}"} if strength != 1 else {})


def _titled(title: str) -> Place:
    return {"label": title, "title": title}


def _worn(wish: Wish, bench: Bench) -> Worn:
    return [(source_of(bench, wish.checkpoint), number(wish.strength, tr("Strength")))] if bench.run else []


def _shot(wish: Wish, bench: Bench, k: int, worn: Worn, place: Place) -> dict[str, Any]:
    usual = bench.usual
    width, height = size(wish.size, usual)
    seed = whole(wish.seed, tr("Seed"), 42)
    if wish.mode == "vote":
        seed = seed + len(bench.points) + int(time.time())  # another picture each time; both of a pair have the same
    return Shot(
        number=k, prompt=with_place(unweighted(wish.prompt.strip()), usual["trigger"]), negative=usual["negative"] if wish.negative is None else wish.negative,
        width=width, height=height, seed=seed, steps=whole(wish.steps, tr("Steps"), usual["steps"]), guidance=number(wish.guidance or str(usual["guidance"]), tr("Guidance")),
        frames=usual["frames"], sampler=wish.sampler.strip(), loras=(*worn, *besides_own(usual)), place=place,
    ).told()  # fmt: skip


def besides_own(usual: dict[str, Any]) -> list[tuple[str, float]]:
    """What a run draws with besides its own adapter: its context adapter and its speed adapter."""
    return [(use["source"], use["strength"]) for use in usual.get("loras", ())]


def thinned(points: tuple[str, ...]) -> tuple[str, ...]:
    """At most MOST_STEPS of them, evenly spread, first and last kept."""
    if len(points) <= MOST_STEPS:
        return points
    return tuple(points[round(k * (len(points) - 1) / (MOST_STEPS - 1))] for k in range(MOST_STEPS))


def number(text: str, what: str) -> float:
    """Raises ValueError with the field's name."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise ValueError(tr("{setting} is {typed}, which is no number", setting=what, typed=repr(text))) from None


def whole(text: str, what: str, usual: int) -> int:
    """The same for a whole number; `usual` where nothing was typed."""
    if not text.strip():
        return usual
    if not text.strip().isdecimal():
        raise ValueError(tr("{setting} is {typed}; it takes a whole number", setting=what, typed=repr(text)))
    return int(text)


def size(text: str, usual: dict[str, Any]) -> tuple[int, int]:
    """Width and height in px."""
    if not text.strip():
        return tuple(usual["sizes"][0])
    width, _, height = text.lower().replace("×", "x").replace(" ", "").partition("x")
    if not (width.isdecimal() and (height or width).isdecimal()):
        raise ValueError(tr("Size is {typed}; it takes width x height in px, such as 768x512", typed=repr(text)))
    return int(width), int(height or width)


@dataclass(frozen=True)
class Made:
    """What came of a request."""

    studio: Run
    id: str
    told: dict[str, Any]


_through: dict[tuple[str, str], dict[str, Any]] = {}  # requests that are through: their file is written once


def made(studio: Run, id: str) -> Made | None:
    """What came of a request; None while it is not through, or where it cannot be read."""
    key = (str(studio.path), id)
    if key not in _through:
        try:
            told = told_of(studio.path, id)
            parse(Request, told["request"] if told else {}, "the request")
            files = [str(f) for f in told["files"]]
            told = {**told, "files": files, "film": str(told["film"]), "error": str(told["error"])}
        except (ValueError, OSError, KeyError, TypeError):
            return None
        if len(_through) > 2000:
            _through.clear()
        _through[key] = told
    return Made(studio, id, _through[key])


def history(home: Home) -> list[Made]:
    """The newest requests of all studios, newest first."""
    names = [(path.stem, run) for run in studios(home) for path in run.samples("*.json")]
    found = (made(run, id) for id, run in sorted(names, key=lambda pair: pair[0], reverse=True)[: 2 * HISTORY])
    return [one for one in found if one and one.told["files"]][:HISTORY]


def family_title(home: Home, usual: dict[str, Any]) -> str:
    """What the base model is called."""
    try:
        return registry.get("families", usual["model"]["family"], home.plugins).SPEC.called(usual["model"]["source"])
    except ValueError:
        return str(usual["model"]["source"])
