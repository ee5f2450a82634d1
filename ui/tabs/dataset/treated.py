"""Turning, mirroring and leaving out on the page: the buttons, and what a tile says of it.  Pure; escaped.  assets/treated.js shows them on the large view."""

from __future__ import annotations

from html import escape

from training.data.datasets import Dataset, Picture
from training.data.treatment import Treatment, read

from ...language import N_, tr

SIGNS = {
    "left": '<path d="M4.5 9.5h9a5.500 5.500 0 0 1 0 11H9M4.500 9.500 9 5M4.500 9.500 9 14"/>',
    "right": '<path d="M19.500 9.500h-9a5.500 5.500 0 0 0 0 11H15M19.500 9.500 15 5M19.500 9.500 15 14"/>',
    "mirror": '<path d="M12 3.500v17M9 7.500 3.500 17H9zM15 7.500 20.500 17H15z"/>',
    "out": '<circle cx="12" cy="12" r="8.500"/><path d="m6 6 12 12"/>',
    "in": '<circle cx="12" cy="12" r="8.500"/><path d="m8 12.300 3 3 5-6"/>',
}
SAYS = {"left": (N_("Turn left"), N_("Shift R")), "right": (N_("Turn right"), "R"), "mirror": (N_("Mirror"), "M"), "out": (N_("Leave out"), "X"), "in": (N_("Take back"), "X")}
# (quarter turns, mirrored) -> how a picture is shown
TOLD = {
    (0, True): N_("Mirrored; its file stays as it is"),
    (1, False): N_("Turned right; its file stays as it is"),
    (1, True): N_("Turned right and mirrored; its file stays as it is"),
    (2, False): N_("Turned upside down; its file stays as it is"),
    (2, True): N_("Turned upside down and mirrored; its file stays as it is"),
    (3, False): N_("Turned left; its file stays as it is"),
    (3, True): N_("Turned left and mirrored; its file stays as it is"),
}


def _button(key: str) -> str:
    says, keys = (escape(tr(text)) for text in SAYS[key])
    svg = f'<svg class="ez-icon" viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{SIGNS[key]}</svg>'
    return f'<button type="button" class="ez-btn ez-treat" data-act="treat" data-key="{key}" data-keys="{keys}" aria-label="{says}" title="{says}">{svg}<span>{says}</span></button>'


def buttons() -> str:
    """What can be done to the pictures that are selected."""
    return "".join(map(_button, SIGNS))


def attributes(picture: Picture) -> str:
    """What the large view needs to show a picture as it is learnt: its view, width over height and width in px, all of the treated one."""
    view = picture.treatment.view
    return f' data-turned="{view}" data-ratio="{picture.width / picture.height:.5f}" data-wide="{picture.width}"' if view and picture.width else ""


def chip(picture: Picture) -> str:
    """That a picture is turned or mirrored; "" where it is as its file."""
    says = told(picture.treatment)
    return f'<span class="ez-chip ez-idle" title="{escape(says)}">{"↻" if picture.treatment.turns else "⇋"}</span>' if says else ""


def told(treatment: Treatment) -> str:
    """How a picture is shown, in words."""
    return tr(TOLD.get((treatment.turns, treatment.mirror), ""))


def left_out(ds: Dataset) -> int:
    """How many pictures are left out."""
    return ds.counts().out if any(t.out for t in read(ds.meta).values()) else 0  # counting looks at every picture
