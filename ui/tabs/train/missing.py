"""What is still missing before training, and where to do it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from training.data import datasets
from training.data.captions import remarks
from training.data.datasets import Dataset
from training.home import Home

from ... import drafts, views
from ...language import tr
from ...language.heard import heard
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
        return [Missing(tr("no pictures are chosen"), "dataset", tr("Add pictures"))]
    counts = ds.counts()
    if not counts.total:
        return [Missing(tr("there are no pictures yet"), "dataset", tr("Add pictures"))]
    left = []
    for said in ds.readiness(counts):
        about_captions = "caption" in said
        left.append(Missing(heard(said), "captions" if about_captions else "dataset", tr("Write captions") if about_captions else tr("Look at them")))
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
        link = f'<button type="button" class="ez-link" data-tab="captions">{escape(tr("Look at them"))}</button>' if here != "captions" else ""
        told = "".join(f'<span class="ez-missing-item">{escape(heard(text))}</span>' for text in said)
        return f'<div class="ez-missing" role="status"><span class="ez-chip ez-warn"><i></i>{escape(tr("Captions to look at"))}</span>{told}{link}</div>'
    if left:
        parts = []
        for item in left:
            link = f'<button type="button" class="ez-link" data-tab="{item.tab}">{escape(item.link)}</button>' if item.tab != here else ""
            parts.append(f'<span class="ez-missing-item">{escape(views.sentence_start(item.text))}{link}</span>')
        return f'<div class="ez-missing" role="status"><b>{escape(tr("Before training"))}</b>{"".join(parts)}</div>'
    link = f'<button type="button" class="ez-link" data-tab="train">{escape(tr("Go to Train"))}</button>' if here != "train" else ""
    return f'<div class="ez-missing" role="status"><span class="ez-chip ez-ok"><i></i>{escape(tr("Pictures and captions are ready"))}</span>{link}</div>'
