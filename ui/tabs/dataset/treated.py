"""Turning, mirroring and leaving out on the page: the buttons, and what a tile says of it.  Pure; escaped.  assets/treated.js shows them on the large view."""

from __future__ import annotations

from html import escape

from training.data.datasets import Dataset, Picture
from training.data.treatment import Treatment, read

SIGNS = {
    "left": '<path d="M4.5 9.5h9a5.500 5.500 0 0 1 0 11H9M4.500 9.500 9 5M4.500 9.500 9 14"/>',
    "right": '<path d="M19.500 9.500h-9a5.500 5.500 0 0 0 0 11H15M19.500 9.500 15 5M19.500 9.500 15 14"/>',
    "mirror": '<path d="M12 3.500v17M9 7.500 3.500 17H9zM15 7.500 20.500 17H15z"/>',
    "out": '<circle cx="12" cy="12" r="8.500"/><path d="m6 6 12 12"/>',
    "in": '<circle cx="12" cy="12" r="8.500"/><path d="m8 12.300 3 3 5-6"/>',
}
SAYS = {"left": ("Turn left", "Shift R"), "right": ("Turn right", "R"), "mirror": ("Mirror", "M"), "out": ("Leave out", "X"), "in": ("Take back", "X")}


def _button(key: str) -> str:
    says, keys = SAYS[key]
    svg = f'<svg class="ez-icon" viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{SIGNS[key]}</svg>'
    return f'<button type="button" class="ez-btn ez-treat" data-act="treat" data-key="{key}" data-keys="{keys}" aria-label="{says}" title="{says}">{svg}<span>{says}</span></button>'


BUTTONS = "".join(map(_button, SIGNS))


def attributes(picture: Picture) -> str:
    """What the large view needs to show a picture as it is learnt: its view, width over height and width in px, all of the treated one."""
    view = picture.treatment.view
    return f' data-turned="{view}" data-ratio="{picture.width / picture.height:.5f}" data-wide="{picture.width}"' if view and picture.width else ""


def chip(picture: Picture) -> str:
    """That a picture is turned or mirrored; "" where it is as its file."""
    says = told(picture.treatment)
    return f'<span class="ez-chip ez-idle" title="{escape(says)}; its file stays as it is">{"↻" if picture.treatment.turns else "⇋"}</span>' if says else ""


def told(treatment: Treatment) -> str:
    """How a picture is shown, in words."""
    turned = {0: "", 1: "turned right", 2: "turned upside down", 3: "turned left"}[treatment.turns]
    said = " and ".join(filter(None, [turned, "mirrored" if treatment.mirror else ""]))
    return said[:1].upper() + said[1:]


def left_out(ds: Dataset) -> str:
    """How many pictures are left out, behind how many there are; "" where none is."""
    if not any(t.out for t in read(ds.meta).values()):
        return ""  # counting looks at every picture
    count = ds.counts().out
    return f", {count:,} left out" if count else ""
