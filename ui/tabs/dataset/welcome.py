"""The first screen: two cards that a person understands without reading."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import gradio as gr

from training.data import datasets, examples
from training.home import Home
from training.plan import hardware, presets
from training.runs import supervisor
from training.runs.run import create

from ...language import tr
from ...server import media
from ...words import in_words

SHOWN = 8


@dataclass
class Parts:
    """What the first screen is made of."""

    column: gr.Column
    start: gr.Button
    fault: gr.HTML
    drop: gr.File


def build(ctx) -> Parts:
    """The layout."""
    with gr.Column(visible=False, elem_id="ez-welcome") as column:
        lead = tr("Easel turns a handful of pictures into a LoRA: a small file that teaches an image model your character, product or style.")
        here = "" if ctx.on_space else f' {escape(tr("Everything happens on this computer."))}'
        gr.HTML(f'<div class="ez-hero"><h1>{escape(tr("Teach a model your pictures"))}</h1><p>{escape(lead)}{here}</p></div>', apply_default_css=False)
        with gr.Row(elem_id="ez-doors"):
            with gr.Column(elem_classes=["ez-card", "ez-door"], min_width=280):
                gr.HTML(_try_html(ctx), apply_default_css=False, elem_classes="ez-grow")
                start = gr.Button(tr("Try it now"), variant="primary", size="lg", elem_id="ez-try")
                fault = gr.HTML(apply_default_css=False)
            with gr.Column(elem_classes=["ez-card", "ez-door"], min_width=280):
                says = tr("Ten to thirty pictures of one thing or in one style. Captions in .txt files of the same name come along.")
                gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("Start with your pictures"))}</h2><p class="ez-muted">{escape(says)}</p>', apply_default_css=False)
                drop = gr.File(label=tr("Your pictures"), show_label=False, file_count="multiple", type="filepath", elem_classes=["ez-drop", "ez-drop-big"], height=244)
    return Parts(column, start, fault, drop)


def start_example(home: Home) -> tuple[str, str]:
    """(dataset, run) of the example.  The run is in the queue, which starts it within a second.  Raises ValueError, OSError."""
    if kept_out := supervisor.no_accelerator():
        raise ValueError(kept_out)
    about = examples.example()
    name = examples.install_example(home)
    ds = datasets.open_dataset(home, name)
    answers = presets.Answers(name=about.trigger, trigger=about.trigger, dataset=ds.name)
    config = presets.resolve(examples.PRESET, answers, hardware.machine(home.root), ds.counts().usable, home)
    return ds.name, create(home.outputs, config).id


def fault_html(text: str) -> str:
    """Why the example could not be started."""
    return f'<p class="ez-note ez-bad" role="alert">{escape(in_words(text))}</p>'


def _try_html(ctx) -> str:
    folder = examples.FOLDER
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in media.PICTURE_TYPES)[:SHOWN] if folder.is_dir() else []
    shown = "".join(f'<img src="{escape(media.example_url(ctx, n))}" alt="" loading="lazy">' for n in names)
    says = tr("One click trains the example below on the small model that comes with Easel, and shows you what it learns. No GPU and no internet needed; it takes a few minutes.")
    return f'<h2 class="ez-subtitle">{escape(tr("Try it now"))}</h2><p class="ez-muted">{escape(says)}</p><div class="ez-examples">{shown}</div>'
