"""The machine: what it has, and what runs now."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr


@dataclass
class Parts:
    """What the sidebar is made of."""

    machine: gr.HTML


def build(ctx) -> Parts:
    """The panel on the left."""
    with gr.Sidebar(label="Machine", elem_id="ez-sidebar", width=280):
        machine = gr.HTML("")
    return Parts(machine)


def wire(parts: Parts, ctx) -> None:
    """Refreshes the panel at load and with the tick."""
