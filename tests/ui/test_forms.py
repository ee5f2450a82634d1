"""A config becomes a form and comes back: nothing is lost, and every fault stands beside its field."""

from html.parser import HTMLParser

import pytest
from pydantic import BaseModel
from pydantic import Field as Setting

from training.config import AdapterPart, DataPart, DatasetUse, ModelPart, TrainConfig
from ui import forms
from ui.language import speaking


def config(**more) -> TrainConfig:
    return TrainConfig(
        name="my-cat", model=ModelPart(family="sd15", source="builtin"), data=DataPart(datasets=(DatasetUse(name="cats"),)), **more
    )


def leaves(model: type[BaseModel], path: str = "") -> list[tuple[str, str]]:
    """[(dotted path, description)] of a model, found without the code under test."""
    found = []
    for name, info in model.model_fields.items():
        inner, dotted = info.annotation, f"{path}.{name}" if path else name
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += leaves(inner, dotted)
        elif name != "kind":
            found.append((dotted, info.description or ""))
    return found


class Page(HTMLParser):
    """Names, ids and labels of a form's controls."""

    def __init__(self, text: str):
        super().__init__()
        self.controls: dict[str, dict] = {}
        self.labels: set[str] = set()
        self.ids: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.scripts += tag == "script" or any(k.startswith("on") for k in attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag in ("input", "select", "textarea") and "data-path" in attrs:
            self.controls[attrs["data-path"]] = attrs
        if tag == "label":
            self.labels.add(attrs["for"])


@pytest.mark.parametrize(("path", "sentence"), leaves(TrainConfig))
def test_every_setting_is_in_the_form_with_its_sentence(path, sentence):
    field = {f.path: f for f in forms.fields(TrainConfig)}[path]
    assert field.help == sentence != ""
    html = forms.render(forms.groups(TrainConfig), config(), {}, {})
    page = Page(html)
    control = page.controls[path]
    assert control["id"] in page.labels, "the control has a label"
    assert control["aria-describedby"] in page.ids
    assert control["data-value"] == forms.typed(field, forms.get(config(), path))


@pytest.mark.parametrize("path", [p for p, _ in leaves(TrainConfig)])
def test_what_is_shown_reads_back_as_the_same_value(path):
    base = config(
        sample={"prompts": ["a [trigger] in the rain", "two, three"], "every": 50},
        optimizer={"eps": 1e-8, "betas": (0.9, 0.95), "options": {"d_coef": 0.5, "on": True, "n": 3}, "rates": [{"pattern": "lora_B", "times": 16}]},
    )
    field = {f.path: f for f in forms.fields(TrainConfig)}[path]
    made, wrong = forms.assemble(base, {path: forms.typed(field, forms.get(base, path))})
    assert wrong == {} and made == base
    assert forms.changed(base, {path: forms.typed(field, forms.get(base, path))}) == {}


def test_edits_become_a_config():
    made, wrong = forms.assemble(
        config(),
        {
            "adapter.rank": "32", "optimizer.learning_rate": "3e-4", "data.flip": "on", "data.resolutions": "512, 768",
            "sample.prompts": "one\n\n  two ", "data.datasets": "cats | 3\ndogs\nanimals | 1 | 0.5 | yes\nbirds | 1 | 1 | no | quux | 512, 768 | small/blue", "optimizer.type": "prodigy", "steps": " 1 500 ",
        },
    )  # fmt: skip
    assert wrong == {}
    assert made.adapter.rank == 32 and made.optimizer.learning_rate == 3e-4 and made.data.flip
    assert made.data.resolutions == (512, 768) and made.sample.prompts == ("one", "two") and made.steps == 1500
    kept = DatasetUse(name="animals", weight=0.5, prior=True)
    assert made.data.datasets == (DatasetUse(name="cats", repeats=3), DatasetUse(name="dogs"), kept, DatasetUse(name="birds", trigger="quux", resolutions=(512, 768), part="small/blue"))
    options, _ = forms.assemble(config(), {"optimizer.options": "d_coef: 0.5\n\nsteps=20\nsafeguard_warmup: on\nmode : a b"})
    assert options.optimizer.options == {"d_coef": 0.5, "steps": 20, "safeguard_warmup": True, "mode": "a b"}
    field = next(f for f in forms.fields(TrainConfig) if f.path == "data.datasets")
    assert forms.typed(field, made.data.datasets) == "cats | 3\ndogs\nanimals | 1 | 0.5 | yes\nbirds | 1 | 1 | no | quux | 512, 768 | small/blue"


@pytest.mark.parametrize(
    ("path", "text", "word"),
    [
        ("adapter.rank", "many", "not a number"),
        ("adapter.rank", "1.5", "whole"),
        ("adapter.rank", "0", "greater than or equal to 1"),
        ("adapter.rank", "", "type a number"),
        ("adapter.alpha", "nan", "finite"),
        ("optimizer.betas", "0.9", "too few"),
        ("optimizer.betas", "0.9, 2", "below 1"),
        ("data.resolutions", "8", "outside"),
        ("data.datasets", "", "at least 1"),
        ("data.datasets", "cats | 0", "greater than or equal to 1"),
        ("data.datasets", "a | 2 | 3 | yes | b | 64 | c | 9 | 8 | d", "10 parts"),
        ("data.datasets", "a\nb | 2 | 1 | perhaps", "neither yes nor no"),
        ("data.datasets", "a | 1 | 1 | yes", "nothing to learn"),
        ("optimizer.schedule", "cosinus", "cosine"),
        ("optimizer.options", "d_coef", "not of the form name: value"),
        ("optimizer.rates", "lora_B | 0", "greater than 0"),
        ("optimizer.warmup_steps", "5000", "only 1000 steps"),
        ("name", "a/b", "'/'"),
        ("trigger", "a, b", "comma"),
        ("nonsense", "1", "not a setting"),
    ],
)
def test_a_fault_stands_beside_its_field(path, text, word):
    made, wrong = forms.assemble(config(), {path: text})
    assert made is None and list(wrong) == [path]
    assert word in wrong[path]
    if path != "nonsense":
        html = forms.render(forms.groups(TrainConfig), config(), {path: text}, wrong)
        control = Page(html).controls[path]
        fault = control["aria-describedby"].split()[1]
        assert control["aria-invalid"] == "true" and fault in Page(html).ids
        assert control["data-value"] == text, "what was typed stays"


def test_changed_settings_are_marked_and_can_be_reset():
    html = forms.render(forms.groups(TrainConfig), config(), {"adapter.rank": "32", "steps": "1000"}, {})
    assert html.count("is-changed") == 1 and 'data-act="reset" data-field="adapter.rank"' in html
    assert "1 changed from the preset" in html


def test_what_people_type_is_never_markup():
    evil = '"><img src=x onerror=alert(1)>'
    page = Page(forms.render(forms.groups(TrainConfig), config(), {"trigger": evil, "sample.prompts": evil}, {"trigger": evil, "": evil}))
    assert page.scripts == 0 and page.controls["trigger"]["data-value"] == evil


def test_choices_may_come_from_outside_and_a_field_may_be_shown_elsewhere():
    found = {f.path: f for f in forms.fields(TrainConfig, {"adapter.type": ("lora", "lokr")}, ("name",))}
    assert found["adapter.type"].kind == "choice" and found["adapter.type"].choices == ("lora", "lokr")
    assert "name" not in found


def test_any_model_makes_a_form():
    class Options(BaseModel):
        """How to caption."""

        detail: int = Setting(2, ge=1, le=3, description="How much is said.")
        adapter: AdapterPart | None = None

    assert [f.path for f in forms.fields(Options)] == ["detail", *(f"adapter.{n}" for n in AdapterPart.model_fields)]
    assert forms.fields(Options)[0].bounds == "1 to 3"


def test_bounds_say_what_is_out_and_write_numbers_as_the_language_does():
    class Options(BaseModel):
        share: float = Setting(0.5, gt=0.25, le=1)
        many: int = Setting(5, ge=1200)

    share, many = forms.fields(Options)
    assert (share.bounds, many.bounds) == ("more than 0.25, at most 1", "at least 1,200")
    with speaking("de"):
        assert "0,25" in share.bounds and "1.200" in many.bounds


def test_labels_read_like_words():
    assert forms.label("batch_size") == "Batch size"
    assert forms.label("ema_decay") == "EMA decay"
    assert all(f.label[0].isupper() and "_" not in f.label for f in forms.fields(TrainConfig))
