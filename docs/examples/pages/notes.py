"""A page: what you want to remember, kept in the home.  gradio is imported inside: plugins are listed without it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EASEL_API = 1
TITLE = "Notes"
FILE = "notes.txt"
LONGEST = 100_000


@dataclass
class Parts:
    """What wire() needs of what build() made."""

    text: Any
    said: Any


def build(ctx) -> Parts:
    """Lays the page out, inside its tab.  ctx: ui.shell.UiContext."""
    import gradio as gr

    return Parts(gr.Textbox(label="Notes", lines=12, max_length=LONGEST), gr.Markdown(""))


def wire(parts: Parts, ctx) -> None:
    """Connects it; every tab has been built by then."""
    from training.files import write_atomic
    from training.outside import read_text

    file = ctx.home.root / FILE

    def keep(text: str) -> str:
        write_atomic(file, text.encode())
        return "Kept."

    parts.text.blur(keep, [parts.text], [parts.said], show_progress="hidden", api_visibility="private")
    ctx.at_load(lambda: read_text(file, 4 * LONGEST) if file.is_file() else "", [], [parts.text])
