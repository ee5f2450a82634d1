"""Which checkpoint is best, on the Results page: what was learnt and what was lost over the steps, the advice, and one click that takes it.  Pure."""

from __future__ import annotations

from functools import lru_cache
from html import escape

from training.plan import advising
from training.plan.advising import Advice, Curves
from training.runs.events import RunView

from ... import views
from ...icons import icon
from ...language import N_, tr, trc, whole
from ...language.heard import heard
from .chart import HEIGHT, WIDTH, nice_ticks

ACT = "use"
HINT = N_("Few pictures are held out, so this is a hint: look at the samples of the checkpoints around it before you decide.")
SURE = {
    "clear": (N_("clear in these numbers"), N_("By these numbers the last one has lost more than the one to take")),
    "likely": (N_("likely, by these numbers"), N_("By these numbers the last one has likely lost more than the one to take")),
    "unsure": (N_("not sure"), N_("That the last one has lost more cannot be told from chance")),
}


@lru_cache(maxsize=64)
def _curves(measures, bases) -> Curves | None:
    return advising.curves(measures, bases)


def panel(view: RunView, steps: tuple[int, ...], usable: bool, ended: bool) -> str:
    """HTML of the card; "" for a run that measured nothing.  usable: whether a checkpoint can be made the result; ended: whether the run has."""
    if not view.measures:
        return ""
    told, found = views.advice(view, steps), _curves(view.measures, view.bases)
    word, why = SURE[told.sure]
    sure = f'<span class="ez-chip" title="{escape(tr(why))}">{escape(tr(word))}</span>' if told.verdict in ("knee", "falling", "worse") else ""
    first, *rest = (_said(text, told) for text in told.said)
    more = "".join(f'<p class="ez-muted ez-small">{escape(text)}</p>' for text in (*rest, *[tr(HINT)] * bool(told.step)))
    title = escape(tr("Which checkpoint is best?"))
    return (
        f'<section class="ez-card ez-advice" aria-label="{title}"><div class="ez-spread"><h2 class="ez-subtitle">{title}</h2>{sure}</div>'
        f'<p class="ez-advice-said">{icon("star")}<span>{escape(first)}</span></p>{more}{_use(view, told, usable, ended)}{_plot(view, found, told) if found else ""}</section>'
    )


def _said(text: str, told: Advice) -> str:
    """A sentence of the advice; the shortest says too little to be found again by its words."""
    return tr("Take step {step}.", step=told.step) if text == f"Take step {told.step:,}." else heard(text)


def _use(view: RunView, told: Advice, usable: bool, ended: bool) -> str:
    """The button that makes the advised checkpoint the result, or what stands in its place."""
    if not (ended and usable and told.step) or told.verdict in ("none", "few", "flat"):
        return ""
    if told.step == (view.result_step or view.of):
        return f'<p class="ez-muted ez-small">{icon("check")} {escape(tr("The result is step {step} already.", step=told.step))}</p>'
    return f'<p class="ez-advice-take"><button type="button" class="ez-btn ez-primary" data-act="{ACT}" data-value="{told.step}">{icon("check")}{escape(tr("Use step {step}", step=told.step))}</button></p>'


def _plot(view: RunView, found: Curves, told: Advice) -> str:
    learnt = [(s, 100 * share) for s, share in zip(found.steps, found.shares, strict=True)]
    lost = [(s, 100 * share) for s, share in zip(found.steps, found.losts, strict=True)]
    last, top = max(view.of, found.steps[-1]), max(115.0, *(v for _, v in learnt + lost))
    x = lambda step: step / last * WIDTH
    y = lambda value: HEIGHT - value / top * HEIGHT
    path = lambda rows: "M" + "L".join(f"{x(s):.1f} {y(v):.1f}" for s, v in rows)
    ticks = nice_ticks(0, top)
    grid = "".join(f'<path class="ez-gridline" d="M0 {y(t):.1f}H{WIDTH:.0f}"/>' for t in ticks)
    labels = "".join(f'<span class="ez-chart-tick" style="top:{y(t) / HEIGHT * 100:.2f}%">{t:g} %</span>' for t in ticks)
    forgot = f'<path class="ez-line-lost" d="{path([(0, 0.0), *lost])}"/>' if any(found.lost) else ""
    marks = "".join(_mark(step, word, look, x(step) / WIDTH * 100) for step, word, look in _marked(told))
    error, moved = f"{learnt[-1][1]:.0f}", f"{lost[-1][1]:.0f}"
    if forgot:
        said = tr("Error on held-out pictures {error} % of the base model's own at step {step}; {moved} % of what the base model knew has moved", error=error, step=found.steps[-1], moved=moved)
    else:
        said = tr("Error on held-out pictures {error} % of the base model's own at step {step}", error=error, step=found.steps[-1])
    keys = f'<span class="ez-key"><i></i>{escape(tr("error on held-out pictures"))}</span>'
    keys += f'<span class="ez-key ez-key-lost"><i></i>{escape(tr("moved away from the base model"))}</span>' if forgot else ""
    keys += f'<span class="ez-key ez-key-bare"><i></i>{escape(tr("base model alone"))}</span>'
    axis = "".join(f'<span style="left:{t / last * 100:.2f}%">{whole(int(t))}</span>' for t in nice_ticks(0, last, 5) if t == int(t))
    return (
        f'<figure class="ez-chart"><figcaption><span class="ez-legend">{keys}</span></figcaption><div class="ez-plot" role="img" aria-label="{escape(said)}">'
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">{grid}<path class="ez-line-bare" d="M0 {y(100):.1f}H{WIDTH:.0f}"/>'
        f'{forgot}<path class="ez-line-smooth" d="{path([(0, 100.0), *learnt])}"/></svg>{labels}{marks}</div><div class="ez-axis">{axis}</div></figure>'
    )


def _marked(told: Advice) -> list[tuple[int, str, str]]:
    """(step, what it is, how it looks), those of one step together."""
    said: dict[int, list[str]] = {}
    for step, word in ((told.step, trc("checkpoint", "best")), (told.learnt, tr("learns no more")), (told.forgets, tr("forgets from here"))):
        if step and told.verdict in ("knee", "falling", "worse"):
            said.setdefault(step, []).append(word)
    return [(step, ", ".join(words), " is-best" if step == told.step else "") for step, words in said.items()]


def _mark(step: int, word: str, look: str, left: float) -> str:
    side = " is-left" if left > 50 else ""
    return f'<i class="ez-advice-mark{look}{side}" style="left:{left:.2f}%"><span>{escape(word)} · {whole(step)}</span></i>'
