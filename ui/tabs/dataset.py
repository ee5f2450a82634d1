"""Dataset: pictures in, checked, shown, named."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

TITLE = "Dataset"


@dataclass
class Parts:
    """What the tab is made of."""

    head: gr.HTML


def build(ctx) -> Parts:
    """The layout."""
    from ..shell import heading

    return Parts(gr.HTML(heading("Dataset", "The pictures to learn from.")))


def wire(parts: Parts, ctx) -> None:
    """The connections."""
