"""What a picture is made from, on the page: the inset on its tile, what the large view puts beside it, and adding one by hand.  Pure; escaped.

assets/befores.js shows before and after beside each other on the large view.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from training.data.controls import Control
from training.data.datasets import Dataset, Picture

from ...language import tr, trn
from ...language.heard import heard
from ...server import media
from . import treated

Address = tuple[str, str]  # thumbnail, large


def addresses(ctx, ds: Dataset, picture: Picture) -> list[Address]:
    """Where the pictures that this one is made from are had, one by one."""
    return [_address(ctx, ds, one, picture.treatment.view) for one in picture.references]


def _address(ctx, ds: Dataset, one: Control, view: str) -> Address:
    if one.path.parent != ds.path:  # in a folder below: its thumbnail is all that can be asked for
        return (media.kept_url(ctx, ds.name, one.sha256),) * 2
    return media.thumb_url(ctx, ds.name, one.path.name, one.sha256, view), media.picture_url(ctx, ds.name, one.path.name, one.sha256)


def inset(picture: Picture, befores: Sequence[Address], opens: bool = True) -> str:
    """The first of them in the corner of its picture, with how many more there are.  opens: large, right behind that one."""
    if not befores:
        return ""
    first = picture.references[0]
    name = escape(first.path.name, quote=True)
    says = tr("{file}: what this picture is made from, the picture before an edit or its control picture", file=first.path.name)
    more = len(befores) - 1
    count = f'<b class="ez-num" title="{escape(trn("{n} more that it is made from", "{n} more that it is made from", more))}">+{more}</b>' if more else ""
    shown = f'<img src="{escape(befores[0][0])}" alt="{name}" loading="lazy">{count}'
    if not opens:
        return f'<span class="ez-twin" title="{escape(says)}">{shown}</span>'
    return f'<a class="ez-twin" href="{escape(befores[0][1])}" data-zoom="{name}"{treated.attributes(picture)} title="{escape(says)}">{shown}</a>'


def attributes(picture: Picture, befores: Sequence[Address]) -> str:
    """What the large view needs to show them before their picture.  Of a turned picture the thumbnails are taken, which are turned already."""
    if not befores:
        return ""
    shown = [small if picture.treatment.view else large for small, large in befores]
    return f' data-befores="{escape(json.dumps(shown), quote=True)}"'


def chip(picture: Picture) -> str:
    """What is wrong with them; "" for nothing."""
    if not picture.control_note:
        return ""
    word = tr("Other shape") if picture.other_shape else tr("Control?")
    return f'<span class="ez-chip ez-warn" title="{escape(heard(picture.control_note))}">{escape(word)}</span>'


def buttons() -> str:
    """What can be done to the pictures that are selected."""
    add, away = escape(tr("Add a picture before")), escape(tr("Take the picture before away"))
    hint = escape(tr("Of the first picture that is selected: choose what it is made from, for an edit or as its control picture"))
    return (
        f'<button type="button" class="ez-btn" data-act="before" title="{hint}">{add}</button>'
        f'<button type="button" class="ez-btn" data-act="unpair" hidden>{away}</button>'
    )


def asked(id: str, count: int) -> str:
    """Above the box that takes the file.  count: how many it has already."""
    said = tr("Choose the picture that <b>{name}</b> is made from.", name=escape(id))
    if count:
        said = trn("Choose another picture that <b>{name}</b> is made from; it has {n}.", "Choose another picture that <b>{name}</b> is made from; it has {n}.", count, name=escape(id))
    return f"<p>{said}</p>"
