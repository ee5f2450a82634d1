"""A job file of another trainer, dropped on the Train page: its settings in the form, the note, the folders, and the way back."""

from __future__ import annotations

import json

import pytest

from tests import tiny
from training.config import TrainConfig
from ui import drafts, forms
from ui.tabs.train import brought, draft, tab
from ui.tabs.train.draft import Draft

TOKEN = "hf_" + "a1B2" * 8
JOB = {
    "LoRA_type": "Standard", "network_dim": 24, "network_alpha": 12, "pretrained_model_name_or_path": "stabilityai/stable-diffusion-xl-base-1.0", "sdxl": True, "v2": False,
    "max_resolution": "768,768", "lr_scheduler": "constant", "learning_rate": 1e-4, "optimizer": "Prodigy", "optimizer_args": "betas=0.9,0.99 d_coef=0.5", "max_train_epochs": 4, "train_batch_size": 2,
    "sample_prompts": "a dog --w 512\na cat", "huggingface_token": TOKEN, "mystery<b>": "<img src=x>", "scale_weight_norms": 1, "output_name": "my dog",
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    tiny.pictures(tmp_path / "pics" / "3_dog", 4)
    path = tmp_path / "kohya.json"
    path.write_text(json.dumps(JOB | {"train_data_dir": str(tmp_path / "pics")}), encoding="utf-8")
    return path


def bring(ctx, file):
    drafts.change(ctx.home, draft.FORM, Draft, lambda _: Draft(trigger="zibbo", edits={"adapter.rank": "4"}))
    _, *values = tab.brought_file(ctx, str(file), "", {})
    return tab.form_of(ctx), dict(zip(tab.PIECES, values, strict=True))


def test_its_settings_are_in_the_form_and_the_note_tells_the_rest(ctx, file):
    form, pieces = bring(ctx, file)
    assert form.preset == "sdxl-character" and (form.name, form.trigger, form.epochs) == ("my dog", "zibbo", "4")
    values, wrong = forms.parsed(TrainConfig, form.edits)
    assert wrong == {} and (values["adapter.rank"], values["adapter.alpha"], values["data.resolutions"]) == (24, 12.0, [768])
    assert values["optimizer.options"] == {"d_coef": 0.5} and values["sample.prompts"] == ["a dog --w 512", "a cat"]
    note = pieces["brought"]
    assert "a job of kohya" in note and "Stable Diffusion XL" in note and "network_dim = 24" in note and "Rank: 24" in note
    assert "scale_weight_norms" in note and "are neither taken over nor shown: huggingface_token" in note
    assert TOKEN not in note and "<img" not in note and "mystery&lt;b&gt;" in note
    assert not any(f" {path}:" in note or f">{path}<" in note for path in draft.TrainConfig.model_fields["adapter"].annotation.model_fields if "_" in path)
    assert 'value="24"' in pieces["settings"]


def test_train_on_these_folders_takes_them_with_their_repeats_and_undo_brings_the_form_back(ctx, file):
    bring(ctx, file)
    tab.answer(ctx, "", {}, {"act": "brought-folders"})
    form = tab.form_of(ctx)
    assert form.edits["data.datasets"] == f"{file.parent / 'pics' / '3_dog'} | 3"
    made = draft.plan(ctx.home, form, "", tab.machine(ctx.home.root))
    assert made.wrong == {} and made.config.data.datasets[0].repeats == 3 and made.config.steps == 4 * 4 * 3 // 2
    tab.answer(ctx, "", {}, {"act": "brought-undo"})
    assert tab.form_of(ctx) == Draft(trigger="zibbo", edits={"adapter.rank": "4"})
    assert drafts.load(ctx.home, brought.NOTE, brought.Brought) == brought.Brought()


def test_close_keeps_the_settings_and_a_file_of_nobody_changes_nothing(ctx, file, tmp_path):
    form, _ = bring(ctx, file)
    tab.answer(ctx, "", {}, {"act": "brought-close"})
    assert tab.form_of(ctx) == form and drafts.load(ctx.home, brought.NOTE, brought.Brought).file == ""
    odd = tmp_path / "odd.toml"
    odd.write_text("a = 1", encoding="utf-8")
    made, note = brought.take(odd, form, ctx.home, True)
    assert made == form and "is no job file that is known" in note.fault and 'role="alert"' in brought.html(note)


def test_elsewhere_than_at_this_computer_no_folder_is_looked_at(ctx, file):
    _, note = brought.take(file, Draft(), ctx.home, False)
    assert note.rows == "" and note.folders == [str(file.parent / "pics")]
    assert "Choose or add these pictures" in brought.html(note)
