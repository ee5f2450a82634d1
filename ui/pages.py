"""Tabs that plugins bring: <home>/plugins/pages/<id>.py, made like a tab of ours.  One that fails is a tab that says so."""

from __future__ import annotations

import sys
import traceback
from html import escape
from types import ModuleType

import gradio as gr

from training import registry
from training.home import Home

from .language import tr


class Page:
    """A plugin's page behind the functions that shell.py asks of a tab."""

    def __init__(self, module: ModuleType):
        self._module = module
        self.TITLE = str(module.TITLE)
        for name in ("CSS", "JS"):
            if hasattr(module, name):
                setattr(self, name, str(getattr(module, name)))

    def build(self, ctx):
        self._note = gr.HTML("", apply_default_css=False)
        try:
            return self._module.build(ctx)
        except Exception as error:  # noqa: BLE001 whatever a plugin's page does wrong is said on it; the other tabs go on
            self._failed(tr("This page comes from a plugin and cannot be shown: {error}", error=_told(error)))
            return None

    def wire(self, parts, ctx) -> None:
        if parts is None:
            return
        try:
            self._module.wire(parts, ctx)
        except Exception as error:  # noqa: BLE001 the same
            self._failed(tr("This page comes from a plugin and does not work: {error}", error=_told(error)))

    def _failed(self, text: str) -> None:
        traceback.print_exc(file=sys.stderr)
        self._note.value = f'<div class="ez-note ez-bad" role="alert">{escape(text)}</div>'


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def found(home: Home) -> dict[str, Page]:
    """{id of the tab: page}; the ids of our own tabs have no "plugin-" in front."""
    return {f"plugin-{id}": Page(plugin.module) for id, plugin in registry.find("pages", home.plugins).items() if plugin.ok}
