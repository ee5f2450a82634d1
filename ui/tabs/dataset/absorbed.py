"""What the trigger word should absorb, as chips: those that are kept, and what most captions share.  Pure; escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape

from training.data import absorbing
from training.data.datasets import Dataset

from ...language import N_, tr

SAMPLE = 400  # captions that are asked for what they share; more would tell the same
SAYS = N_(
    "What always belongs to your subject, such as the colour of its hair, is learnt as the trigger word only where captions do not say it. "
    "Choose what they should leave out; <b>{button}</b> then shows each caption that says it all the same."
)


def of(ds: Dataset, trigger: str) -> str:
    """The chips of a dataset.  trigger: the trigger word that stands in the Train form."""
    told = [p.captions for p in ds.pictures(check=False) if p.captions and p.verdict in ("ok", "unchecked")]
    return html(ds.absorbs, _suggested(tuple(told[:: max(1, len(told) // SAMPLE)]), ds.absorbs, trigger))


@lru_cache(maxsize=8)
def _suggested(captions: tuple[tuple[str, ...], ...], traits: tuple[str, ...], trigger: str) -> tuple[str, ...]:
    return tuple(trait for trait, _ in absorbing.suggested(captions, traits, trigger))


def html(traits: Sequence[str], suggested: Sequence[str]) -> str:
    """traits: that captions leave out.  suggested: what they share."""
    kept = "".join(
        f'<li><span class="ez-trait">{escape(t)}<button type="button" data-act="release" data-trait="{escape(t)}" aria-label="{escape(tr("Let captions say {trait} again", trait=t))}">×</button></span></li>' for t in traits
    )
    offers = "".join(f'<li><button type="button" class="ez-trait ez-trait-offer" data-act="absorb" data-trait="{escape(t)}">+ {escape(t)}</button></li>' for t in suggested)
    more = f'<p class="ez-muted ez-small">{escape(tr("Captions here often say:"))}</p><ul class="ez-traits">{offers}</ul>' if offers else ""
    says, typed = tr(SAYS, button=escape(tr("Check this dataset"))), escape(tr("What captions should leave out"))
    return (
        f'<div class="ez-absorb"><p class="ez-muted ez-small">{says}</p>{f"<ul class=ez-traits>{kept}</ul>" if kept else ""}'
        f'<div class="ez-absorb-add"><input type="text" class="ez-input" id="ez-trait" maxlength="60" placeholder="{escape(tr("brown hair"))}" aria-label="{typed}" data-enter="absorb-typed" autocomplete="off">'
        f'<button type="button" class="ez-btn" data-act="absorb-typed" data-with="#ez-trait">{escape(tr("Add"))}</button></div>{more}</div>'
    )
