"""The health check as the page shows it: a grade, findings as cards that filter the grid, and the training sizes.  Pure; escaped."""

from __future__ import annotations

from html import escape

from training.data import coverage
from training.data.datasets import Picture
from training.data.health import Bucket, Finding, Goal, Health

from ... import counted
from ...language import N_, tr, trc, trn, whole
from ...language.heard import heard

LOOKS = {"A": "ez-ok", "B": "ez-ok", "C": "ez-warn", "D": "ez-bad"}
LEVELS = {"bad": "ez-bad", "warn": "ez-warn", "note": "ez-idle"}
# titles of one word, which are not taken up from the engine as its sentences are
TITLES = (N_("Blurred"), N_("No caption"), N_("Can’t be used"))
SHOWN_SIZES = 12
SIZE = "size "  # begins the key of a bucket


def health_html(health: Health | None, chosen: str, stale: bool) -> str:
    """The outcome of a check; "" where there was none.  chosen: key of what the grid shows.  stale: something has changed since."""
    if health is None:
        return ""
    side = str(health.goal.side_px)
    told = trn("{n} picture, judged for {side} px", "{n} pictures, judged for {side} px", health.count, side=side)
    if health.out:
        told = trn("{n} picture, judged for {side} px, {out} left out", "{n} pictures, judged for {side} px, {out} left out", health.count, side=side, out=health.out)
    again = f'<button type="button" class="ez-link" data-act="check">{escape(tr("Check again"))}</button>'
    old = f'<div class="ez-note ez-warn">{escape(tr("The dataset or the Train form has changed since."))} {again}</div>' if stale else ""
    cards = "".join(_card(f, f.key == chosen) for f in health.findings) or f'<p class="ez-muted">{escape(tr("Nothing was found that should be mended."))}</p>'
    label, grade = escape(tr("Health of this dataset")), escape(tr("Grade {grade}", grade=health.grade))
    return (
        f'<section class="ez-card ez-health" aria-label="{label}"><div class="ez-health-head"><b class="ez-grade {LOOKS[health.grade]}" aria-label="{grade}">{health.grade}</b>'
        f'<div><b>{escape(heard(health.word))}</b><p class="ez-muted ez-small">{escape(told)}</p></div><button type="button" class="ez-link" data-act="close">{escape(tr("Close"))}</button></div>{old}'
        f'<div class="ez-findings">{cards}</div>{_sizes(health, chosen)}</section>'
    )


def _card(finding: Finding, chosen: bool) -> str:
    look, word = LEVELS[finding.level], _asked(finding.level)
    card = (
        f'<button type="button" class="ez-finding" data-act="finding" data-key="{escape(finding.key)}" aria-pressed="{str(chosen).lower()}">'
        f'<span class="ez-finding-head"><b>{escape(heard(finding.title))}</b><span class="ez-chip {look} ez-num" title="{escape(word)}">{whole(len(finding.ids))}</span></span>'
        f'<span class="ez-small">{escape(_says(finding))}</span><span class="ez-small ez-muted">{escape(heard(finding.todo))}</span></button>'
    )
    if not finding.act:
        return card
    act, label = finding.act
    return f'<div class="ez-finding-both">{card}<button type="button" class="ez-btn" data-act="{escape(act)}" data-key="{escape(finding.key)}">{escape(heard(label))}</button></div>'


def _says(finding: Finding) -> str:
    """What a finding says; what it lists is said name by name."""
    listed = [matter.name for matter in coverage.MATTERS if matter.name in finding.says]
    said = heard(finding.says)
    if len(listed) < 2:
        return said
    ours, theirs = coverage.listed(listed), counted.together([heard(name) for name in listed])
    return said.replace(ours, theirs).replace(ours[:1].upper() + ours[1:], theirs[:1].upper() + theirs[1:])


def _asked(level: str) -> str:
    """What a finding asks for, in a word."""
    return {"bad": trc("what a finding asks for", "Mend"), "warn": trc("what a finding asks for", "Look"), "note": trc("what a finding asks for", "Note")}[level]


def _sizes(health: Health, chosen: str) -> str:
    """How many pictures are trained at which size."""
    if not health.buckets:
        return ""
    most = len(health.buckets[0].ids)
    rows = "".join(
        f'<li><button type="button" class="ez-size" data-act="finding" data-key="{key_of(b)}" aria-pressed="{str(key_of(b) == chosen).lower()}">'
        f'<span class="ez-num">{b.width} × {b.height}</span><i><i style="width:{100 * len(b.ids) / most:.0f}%"></i></i><span class="ez-num">{whole(len(b.ids))}</span></button></li>'
        for b in health.buckets[:SHOWN_SIZES]
    )
    rest = sum(len(b.ids) for b in health.buckets[SHOWN_SIZES:])
    says = trn("and {n} picture of other sizes", "and {n} pictures of other sizes", rest)
    more = f'<p class="ez-muted ez-small">{escape(says)}</p>' if rest else ""
    return (
        f'<details class="ez-sizes"{" open" if chosen.startswith(SIZE) else ""}><summary>{escape(tr("Training sizes: {count}", count=len(health.buckets)))}</summary>'
        f'<ul>{rows}</ul>{more}<p class="ez-muted ez-small">{escape(_batches(health))}</p></details>'
    )


def _batches(health: Health) -> str:
    """What sizes mean for batches."""
    batch = health.goal.batch
    if batch == 1:
        return tr("Each step learns one picture, so that different sizes cost nothing.")
    if not health.partial:
        return tr("Each step learns {batch} pictures of one size, and every step is full.", batch=batch)
    steps = sum(-(-len(b.ids) // batch) for b in health.buckets)
    says = N_("Each step learns {batch} pictures of one size: {partial} of {steps} in an epoch hold fewer, as nothing is repeated to fill one up.")
    return tr(says, batch=batch, partial=health.partial, steps=steps)


def key_of(bucket: Bucket) -> str:
    """The key by which the grid shows a bucket."""
    return f"{SIZE}{bucket.width}x{bucket.height}"


def shown(health: Health | None, key: str) -> tuple[str, frozenset[str]] | None:
    """(title, ids) of what was clicked; None where nothing is, or it is not there any more."""
    if health is None or not key:
        return None
    if finding := health.finding(key):
        return finding.title, frozenset(finding.ids)
    return next(((f"{b.width} × {b.height}", frozenset(b.ids)) for b in health.buckets if key_of(b) == key), None)


def filter_html(title: str, count: int) -> str:
    """What the grid is filtered to, and the way back."""
    return f'<div class="ez-filtered"><span><b>{escape(heard(title))}</b> · {escape(counted.pictures(count))}</span><button type="button" class="ez-link" data-act="finding" data-key="">{escape(tr("Show all"))}</button></div>'


def crop_attributes(picture: Picture, goal: Goal) -> str:
    """What the large view draws on a picture: the part that is learnt, left, top, width and height as shares of the picture, and its size."""
    if not picture.usable or not picture.width:
        return ""
    crop = goal.crop(picture)
    wide, high = crop.scaled
    shares = (crop.left / wide, crop.top / high, crop.width / wide, crop.height / high)
    size = {"width": str(crop.width), "height": str(crop.height)}
    said = tr("learnt at {width} × {height}", **size)
    if crop.lost >= 0.005:
        said = tr("learnt at {width} × {height}, {share} cut off", **size, share=f"{crop.lost:.0%}")
    return f' data-crop="{" ".join(f"{share:.5f}" for share in shares)}" data-size="{escape(said)}"'
