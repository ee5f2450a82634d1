"""The loss curve and the learning rate as one light SVG: raw, smoothed and validation loss over the steps."""

from __future__ import annotations

import json
import math
from html import escape

from training.runs.events import RunView

from ...curves import smoothed, thinned
from ...language import tr, whole
from ...views import number

WIDTH, HEIGHT = 1000.0, 260.0  # units of the plot's own coordinates; the page stretches it
POINTS = 400
SMALLEST = 1e-300  # what is below it has no logarithm that a power of ten can be made of


def chart(view: RunView) -> str:
    """HTML of both plots, or of a line that says why there are none."""
    if len(view.losses) < 2:
        return f'<div class="ez-empty ez-chart-empty"><p>{escape(tr("The loss curve begins with the first steps."))}</p></div>'
    smooth = smoothed(view.losses)
    rows = [(*view.losses[n], smooth[n]) for n in thinned(range(len(smooth)), POINTS)]
    last_step = max(view.of, rows[-1][0])
    low, high = _range([r[1] for r in rows] + [loss for _, loss in view.validations], [r[3] for r in rows])
    said = tr("Loss over {steps} steps: {first} at first, {now} now.", steps=rows[-1][0], first=number(rows[0][3]), now=number(rows[-1][3]))
    rate = tr("Learning rate {rate}", rate=number(rows[-1][2]))
    points = json.dumps([[r[0], round(r[1], 6), round(r[3], 6), r[2]] for r in rows], separators=(",", ":"))
    checks = json.dumps([[s, round(v, 6)] for s, v in view.validations], separators=(",", ":"))
    legend = _key("raw", tr("loss")) + _key("smooth", tr("smoothed")) + (_key("check", tr("validation")) if view.validations else "")
    return (
        f'<figure class="ez-chart" data-points="{escape(points)}" data-checks="{escape(checks)}" data-last="{last_step}">'
        f'<figcaption><span class="ez-legend">{legend}</span><output class="ez-readout">{escape(said)}</output></figcaption>'
        f'<div class="ez-plot" role="img" aria-label="{escape(said)}">{_loss_plot(rows, view.validations, last_step, low, high)}</div>'
        f'<div class="ez-plot ez-plot-small" role="img" aria-label="{escape(rate)}">{_rate_plot(rows, last_step)}</div>'
        f'<div class="ez-axis">{_steps_axis(last_step)}</div></figure>'
    )


def _key(look: str, word: str) -> str:
    return f'<span class="ez-key ez-key-{look}"><i></i>{escape(word)}</span>'


def _range(raw: list[float], smooth: list[float]) -> tuple[float, float]:
    """The part of the loss axis worth showing: all of the smooth curve, without the raw one's rarest spikes."""
    ordered = sorted(raw)
    low = min(min(smooth), ordered[int(len(ordered) * 0.02)])
    high = max(max(smooth), ordered[min(len(ordered) - 1, int(len(ordered) * 0.98))])
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = max(0.0, low - room) if low >= 0 else low - room, high + room
    return (low, high) if high - low > SMALLEST else (low, low + max(1.0, abs(low) * 1e-6))


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _loss_plot(rows, validations, last_step, low, high) -> str:
    def x(step):
        return step / last_step * WIDTH

    def y(loss):
        return HEIGHT - (min(max(loss, low), high) - low) / (high - low) * HEIGHT

    ticks = nice_ticks(low, high)
    grid = "".join(f'<path class="ez-gridline" d="M0 {y(t):.1f}H{WIDTH:.0f}"/>' for t in ticks)
    labels = "".join(f'<span class="ez-chart-tick" style="top:{y(t) / HEIGHT * 100:.2f}%">{number(t)}</span>' for t in ticks)
    raw = _path([(x(r[0]), y(r[1])) for r in rows])
    smooth = [(x(r[0]), y(r[3])) for r in rows]
    area = f"{_path(smooth)}L{smooth[-1][0]:.1f} {HEIGHT:.0f}L{smooth[0][0]:.1f} {HEIGHT:.0f}Z"
    check = f'<path class="ez-line-check" d="{_path([(x(s), y(v)) for s, v in validations])}"/>' if len(validations) > 1 else ""
    dots = "".join(
        f'<i class="ez-dot" style="left:{x(s) / WIDTH * 100:.2f}%;top:{y(v) / HEIGHT * 100:.2f}%"></i>' for s, v in thinned(list(validations), 60)
    )
    head = f'<i class="ez-dot ez-dot-now" style="left:{smooth[-1][0] / WIDTH * 100:.2f}%;top:{smooth[-1][1] / HEIGHT * 100:.2f}%"></i>'
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">{grid}'
        f'<path class="ez-chart-area" d="{area}"/><path class="ez-line-raw" d="{raw}"/>{check}<path class="ez-line-smooth" d="{_path(smooth)}"/></svg>'
        f'{labels}{dots}{head}<i class="ez-cursor" hidden></i>'
    )


def _rate_plot(rows, last_step) -> str:
    top = max(max(r[2] for r in rows), SMALLEST)
    path = _path([(r[0] / last_step * WIDTH, HEIGHT - r[2] / top * HEIGHT * 0.9) for r in rows])
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="ez-gridline" d="M0 {HEIGHT:.0f}H{WIDTH:.0f}"/><path class="ez-line-rate" d="{path}"/></svg>'
        f'<span class="ez-chart-tick" style="top:10%">{number(top)}</span><span class="ez-plot-name">{escape(tr("learning rate"))}</span><i class="ez-cursor" hidden></i>'
    )


def _steps_axis(last_step: int) -> str:
    ticks = [t for t in nice_ticks(0, last_step, 5) if t == int(t)]
    return "".join(f'<span style="left:{t / last_step * 100:.2f}%">{whole(int(t))}</span>' for t in ticks)


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from low to high, about that many: steps of 1, 2 or 5 times a power of ten."""
    if not high - low > SMALLEST:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]
