"""Colours, and the little CSS there is.  One visual language for every tab; the rules themselves are in assets/easel.css.

Tokens (CSS variables, light and dark):
    --ez-bg  --ez-surface  --ez-sunken      page, card, well (log, empty state)
    --ez-line  --ez-line-strong             hairlines
    --ez-ink  --ez-ink-2  --ez-ink-3        text: main, secondary, hints
    --ez-accent  --ez-accent-ink  --ez-accent-soft     the one accent, text on it, its tint
    --ez-ok  --ez-warn  --ez-bad  (+ -soft) status colours and their tints
    --ez-1 … --ez-7                         spacing: 4 8 12 16 24 32 48 px
    --ez-r  --ez-r-s                        radius of cards (14 px) and of controls (9 px)

Classes for elem_classes of Gradio layouts (gr.Group, gr.Column, gr.Row) and for HTML:
    ez-card         a surface with hairline, radius and inner space;  ez-card-quiet: the same without surface
    ez-row          children in a line, wrapping;  ez-stack: children below each other;  ez-spread: pushed to both ends
    ez-title  ez-subtitle  ez-lead  ez-muted  ez-small  ez-mono  ez-num (tabular figures)
    ez-chip         a small label, with ez-ok | ez-warn | ez-bad | ez-run | ez-idle; a dot in front: <i></i> first
    ez-bar          progress: <div class="ez-bar"><i style="width:40%"></i></div>;  ez-busy: length unknown
    ez-stats        a grid of <div class="ez-stat"><span>label</span><b>value</b></div>
    ez-empty        an empty state: centred; <h2>, <p>, then a button
    ez-note         a sentence in a tinted box, with ez-ok | ez-warn | ez-bad
    ez-missing      the "what is still missing" line of a tab (missing.missing_html makes it)
    ez-link         a text button;  data-tab="captions" on any element makes it select that tab
    ez-grid  ez-tile                        thumbnails (dataset and caption tabs)
    ez-table                                a plain table
Gradio buttons: variant="primary" once a screen, "secondary" elsewhere, elem_classes="ez-quiet" for the third rank,
"ez-danger" for what deletes; size "sm" inside cards.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

from .language import N_, tr

ASSETS = Path(__file__).parent / "assets"

ULTRAMARINE = gr.themes.Color(
    name="ultramarine", c50="#f1f3ff", c100="#e4e8ff", c200="#cbd2fe", c300="#a8b3fb", c400="#8290f5", c500="#5f6eec",
    c600="#4655d8", c700="#3945b4", c800="#313b91", c900="#2c3475", c950="#1c2046",
)  # fmt: skip
PAPER = gr.themes.Color(
    name="paper", c50="#faf9f7", c100="#f4f2ee", c200="#e8e5df", c300="#d5d1c9", c400="#a5a097", c500="#78736b",
    c600="#5b5750", c700="#3a3833", c800="#262522", c900="#1c1b19", c950="#141312",
)  # fmt: skip
# both fonts come with Gradio, so nothing is downloaded
SANS = (LocalFont("IBM Plex Sans", weights=(400, 700)), "Segoe UI", "system-ui", "sans-serif")
MONO = (LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "Consolas", "monospace")


def make_theme() -> gr.themes.Base:
    """The Gradio theme: fonts that come with it, warm paper, ultramarine."""
    theme = gr.themes.Base(
        primary_hue=ULTRAMARINE, secondary_hue=ULTRAMARINE, neutral_hue=PAPER, font=SANS, font_mono=MONO,
        text_size="md", spacing_size="md", radius_size="md",
    )  # fmt: skip
    return theme.set(
        body_background_fill="var(--ez-bg)", body_background_fill_dark="var(--ez-bg)",
        body_text_color="var(--ez-ink)", body_text_color_dark="var(--ez-ink)",
        body_text_color_subdued="var(--ez-ink-2)", body_text_color_subdued_dark="var(--ez-ink-2)",
        background_fill_primary="var(--ez-surface)", background_fill_primary_dark="var(--ez-surface)",
        background_fill_secondary="var(--ez-bg)", background_fill_secondary_dark="var(--ez-bg)",
        border_color_primary="var(--ez-line)", border_color_primary_dark="var(--ez-line)",
        border_color_accent="var(--ez-accent)", border_color_accent_dark="var(--ez-accent)",
        color_accent="var(--ez-accent)", color_accent_soft="var(--ez-accent-soft)", color_accent_soft_dark="var(--ez-accent-soft)",
        link_text_color="var(--ez-accent)", link_text_color_dark="var(--ez-accent)",
        block_background_fill="transparent", block_background_fill_dark="transparent",
        block_border_width="0px", block_border_width_dark="0px", block_shadow="none", block_shadow_dark="none",
        block_padding="0px", block_radius="0px",
        block_label_background_fill="transparent", block_label_background_fill_dark="transparent",
        block_label_border_width="0px", block_label_border_width_dark="0px",
        block_label_text_color="var(--ez-ink)", block_label_text_color_dark="var(--ez-ink)",
        block_label_text_weight="600", block_label_text_size="13px",
        block_title_text_color="var(--ez-ink)", block_title_text_color_dark="var(--ez-ink)",
        block_title_text_weight="600", block_title_text_size="13px", block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent", block_title_padding="0px", block_title_border_width="0px",
        block_info_text_color="var(--ez-ink-2)", block_info_text_color_dark="var(--ez-ink-2)", block_info_text_size="12.5px",
        panel_background_fill="transparent", panel_background_fill_dark="transparent", panel_border_width="0px", panel_border_width_dark="0px",
        input_background_fill="var(--ez-field)", input_background_fill_dark="var(--ez-field)",
        input_background_fill_focus="var(--ez-field)", input_background_fill_focus_dark="var(--ez-field)",
        input_border_color="var(--ez-line-strong)", input_border_color_dark="var(--ez-line-strong)",
        input_border_color_focus="var(--ez-accent)", input_border_color_focus_dark="var(--ez-accent)",
        input_border_width="1px", input_radius="var(--ez-r-s)", input_shadow="none", input_shadow_dark="none",
        input_shadow_focus="0 0 0 3px var(--ez-accent-soft)", input_shadow_focus_dark="0 0 0 3px var(--ez-accent-soft)",
        input_placeholder_color="var(--ez-ink-3)", input_placeholder_color_dark="var(--ez-ink-3)",
        input_padding="10px 12px", input_text_size="14px",
        checkbox_background_color="var(--ez-field)", checkbox_background_color_dark="var(--ez-field)",
        checkbox_background_color_selected="var(--ez-accent-fill)", checkbox_background_color_selected_dark="var(--ez-accent-fill)",
        checkbox_border_color="var(--ez-line-strong)", checkbox_border_color_dark="var(--ez-line-strong)",
        checkbox_border_color_selected="var(--ez-accent-fill)", checkbox_border_color_selected_dark="var(--ez-accent-fill)",
        checkbox_label_background_fill="var(--ez-field)", checkbox_label_background_fill_dark="var(--ez-field)",
        checkbox_label_background_fill_hover="var(--ez-sunken)", checkbox_label_background_fill_hover_dark="var(--ez-sunken)",
        checkbox_label_background_fill_selected="var(--ez-accent-soft)", checkbox_label_background_fill_selected_dark="var(--ez-accent-soft)",
        checkbox_label_text_color_selected="var(--ez-ink)", checkbox_label_text_color_selected_dark="var(--ez-ink)",
        checkbox_label_border_color="var(--ez-line)", checkbox_label_border_color_dark="var(--ez-line)",
        checkbox_label_border_color_selected="var(--ez-accent)", checkbox_label_border_color_selected_dark="var(--ez-accent)",
        checkbox_label_border_width="1px", checkbox_label_border_width_dark="1px", checkbox_label_shadow="none",
        button_border_width="1px", button_border_width_dark="1px", button_large_radius="var(--ez-r-s)",
        button_medium_radius="var(--ez-r-s)", button_small_radius="var(--ez-r-s)", button_large_text_weight="600",
        button_medium_text_weight="600", button_small_text_weight="550", button_large_text_size="15px", button_medium_text_size="14px",
        button_small_text_size="13px", button_large_padding="11px 20px", button_medium_padding="9px 16px", button_small_padding="6px 12px",
        button_transform_hover="none", button_transform_active="none",
        button_primary_background_fill="var(--ez-accent-fill)", button_primary_background_fill_dark="var(--ez-accent-fill)",
        button_primary_background_fill_hover="var(--ez-accent-fill-2)", button_primary_background_fill_hover_dark="var(--ez-accent-fill-2)",
        button_primary_border_color="transparent", button_primary_border_color_dark="transparent",
        button_primary_text_color="#ffffff", button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="var(--ez-surface)", button_secondary_background_fill_dark="var(--ez-field)",
        button_secondary_background_fill_hover="var(--ez-sunken)", button_secondary_background_fill_hover_dark="var(--ez-sunken)",
        button_secondary_border_color="var(--ez-line-strong)", button_secondary_border_color_dark="var(--ez-line-strong)",
        button_secondary_text_color="var(--ez-ink)", button_secondary_text_color_dark="var(--ez-ink)",
        button_cancel_background_fill="var(--ez-surface)", button_cancel_background_fill_dark="var(--ez-field)",
        button_cancel_background_fill_hover="var(--ez-bad-soft)", button_cancel_background_fill_hover_dark="var(--ez-bad-soft)",
        button_cancel_border_color="var(--ez-line-strong)", button_cancel_border_color_dark="var(--ez-line-strong)",
        button_cancel_text_color="var(--ez-bad)", button_cancel_text_color_dark="var(--ez-bad)",
        slider_color="var(--ez-accent)", slider_color_dark="var(--ez-accent)", loader_color="var(--ez-accent)", loader_color_dark="var(--ez-accent)",
        shadow_drop="none", shadow_drop_lg="0 12px 40px rgb(0 0 0 / .18)",
        error_background_fill="var(--ez-bad-soft)", error_background_fill_dark="var(--ez-bad-soft)",
        error_border_color="var(--ez-bad)", error_border_color_dark="var(--ez-bad)",
        error_text_color="var(--ez-bad)", error_text_color_dark="var(--ez-bad)",
        table_odd_background_fill="transparent", table_odd_background_fill_dark="transparent",
        table_even_background_fill="transparent", table_even_background_fill_dark="transparent",
        table_border_color="var(--ez-line)", table_border_color_dark="var(--ez-line)",
    )  # fmt: skip


# what the style sheets write themselves, each in --ez-say-NAME, where Gradio leaves no other place
WRITTEN = {
    "drop": N_("Drop pictures or clips here, or click to choose"),
    "drop-weights": N_("Drop a .safetensors file here"),
    "drop-settings": N_("Drop a job file here, or click to choose"),
    "drop-more": N_("JPG, PNG, WebP, HEIC, MP4 and more, with .txt captions, or a ZIP of them"),
    "drop-weights-more": N_("to look into it, and to use it below"),
    "drop-before": N_("Drop the picture before here, or click to choose"),
    "drop-run": N_("Drop the ZIP of a run here, or click to choose"),
    "drop-run-more": N_("What Export made, up to 2 GB"),
    "drop-shown": N_("Drop a picture here"),
    "drop-shown-more": N_("or click to choose one: PNG, JPG or WebP"),
}


def written() -> str:
    """The style that has the style sheets write it in the language that is spoken; English stands in them."""
    return "<style>:root {" + "".join(f"--ez-say-{name}:{json.dumps(tr(text), ensure_ascii=False)};" for name, text in WRITTEN.items()).replace("<", "\\3c ") + "}</style>"


def css() -> str:
    """The style sheet of the app."""
    return (ASSETS / "easel.css").read_text(encoding="utf-8")


def script() -> str:
    """The script of the app, for <head>: theme, links between tabs, titles of tab buttons."""
    return (ASSETS / "easel.js").read_text(encoding="utf-8")
