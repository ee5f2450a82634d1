"""How a run is going, in one line below its head; and the pictures that do not teach, with what can be done about each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from training.config import TrainConfig
from training.data import datasets, suspects
from training.data.datasets import Dataset
from training.data.health import Goal
from training.plan import teaching
from training.plan.going import Going
from training.plan.teaching import Odd
from training.runs import needs, origin, outlook
from training.runs.events import RunView
from training.runs.run import Run

from ... import forms
from ...icons import icon
from ...language import N_, point, tr
from ...language.heard import heard
from ...server import media
from ...theme import ASSETS
from ..train.draft import Draft

CSS = (ASSETS / "outlook.css").read_text(encoding="utf-8")
LOOKS = {"fine": ("ez-ok", "check"), "early": ("", "clock")}
SENTENCES = {"early": N_("Its losses are compared with the base model’s on the very same pictures; that takes some steps more.")}
KINDS = {"hard": N_("Their loss stays high"), "easy": N_("They were learnt at once"), "copy": N_("They are learnt twice")}
HALF = 0.5
MOST_COMPARED = 2_000  # pictures of a run, or of a dataset, among which copies are looked for
MOST_COPIES = 12  # that are listed
KEPT_S = 60.0  # a guess may be so old: captions change meanwhile
MOST_REMEMBERED = 50
WAIT_S = 0.3  # a guess that takes no longer is there at once
_guessed: dict[str, tuple[tuple, float, tuple[Picture, ...]]] = {}  # run's folder -> (what was guessed from, when, the last guess that is through)
_guessing = threading.Lock()
_standing: dict[str, tuple[tuple, tuple[Odd, ...]]] = {}  # run's folder -> (what of its view that was reckoned from, the pictures)


@dataclass(frozen=True)
class Picture:
    """One picture that stands apart, as the page shows it.  dataset: where its caption can be mended; src: "" where this page can show none; reason: as the engine says it."""

    id: str
    name: str
    dataset: str
    src: str
    kind: str  # hard, easy, or copy: learnt twice
    share: float
    reason: str


@dataclass(frozen=True)
class Weighed:
    """One that was weighed during the run."""

    id: str
    name: str
    weight: float
    step: int


def line(going: Going, ended: bool) -> str:
    """The one line; "" where nothing can be said."""
    if not going.state or ended and going.state == "early":
        return ""
    look, picture = LOOKS.get(going.state, ("ez-warn", "warn"))
    more = heard(going.todo) or tr(SENTENCES.get(going.state, ""))
    act = f'<button type="button" class="ez-btn" data-act="next-run">{icon("copy")}{escape(heard(going.act))}</button>' if going.act else ""
    words = f'<button type="button" class="ez-btn" data-tab="captions">{escape(tr("Captions"))}</button>' if going.state == "wordless" else ""
    return (
        f'<div class="ez-note ez-going {look}" role="status" data-going="{escape(going.state)}">{icon(picture)}<div><b>{escape(heard(going.says))}</b>{f" <span>{escape(more)}</span>" if more else ""}</div>'
        f"{act}{words}</div>"
    )


def pictures(rows: Sequence[Picture], weighed: Sequence[Weighed], running: bool) -> str:
    """The panel; "" where no picture stands apart and none was weighed."""
    if not rows and not weighed:
        return ""
    parts = [_group(tr(title), [row for row in rows if row.kind == kind], running) for kind, title in KINDS.items()]
    told = "".join(_weighed(row, running) for row in weighed)
    aside = f'<h3 class="ez-subtitle">{escape(tr("Weighed by you"))}</h3><ul class="ez-odd-weighed">{told}</ul>' if told else ""
    notes = [tr("A caption that you mend counts from the next run on.")] if rows else []
    notes += [tr("What you weigh or set aside counts from the next step on, and when this run is trained exactly again.")] if running else []
    note = f'<p class="ez-muted ez-small">{escape(" ".join(notes))}</p>' if notes else ""
    return (
        f'<section class="ez-card ez-teaching"><h2 class="ez-subtitle">{escape(tr("Pictures that do not teach"))}</h2>'
        f'<p class="ez-muted ez-small">{escape(tr("Compared with the other pictures at the same noise levels. A hint to look, no verdict."))}</p>'
        f'{"".join(parts)}{aside}{note}</section>'
    )


def _group(title: str, rows: Sequence[Picture], running: bool) -> str:
    if not rows:
        return ""
    return f'<h3 class="ez-subtitle">{escape(title)} <span class="ez-count">{len(rows)}</span></h3><ul class="ez-odd-list">{"".join(_row(row, running) for row in rows)}</ul>'


def _row(row: Picture, running: bool) -> str:
    shown = f'<img src="{escape(row.src)}" alt="" loading="lazy" decoding="async">' if row.src else icon("film")
    off = f"{100 * abs(row.share - 1):.0f}"
    by = "" if row.kind == "copy" else tr("loss {percent} % above the others’", percent=off) if row.kind == "hard" else tr("loss {percent} % below the others’", percent=off)
    acts = f'<button type="button" class="ez-btn" data-act="caption" data-value="{escape(row.id)}">{escape(tr("Caption"))}</button>' if row.dataset else ""
    if running:
        acts += f'<button type="button" class="ez-btn" data-act="weigh" data-name="{escape(row.id)}" data-value="{HALF:g}">{escape(tr("Count half"))}</button>'
        acts += f'<button type="button" class="ez-btn" data-act="weigh" data-name="{escape(row.id)}" data-value="0">{escape(tr("Set aside"))}</button>'
    return (
        f'<li><span class="ez-odd-thumb">{shown}</span><div><b>{escape(row.name)}</b> <span class="ez-muted ez-small ez-num">{escape(by)}</span>'
        f'<p class="ez-small">{escape(heard(row.reason))}</p></div><div class="ez-acts">{acts}</div></li>'
    )


def _weighed(row: Weighed, running: bool) -> str:
    how = tr("counts {weight} times since step {step}.", weight=point(f"{row.weight:g}"), step=row.step) if row.weight else tr("set aside since step {step}.", step=row.step)
    back = f' <button type="button" class="ez-link" data-act="weigh" data-name="{escape(row.id)}" data-value="1">{escape(tr("Count it whole again"))}</button>' if running else ""
    return f'<li><b>{escape(row.name)}</b> <span class="ez-muted ez-small">{escape(how)}</span>{back}</li>'


# what there is to say, read from the run's folder


def going_of(run: Run, view: RunView) -> Going:
    """How it goes, in the words of the page."""
    return outlook.of(run, view)


def weighed_of(view: RunView) -> tuple[Weighed, ...]:
    """What of its pictures does not count whole now."""
    last = {id: (step, weight) for step, id, weight in view.weights}
    return tuple(Weighed(id, id.partition("/")[2], weight, step) for id, (step, weight) in last.items() if weight != 1)


def odd_of(ctx, run: Run, view: RunView) -> tuple[Picture, ...]:
    """The pictures that stand apart, with a guess why, and those that are nearly others; looked up anew once a minute, or when others stand apart.

    A guess looks through whole datasets: it is made in a thread, and until it is through the one before stands.
    """
    if not view.pictures:
        return ()
    found, path = _found(run, view), str(run.path)
    key = (len(view.weights), tuple((one.id, one.hard) for one in found))
    thread = None
    with _guessing:
        made_of, begun_t, rows = _guessed.get(path, ((), 0.0, ()))
        if made_of != key or time.monotonic() - begun_t >= KEPT_S:
            if len(_guessed) >= MOST_REMEMBERED:
                _guessed.clear()
            _guessed[path] = key, time.monotonic(), rows
            thread = threading.Thread(target=_keep_guess, args=(ctx, run, view, found, key), name="easel-guess", daemon=True)
    if thread:
        thread.start()
        thread.join(WAIT_S)
        rows = _guessed.get(path, (key, 0.0, rows))[2]
    shares, whole = {one.id: one.share for one in found}, {row.id for row in weighed_of(view)}
    return tuple(replace(row, share=shares.get(row.id, 1.0)) for row in rows if row.id in shares or row.kind == "copy" and row.id not in whole)


def _keep_guess(ctx, run: Run, view: RunView, found: Sequence[Odd], key: tuple) -> None:
    try:
        rows = _guess(ctx, run, view, found)
    except (ValueError, OSError) as error:
        logging.getLogger("easel").warning("which pictures of %s do not teach could not be looked up: %s", run.id, error)
        return
    with _guessing:
        made_of, begun_t, _ = _guessed.get(str(run.path), (key, time.monotonic(), ()))
        if made_of == key:  # else a newer one is under way
            _guessed[str(run.path)] = key, begun_t, rows


def _found(run: Run, view: RunView) -> tuple[Odd, ...]:
    """The pictures that stand apart, reckoned once for all looks between two events that could change them."""
    key = (view.told_step, len(view.weights), len(view.pictures))
    if _standing.get(str(run.path), ((), ()))[0] != key:
        if len(_standing) >= MOST_REMEMBERED:
            _standing.clear()
        _standing[str(run.path)] = key, teaching.odd(view)
    return _standing[str(run.path)][1]


def _guess(ctx, run: Run, view: RunView, found: Sequence[Odd]) -> tuple[Picture, ...]:
    try:
        config: TrainConfig = run.config()
    except (ValueError, OSError):
        return tuple(Picture(one.id, one.id.partition("/")[2], "", "", _kind(one), one.share, _else(one)) for one in found)
    here = _datasets(ctx, run, config)
    goal = Goal(side_px=max(config.data.all_sides), max_aspect=config.data.max_aspect if config.data.aspect_buckets else 1.0, trigger=config.trigger)
    why = {name: _reasons(ds, name, found, goal) for name, ds in here.items()}
    apart = tuple(_one(ctx, one.id, here, _kind(one), one.share, why.get(one.id.partition("/")[0], {}).get(one.id.partition("/")[2]) or _else(one)) for one in found)
    return apart + _copies(ctx, view, here, {one.id for one in found})


def _copies(ctx, view: RunView, here: dict[str, Dataset], known: set[str]) -> tuple[Picture, ...]:
    """Those that are nearly others which this run learns too, and count whole."""
    weighed = {row.id for row in weighed_of(view)}
    learnt = {row[0] for row in view.pictures} - weighed
    if len(learnt) > MOST_COMPARED:
        return ()
    rows = []
    for name, ds in here.items():
        try:
            groups = suspects.copies(ds, MOST_COMPARED)
        except (ValueError, OSError):
            continue
        for group in ([id for id in group if f"{name}/{id}" in learnt] for group in groups):
            if len(group) > 1:
                rows += [_one(ctx, f"{name}/{id}", here, "copy", 1.0, suspects.copied([other for other in group if other != id])) for id in group if f"{name}/{id}" not in known]
    return tuple(rows[:MOST_COPIES])


def _datasets(ctx, run: Run, config: TrainConfig) -> dict[str, Dataset]:
    """{name in pictures' ids: the dataset}, of those that are there.  Folders that a stranger's run names are not looked for: one of another computer would be greeted."""
    here, ours = {}, origin.made_here(run.path)
    for use in config.data.datasets:
        if not ours and (origin.is_address(use.name) or needs.is_path(use.name)):
            continue
        try:
            ds = datasets.resolve(ctx.home, use.name)
        except ValueError:
            continue  # it is gone, or on another computer
        here[ds.name] = ds
    return here


def _reasons(ds: Dataset, name: str, found: Sequence[Odd], goal: Goal) -> dict[str, str]:
    mine = [(one.id.removeprefix(f"{name}/"), one.hard) for one in found if one.id.startswith(f"{name}/")]
    if not mine:
        return {}
    try:
        return suspects.reasons(ds, [id for id, hard in mine if hard], [id for id, hard in mine if not hard], goal)
    except (ValueError, OSError):
        return {}


def _one(ctx, id: str, here: dict[str, Dataset], kind: str, share: float, reason: str) -> Picture:
    dataset, _, name = id.partition("/")
    ds = here.get(dataset)
    ours = ds is not None and not ds.in_place
    return Picture(id, name, dataset if ours else "", media.thumb_url(ctx, dataset, name) if ours else "", kind, share, reason)


def _kind(one: Odd) -> str:
    return "hard" if one.hard else "easy"


def _else(one: Odd) -> str:
    return suspects.HARD_ELSE if one.hard else suspects.EASY_ELSE


# what its buttons do


def opened(form: Draft, going: Going) -> tuple[Draft, str]:
    """(the Train form with what helps changed in it, what to tell).  Raises ValueError where nothing is to be changed any more."""
    if not going.change:
        raise ValueError(tr("it goes otherwise by now; look again"))
    fields = {field.path: field for field in forms.fields(TrainConfig)}
    for path, value in going.change.items():
        form = form.edited(path, forms.typed(fields[path], value))
    changes = ", ".join(_change(tr(fields[path].label), forms.typed(fields[path], value)) for path, value in going.change.items())
    return form, tr("Opened with what helps: {changes}. All else is as it was.", changes=changes)


def _change(setting: str, value: str) -> str:
    return tr("‘{setting}’ is {value}", setting=setting, value=value) if value else tr("‘{setting}’ is empty", setting=setting)


def weigh(run: Run, picture: str, value: str) -> str:
    """What to tell the person after a picture was weighed.  Raises ValueError."""
    run.command("weigh", picture=picture, weight=float(value))
    name, weight = picture.partition("/")[2], float(value)
    if weight == 0:
        return tr("{picture} is set aside from the next step on.", picture=name)
    if weight == 1:
        return tr("{picture} counts whole again from the next step on.", picture=name)
    return tr("{picture} counts {weight} times from the next step on.", picture=name, weight=point(f"{weight:g}"))


def caption_of(picture: str) -> tuple[str, str]:
    """(dataset, what the Captions tab looks for) to mend the caption of a picture."""
    dataset, _, name = picture.partition("/")
    return dataset, name
