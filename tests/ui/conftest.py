"""The page's context, as every tab's handlers are given it, without a page."""

from __future__ import annotations

import gradio as gr
import pytest

from ui import shell


@pytest.fixture(scope="module")
def state():
    with gr.Blocks():
        return gr.State()


@pytest.fixture
def ctx(home, state):
    """What a tab on this computer is given, of a home of its own."""
    return shell.UiContext(home, True, False, "", (), *[state] * 5)
