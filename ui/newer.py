"""The version at the foot of the side panel, and whether there is a newer one, for who asks."""

from __future__ import annotations

from html import escape

import gradio as gr

from training.hub import newer
from training.version import VERSION

from .language import tr
from .language.heard import heard
from .words import in_words


def build() -> None:
    """The line, the button, and what it answers; asked is only when it is pressed."""
    with gr.Column(elem_classes="ez-newer"):
        answer = gr.HTML(line(f"Easel {VERSION}"), apply_default_css=False)
        gr.Button(tr("Look for a newer version"), size="sm", variant="secondary", elem_id="ez-newer", elem_classes="ez-quiet").click(asked, [], [answer], api_visibility="private")


def asked() -> str:
    """What the package index says, in a sentence; so is what is wrong with the way to it."""
    try:
        return line(heard(newer.told(VERSION)))
    except ValueError as error:
        return line(f"Easel {VERSION}: {in_words(str(error))}")


def line(text: str) -> str:
    """One paragraph, read out when it changes."""
    return f'<p class="ez-muted ez-small" role="status">{escape(text)}</p>'
