"""The script and the style of forms, charts and galleries, and what ties a gr.HTML to them."""

from __future__ import annotations

from ..theme import ASSETS

JS = (ASSETS / "workbench.js").read_text(encoding="utf-8")
CSS = (ASSETS / "workbench.css").read_text(encoding="utf-8")

# js_on_load of a gr.HTML whose markup holds data-act buttons or data-path inputs: they become its events .act and .edit
BIND = "easel.bind(element, trigger, watch); /* 'act' 'edit' */"
