"""Train: what to learn, how thoroughly, and Start."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

TITLE = "Train"


@dataclass
class Parts:
    """What the tab is made of.  handed: a draft that another tab wants to see here."""

    handed: gr.State


def build(ctx) -> Parts:
    """The layout."""
    return Parts(gr.State(None))


def wire(parts: Parts, ctx) -> None:
    """The connections."""
