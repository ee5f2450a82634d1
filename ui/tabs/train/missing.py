"""What is still missing before training, and where to do it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from training.data import datasets
from training.data.captions import remarks
from training.data.datasets import Dataset
from training.home import Home

from ... import drafts
from .draft import FORM, Draft


@dataclass(frozen=True)
class Missing:
    """One thing to do.  tab: where."""

    text: str
    tab: str
    link: str


def chosen(home: Home, name: str) -> Dataset | None:
    """The dataset of that name; the one that was worked on last where none was chosen yet; None where the browser remembers one that is gone."""
    if not name:
        return datasets.latest(home)
    try:
        return datasets.open_dataset(home, name)
    except ValueError:
        return None


def missing(home: Home, name: str) -> list[Missing]:
    """What to do before the chosen dataset can be trained on; [] when nothing is left."""
    ds = chosen(home, name)
    if ds is None:
        return [Missing("no pictures are chosen", "dataset", "Add pictures")]
    counts = ds.counts()
    if not counts.total:
        return [Missing("there are no pictures yet", "dataset", "Add pictures")]
    left = []
    for said in ds.readiness(counts):
        about_captions = "caption" in said
        left.append(Missing(said, "captions" if about_captions else "dataset", "Write captions" if about_captions else "Look at them"))
    return left


def dull(home: Home, name: str) -> list[str]:
    """What to know about the captions of the chosen dataset: those that teach little, a sentence each."""
    ds = chosen(home, name)
    if ds is None:
        return []
    trigger = drafts.load(home, FORM, Draft).word_of(ds.name)
    return remarks([p.caption for p in ds.pictures(check=False) if p.usable], trigger)


def missing_html(home: Home, name: str, here: str) -> str:
    """The line below a tab's heading.  here: the id of that tab, whose own links are left out."""
    left = missing(home, name)
    if not left and (said := dull(home, name)):
        link = '<button type="button" class="ez-link" data-tab="captions">Look at them</button>' if here != "captions" else ""
        told = "".join(f'<span class="ez-missing-item">{escape(text)}</span>' for text in said)
        return f'<div class="ez-missing" role="status"><span class="ez-chip ez-warn"><i></i>Captions to look at</span>{told}{link}</div>'
    if left:
        parts = []
        for item in left:
            link = f'<button type="button" class="ez-link" data-tab="{item.tab}">{escape(item.link)}</button>' if item.tab != here else ""
            parts.append(f'<span class="ez-missing-item">{escape(item.text[:1].upper() + item.text[1:])}{link}</span>')
        return f'<div class="ez-missing" role="status"><b>Before training</b>{"".join(parts)}</div>'
    link = '<button type="button" class="ez-link" data-tab="train">Go to Train</button>' if here != "train" else ""
    return f'<div class="ez-missing" role="status"><span class="ez-chip ez-ok"><i></i>Pictures and captions are ready</span>{link}</div>'
