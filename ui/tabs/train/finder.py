"""The learning-rate finder on the Train page: the row by the setting that starts it, and the card that shows how far it is and what it told."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from html import escape
from typing import Any

from pydantic import BaseModel, ConfigDict

from easel import jobs
from training import outside
from training.config import TrainConfig
from training.home import Home
from training.hub.secrets import Secret
from training.jobs import lr_find
from training.plan import ratefinding
from training.runs import queueing
from training.runs.events import RunView
from training.runs.run import Run

from ... import drafts, views
from ...icons import icon
from ...language import N_, point, tr
from ...language.heard import heard
from ...words import in_words

ACT = "rate-"  # begins what its buttons do
PATH = "optimizer.learning_rate"
TEXT_PATH, FASTEST = "adapter.text_learning_rate", 10.0  # the text encoders' rate, and the largest that it may be
ALIVE = ("queued", "running")
NOTE = "train-rate"  # name of the note among the drafts on disk
MAX_BYTES = 2_000_000
WIDTH, HEIGHT = 1000.0, 200.0  # units of the plot's own coordinates; the page stretches it

_starting = threading.Lock()


class Search(BaseModel):
    """The search that the page shows: id of its run, "" for none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run: str = ""


@dataclass(frozen=True)
class Told:
    """What a search wrote.  rate: 0.0 where it could tell nothing."""

    rate: float
    curve: tuple[tuple[float, float], ...]
    said: str


def row(config: TrainConfig | None, home: Home) -> str:
    """What stands above the setting: the button, or why there is none."""
    if config is None:
        return ""
    refused = ratefinding.hindrance(config, home.plugins) or (tr("A search stands below; stop or close it there, and another can begin.") if _is_on(home) else "")
    button = "" if refused else f'<button type="button" class="ez-btn" data-act="{ACT}find" data-collect>{icon("bolt")}{escape(tr("Find it"))}</button>'
    usual = lr_find.Config.model_fields["ramp_steps"].default
    said = in_words(refused)
    if not refused:
        said = tr("Tries {steps} steps with rates from tiny to too large on these pictures and settings, and proposes one. Nothing of it is kept.", steps=usual)
    setting = escape(tr("Learning rate").lower())
    return (
        f'<div class="ez-set ez-rate-row" data-find="{setting} finder lr find range test"><div class="ez-set-text"><b>{escape(tr("Find the learning rate"))}</b>'
        f"<p>{escape(said)}</p></div><div>{button}</div></div>"
    )


def start(home: Home, config: TrainConfig, gpu: str = "", token: Secret | None = None) -> Run:
    """The search, in the queue, and the page shows it from now on.  Raises ValueError, OSError."""
    if refused := ratefinding.hindrance(config, home.plugins):
        raise ValueError(refused)
    with _starting:  # a button that is pressed twice, and two pages
        if _is_on(home):
            raise ValueError(tr("a search is on already; stop it first"))
        made = jobs.begin(lr_find.of_training(config), home, gpu, token, soon=True).folder
        drafts.change(home, NOTE, Search, lambda _: Search(run=made.id))
    return made


def _is_on(home: Home) -> bool:
    """Whether the page's search waits or runs, so that its card must stay, with the button that stops it."""
    run = current(home)
    return run is not None and run.status() in ALIVE


def current(home: Home) -> Run | None:
    """The run of the search that the page shows; None where there is none, or it was deleted."""
    id = drafts.load(home, NOTE, Search).run
    try:
        return Run.open(home.outputs, id) if id else None
    except ValueError:
        return None


def close(home: Home) -> None:
    """The page shows none any more; its run stays."""
    drafts.change(home, NOTE, Search, lambda _: Search())


def told(run: Run) -> Told | None:
    """What it found; None where it wrote nothing that can be read."""
    try:
        kept = outside.read_json(run.path / ratefinding.RESULT, MAX_BYTES)
        curve = tuple((float(rate), float(share)) for rate, share in kept["curve"][:2000])
        rate = float(kept["rate"])
        fine = all(math.isfinite(n) for pair in curve for n in pair) and all(r > 0 for r, _ in curve) and 0 <= rate <= 10
        return Told(rate, curve, str(kept["said"])[:2000]) if fine else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def html(ctx, run: Run | None, config: TrainConfig | None) -> str:
    """The card; "" where nothing is shown.  config: of the form as it stands."""
    if run is None:
        return ""
    view, status = ctx.watch.status(run)
    inner = {"finished": _finished, "queued": _waiting, "running": _running}.get(status, _ended)(ctx, run, view, status, config)
    return f'<section class="ez-card ez-rate" aria-label="{escape(tr("Learning rate"))}"><h2 class="ez-subtitle ez-gap-below">{escape(tr("The learning rate"))}</h2>{inner}</section>'


def _waiting(ctx, run: Run, view: RunView, status: str, config) -> str:
    why = queueing.why_held(ctx.home, run)
    said = views.sentence(heard(why)) if why else tr("The search begins as soon as the machine is free.")
    return f'<p role="status">{escape(said)}</p>{_acts("stop")}'


def _running(ctx, run: Run, view: RunView, status: str, config) -> str:
    now = views.progress(view, "running")
    share = view.phase_done / view.phase_of if view.phase_of else None
    bar = '<div class="ez-bar ez-busy"><i></i></div>' if share is None else f'<div class="ez-bar"><i style="width:{100 * min(share, 1):.1f}%"></i></div>'
    word = heard(views.sentence_start(view.phase)) or tr("Starting")
    return f'<p role="status">{escape(word)} <span class="ez-muted">{escape(now.detail)}</span></p>{bar}{_acts("stop")}'


