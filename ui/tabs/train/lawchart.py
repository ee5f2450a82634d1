"""How often each noise level is trained, as one small SVG curve.  Pure functions."""

from __future__ import annotations

from html import escape

from training.plan.timelaw import TimeLaw

from ...language import tr

WIDTH, HEIGHT = 600.0, 100.0  # units of the plot's own coordinates; the page stretches it
BINS = 100
TOP = 2.0, 4.5  # least and most of the scale, in multiples of an even law; a higher peak leaves the picture

Of = tuple[TimeLaw, int]  # a law, and the latent tokens of the picture that it is drawn for


def chart(now: Of, usual: Of) -> str:
    """HTML of the curve; the preset's own, dashed, where it is another one."""
    curve, other = now[0].density(BINS, now[1]), usual[0].density(BINS, usual[1])
    differs = max(abs(a - b) for a, b in zip(curve, other, strict=True)) > 0.01
    top = min(TOP[1], max(TOP[0], 1.1 * max(curve + other * differs)))
    said = sentence(*now)
    dashed = f'<path class="ez-law-usual" d="{_path(other, top)}"/>' if differs else ""
    legend = f'<span class="ez-key"><i></i>{escape(tr("now"))}</span><span class="ez-key ez-key-usual"><i></i>{escape(tr("the preset"))}</span>'
    key = f'<span class="ez-legend">{legend}</span>' if differs else ""
    title = escape(tr("Noise levels that are trained"))
    return (
        f'<figure class="ez-set ez-law" data-find="{title.lower()} timestep law distribution">'
        f"<figcaption><b>{title}</b>{key}<span>{escape(said)}</span></figcaption>"
        f'<div class="ez-law-plot" role="img" aria-label="{escape(said)}">'
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="ez-law-area" d="{_path(curve, top)}V{HEIGHT:.0f}H0Z"/>{dashed}<path class="ez-law-line" d="{_path(curve, top)}"/></svg></div>'
        f'<div class="ez-law-axis" aria-hidden="true"><span>{escape(tr("almost clean"))} ←</span><span>→ {escape(tr("pure noise"))}</span></div></figure>'
    )


def sentence(law: TimeLaw, tokens: int) -> str:
    """Where the draws lie, in percent of noise."""
    quarter, half, three_quarters = (round(100 * law.at(u, tokens)) for u in (0.25, 0.5, 0.75))
    return tr("Half of all steps between {low} % and {high} % noise, the middle one at {middle} %.", low=quarter, high=three_quarters, middle=half)


def _path(density: list[float], top: float) -> str:
    """A line through the middle of each bin, from one edge of the plot to the other."""
    width = WIDTH / len(density)
    heights = [HEIGHT - min(value, 2 * top) / top * HEIGHT for value in density]
    return f"M0 {heights[0]:.1f}" + "".join(f"L{(n + 0.5) * width:.1f} {y:.1f}" for n, y in enumerate(heights)) + f"H{WIDTH:.0f}"
