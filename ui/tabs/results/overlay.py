"""The loss curves of several runs in one plot: smoothed losses over the steps, and validation losses dashed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from training.runs.events import RunView

from ...curves import smoothed, thinned
from ...language import tr, trn, whole
from ...views import number
from .chart import HEIGHT, WIDTH, nice_ticks

POINTS = 300


def overlay(runs: Sequence[tuple[str, RunView]]) -> str:
    """HTML of the plot.  runs: (name, view), in the order of their letters."""
    lines = [(k, name, _points(view), thinned([*view.validations], POINTS)) for k, (name, view) in enumerate(runs)]
    drawn = [line for line in lines if len(line[2]) > 1]
    if not drawn:
        return f'<div class="ez-empty ez-chart-empty"><p>{escape(tr("None of these runs has a curve yet."))}</p></div>'
    last = max(line[2][-1][0] for line in drawn)
    values = sorted(value for _, _, points, checks in drawn for _, value in (*points, *checks))
    low, high = values[0], values[min(len(values) - 1, int(len(values) * 0.995))]  # the first steps of one run must not flatten all others
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = (max(0.0, low - room) if low >= 0 else low - room), high + room
    ticks = nice_ticks(low, high)
    y = lambda value: HEIGHT - (min(max(value, low), high) - low) / (high - low) * HEIGHT
    path = lambda points: "M" + "L".join(f"{step / max(last, 1) * WIDTH:.1f} {y(value):.1f}" for step, value in points)
    grid = "".join(f'<path class="ez-gridline" d="M0 {y(t):.1f}H{WIDTH:.0f}"/>' for t in ticks)
    labels = "".join(f'<span class="ez-chart-tick" style="top:{y(t) / HEIGHT * 100:.2f}%">{number(t)}</span>' for t in ticks)
    curves = "".join(
        (f'<path class="ez-over-{k} ez-over-check" d="{path(checks)}"/>' if len(checks) > 1 else "") + f'<path class="ez-over-{k}" d="{path(points)}"/>' for k, _, points, checks in drawn
    )
    notes = [tr("{run} has no curve yet", run="ABCDEF"[k]) for k, _, points, _ in lines if len(points) < 2] + [tr("dashed: validation")] * any(len(line[3]) > 1 for line in drawn)
    losses = ", ".join(tr("{run} {loss} at step {step}", run="ABCDEF"[k], loss=number(points[-1][1]), step=points[-1][0]) for k, _, points, _ in drawn)
    said = tr("Smoothed loss at the end: {losses}.", losses=losses)
    how = trn("Smoothed loss of {n} run; the arrow keys go along the steps", "Smoothed loss of {n} runs; the arrow keys go along the steps", len(lines))
    told = json.dumps([["ABCDEF"[k], [[step, round(value, 6)] for step, value in points]] for k, _, points, _ in drawn], separators=(",", ":"))
    axis = "".join(f'<span style="left:{t / max(last, 1) * 100:.2f}%">{whole(int(t))}</span>' for t in nice_ticks(0, last, 5) if t == int(t))
    return (
        f'<figure class="ez-chart ez-overlay" data-lines="{escape(told)}" data-last="{last}"><figcaption><output class="ez-readout">{escape(said)}</output><span class="ez-legend">{escape(", ".join(notes))}</span></figcaption>'
        f'<div class="ez-plot" role="slider" tabindex="0" aria-label="{escape(how)}" aria-valuemin="0" aria-valuemax="{last}" aria-valuenow="{last}" aria-valuetext="{escape(said)}">'
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">{grid}{curves}</svg>{labels}<i class="ez-cursor" hidden></i></div>'
        f'<div class="ez-axis">{axis}</div></figure>'
    )


def _points(view: RunView) -> list[tuple[int, float]]:
    smooth = smoothed(view.losses)
    return [(view.losses[n][0], smooth[n]) for n in thinned(range(len(smooth)), POINTS)]
