"""Captions: what each picture shows, in words."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

TITLE = "Captions"


@dataclass
class Parts:
    """What the tab is made of."""

    head: gr.HTML


def build(ctx) -> Parts:
    """The layout."""
    from ..shell import heading

    return Parts(gr.HTML(heading("Captions", "What each picture shows, in words.")))


def wire(parts: Parts, ctx) -> None:
    """The connections."""