def _ended(ctx, run: Run, view: RunView, status: str, config) -> str:
    said = run.why(view) if status in ("failed", "interrupted") else tr("The search was stopped.")
    return f'<p class="{"ez-error" if status == "failed" else ""}" role="status">{escape(in_words(said))}</p>{_acts("close")}'


def _finished(ctx, run: Run, view: RunView, status: str, config) -> str:
    found = told(run)
    if found is None:
        return f'<p class="ez-error" role="status">{escape(tr("What the search wrote cannot be read."))}</p>{_acts("close")}'
    rates = _rates(run, found)
    along = f'<p class="ez-muted ez-small">{escape(tr("The text encoder’s rate goes along: {rate}.", rate=rates[TEXT_PATH]))}</p>' if TEXT_PATH in rates else ""
    word = escape(tr("Take {rate}", rate=f"{found.rate:g}"))
    take = f'<button type="button" class="ez-btn ez-primary" data-act="{ACT}take">{icon("check")}{word}</button>' if found.rate else ""
    other = f'<p class="ez-muted ez-small">{escape(tr("Other settings of the form have changed since, so it may be another now."))}</p>' if _differs(run, config) else ""
    return f'<p role="status"><b>{escape(in_words(found.said))}</b></p>{other}{chart(found)}{along}<div class="ez-acts">{take}{_buttons("close")}</div>'


def _rates(run: Run, found: Told) -> dict[str, str]:
    """{path: text} of the rates that stood together where it was found: the text encoders' rose along with the other."""
    if not found.rate:
        return {}
    rates = {PATH: found.rate}
    try:
        was = run.config().training
        if was.adapter.text_encoder:
            rates[TEXT_PATH] = min(FASTEST, was.adapter.text_learning_rate * found.rate / was.optimizer.learning_rate)
    except (ValueError, OSError):
        pass  # its settings cannot be read any more
    return {path: f"{rate:.3g}" if path == TEXT_PATH else f"{rate:g}" for path, rate in rates.items()}


def _differs(run: Run, config: TrainConfig | None) -> bool:
    """Whether what the form says now would be looked for anew."""
    try:
        was = run.config().training
    except (ValueError, OSError):
        return False
    plain = lambda c: {**c.model_dump(exclude={"name", "preset", "sample", "save", "trackers", "steps", "gpus"}), "optimizer": c.optimizer.model_dump(exclude={"learning_rate", "schedule", "warmup_steps"}), "adapter": c.adapter.model_dump(exclude={"text_learning_rate"})}
    return config is not None and plain(was) != plain(config)


def _acts(which: str) -> str:
    return f'<div class="ez-acts">{_buttons(which)}</div>'


def _buttons(which: str) -> str:
    word = {"stop": N_("Stop"), "close": N_("Close")}[which]
    return f'<button type="button" class="ez-btn" data-act="{ACT}{which}">{icon(which)}{escape(tr(word))}</button>'


def chart(found: Told) -> str:
    """The curve over the rates, each step of the axis ten times the one before; the proposal marked."""
    if len(found.curve) < 2:
        return ""
    low, high = math.log10(found.curve[0][0]), math.log10(found.curve[-1][0])
    lowest = min(share for _, share in found.curve)
    top = max(-lowest, 1e-4)  # what rises above as much as it fell leaves the picture
    x = lambda rate: (math.log10(rate) - low) / ((high - low) or 1.0) * WIDTH
    y = lambda share: (min(max(share, lowest), top) - top * 1.05) / (lowest * 1.05 - top * 1.05 - 1e-9) * HEIGHT
    line = "M" + "L".join(f"{x(rate):.1f} {y(share):.1f}" for rate, share in found.curve)
    mark = f'<path class="ez-line-check" d="M{x(found.rate):.1f} 0V{HEIGHT:.0f}"/>' if found.rate and found.curve[0][0] <= found.rate <= found.curve[-1][0] else ""
    powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    ticks = "".join(f'<span style="left:{(p - low) / ((high - low) or 1.0) * 100:.2f}%">1e{p}</span>' for p in powers)
    ticks_y = "".join(f'<span class="ez-chart-tick" style="top:{y(v) / HEIGHT * 100:.2f}%">{escape(word)}</span>' for v, word in ((0.0, tr("base")), (lowest, point(f"{lowest:+.1%}"))))
    title = escape(tr("Loss against the base model’s own, by learning rate; lower is better"))
    said = tr(
        "Loss against the base model's own, from a rate of {first} to {last}; lowest {share}.",
        first=f"{found.curve[0][0]:.0e}", last=f"{found.curve[-1][0]:.0e}", share=point(f"{lowest:+.1%}"),
    )  # fmt: skip
    return (
        f'<figure class="ez-chart"><figcaption><span>{title}</span></figcaption><div class="ez-plot ez-plot-rate" role="img" aria-label="{escape(said)}">'
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true"><path class="ez-gridline" d="M0 {y(0.0):.1f}H{WIDTH:.0f}"/>{mark}'
        f'<path class="ez-line-smooth" d="{line}"/></svg>{ticks_y}</div><div class="ez-axis" aria-hidden="true">{ticks}</div></figure>'
    )


def do(ctx, act: str) -> dict[str, Any]:
    """What a button of the card does: {path: text} for the form.  Raises ValueError, OSError."""
    run = current(ctx.home)
    if run is None or act == f"{ACT}close" and run.status() not in ALIVE:
        close(ctx.home)
    elif act == f"{ACT}stop":
        run.command("stop")
    elif act == f"{ACT}take" and (found := told(run)):
        return _rates(run, found)
    return {}
