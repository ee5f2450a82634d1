"""What the page calls things: no setting by its path, no errno, no two labels alike, no class of a style sheet with two meanings."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from training.config import TrainConfig
from training.plan import presets
from training.plan.presets import setting_paths
from training.sentences import sentences
from ui import forms, words
from ui.language import speaking

ASSETS = Path(words.__file__).parent / "assets"
UI = ASSETS.parent
OTHERS = {  # a setting as kohya's scripts, ai-toolkit or OneTrainer call it -> ours
    "network dim": "adapter.rank", "network_dim": "adapter.rank", "network alpha": "adapter.alpha", "unet lr": "optimizer.learning_rate",
    "text encoder lr": "adapter.text_learning_rate", "batch": "data.batch_size", "train_batch_size": "data.batch_size", "resolution": "data.resolutions",
    "repeats": "data.datasets", "caption dropout rate": "data.caption_dropout", "min snr gamma": "loss.min_snr_gamma", "noise offset": "loss.noise_offset",
    "epochs": "steps", "keep_tokens": "data.keep_tags", "shuffle caption": "data.shuffle_tags", "flip_aug": "data.flip", "gradient accumulation": "optimizer.accumulation",
    "lr scheduler": "optimizer.schedule", "max_grad_norm": "optimizer.clip_grad", "blocks_to_swap": "model.offload", "network module": "adapter.type",
    "mixed precision": "model.dtype", "discrete_flow_shift": "loss.timestep_shift", "enable_bucket": "data.aspect_buckets", "save_every_n_steps": "save.every",
}  # fmt: skip


def rules(sheet: str) -> list[tuple[str, str]]:
    """[(class, its declarations)] of the rules outside of @media that are about one class alone."""
    text = re.sub(r"/\*.*?\*/|url\(\"[^\"]*\"\)", "", sheet, flags=re.DOTALL)
    text = re.sub(r"@[^{;]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", text)
    found = []
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", text):
        alone = [s.strip() for s in re.split(r",(?![^(]*\))", selectors)]
        found += [(s[1:], body.strip()) for s in alone if re.fullmatch(r"\.ez-[\w-]+", s)]
    return found


def test_no_class_has_two_meanings():
    made = defaultdict(list)
    for sheet in sorted(ASSETS.glob("*.css")):
        for name, body in rules(sheet.read_text(encoding="utf-8")):
            made[name].append(body)
    shapes = {name: [body for body in bodies if re.search(r"position:|display:|overflow:", body)] for name, bodies in made.items()}
    assert {name: bodies for name, bodies in shapes.items() if len(bodies) > 1} == {}
    assert len(rules(".ez-a { position: absolute } .b, .ez-a { overflow: hidden } @media (x) { .ez-a { top: 0 } }")) == 2


def test_every_class_of_the_pages_is_in_a_style_sheet_or_names_something_for_a_script():
    styled = set(re.findall(r"\.(ez-[\w-]+)", "".join(p.read_text(encoding="utf-8") for p in ASSETS.iterdir() if p.suffix in (".css", ".js"))))
    used = set()
    for path in UI.rglob("*.py"):
        for value in re.findall(r'class="([^"{]*)"', path.read_text(encoding="utf-8")):
            used |= {name for name in value.split() if name.startswith("ez-") and not name.endswith("-")}
    assert used - styled <= {"ez-idle", "ez-heading", "ez-zip", "ez-set-number"}


def test_no_two_settings_have_the_same_label():
    labels = [f.label for f in forms.fields(TrainConfig)]
    assert len(set(labels)) == len(labels)
    assert forms.label_of("model.vae_tiling") == "VAE tiling"


@pytest.mark.parametrize(("said", "path"), OTHERS.items())
def test_the_search_knows_what_other_programs_call_a_setting(said, path):
    field = next(f for f in forms.fields(TrainConfig) if f.path == path)
    find = re.search(r'data-find="([^"]*)"', forms.setting(field, "", "", "", False, "set"))[1]
    assert all(word in find for word in said.lower().split())
    assert set(forms.ALSO) <= set(setting_paths())


def test_a_sentence_names_settings_by_their_labels_and_holds_no_errno():
    assert words.plain("lower data.resolutions or data.batch_size") == "lower ‘Resolution’ or ‘Batch size’"
    assert words.in_words("[Errno -2] Name or service not known") == "Name or service not known."
    assert words.in_words("data.datasets.0.name is missing") == "‘Datasets’ is missing."
    for kept in ("see https://x.org/data.resolutions", "model.safetensors", "the folder data"):
        assert words.plain(kept) == kept


def test_a_sentence_ends_as_its_language_ends_one():
    assert sentences("学習しています。", "good") == "学習しています。 Good." and sentences("学習「速い！」") == "学習「速い！」"
    assert sentences("学習しています", end="。") == "学習しています。"
    with speaking("ja"):
        assert words.in_words("of another program", "so it is") == "Of another program. So it is.", "what is not known stays English"
        assert words.plain("data.resolutionsを下げる") != "data.resolutionsを下げる", "a path is found beside letters without a space"


DOTTED = re.compile(rf"(?<![\w/.])({'|'.join(re.escape(p) for p in setting_paths() if '.' in p)})(?![\w/])")


def test_what_can_be_wrong_with_a_config_is_said_without_paths(home):
    """Everything that validation says of values that do not hold, as the page says it."""
    machine = __import__("training.plan.hardware", fromlist=["machine"]).machine(home.root)
    wrong = {
        "optimizer.warmup_steps": 10**5, "loss.timestep_min": 0.9, "data.resolutions": [5], "optimizer.betas": [2, 1], "adapter.include": ["("],
        "loss.weighting": "debiased", "loss.min_snr_gamma": 5, "adapter.rank": 0, "save.keep": "many", "data.datasets": [], "model.dtype": "fp17",
    }  # fmt: skip
    for path, value in wrong.items():
        overrides = {path: value} | ({"loss.timestep_max": 0.5} if path == "loss.timestep_min" else {}) | ({"loss.min_snr_gamma": 5} if path == "loss.weighting" else {})
        try:
            presets.resolve("builtin-character", presets.Answers(dataset="x", overrides=overrides), machine, 0, home)
        except ValueError as error:
            assert not DOTTED.search(words.in_words(str(error))), path
