"""The Train page asks what should be learnt: words where words say what changes, pairs where pictures do; and the gallery says a slider's strengths."""

from __future__ import annotations

import re

import pytest

from tests.ui import story
from training.runs.events import RunView, fold
from training.runs.run import create
from ui.tabs.results import gallery
from ui.tabs.train import draft
from ui.tabs.train import tab as train
from ui.tabs.train.draft import Draft

from .test_pages import LAPTOP, Tags


@pytest.fixture(autouse=True)
def laptop(monkeypatch):
    monkeypatch.setattr(train, "machine", lambda folder: LAPTOP)


def painted(ctx, form: Draft, dataset: str = "") -> dict[str, str]:
    return dict(zip(train.PIECES, train.paint(ctx, dataset, form, {})[1:], strict=True))


def asked(text: str) -> set[str]:
    return {a["data-path"] for _, a in Tags(text).tags if "data-path" in a}


@pytest.mark.parametrize("base", ["builtin", "sd15", "sdxl", "flux1", "z_image", "wan21"])
def test_every_base_model_offers_the_five_things_to_learn(ctx, base):
    cards = painted(ctx, Draft(preset=f"{base}-character"))["presets"]
    offered = {a["data-id"] for _, a in Tags(cards).tags if a.get("data-act") == "preset"}
    assert {f"{base}-character", *(f"{base}-{goal}" for goal in ("slider", "picture_slider", "erase", "replace"))} <= offered
    for title in ("A slider from words", "A slider from pictures", "Forget something", "Replace something"):
        assert title in cards or base == "builtin"  # whose presets have names of their own


@pytest.mark.parametrize(("goal", "columns"), [("slider", ["Target", "Positive", "Negative", "Strength"]), ("erase", ["Target", "Positive", "Strength"]), ("replace", ["Target", "Positive"])])
def test_the_table_has_the_columns_that_the_goal_acts_on(ctx, goal, columns):
    essentials = painted(ctx, Draft(preset=f"sd15-{goal}"))["essentials"]
    assert re.findall(r'<th scope="col">([^<]+)</th>', essentials) == columns
    typed = Draft(preset=f"sd15-{goal}").edited("concept.targets", "cat | dog | cow | 2 | 3")
    assert len(re.findall(r'<th scope="col">', painted(ctx, typed)["essentials"])) == 5, "what stands in a column is seen"


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["slider", "erase", "replace"])
def test_where_words_say_what_changes_no_pictures_are_asked_for(ctx, goal):
    name = story.pictures(ctx.home)
    page = painted(ctx, Draft(preset=f"builtin-{goal}"), name)
    assert asked(page["essentials"]) == {"concept.targets", "name", "keep.on"}
    assert "concept.targets" not in asked(page["settings"]) and "concept.contexts" in asked(page["settings"]) and "concept.low" not in asked(page["settings"])
    assert "No pictures are needed" in page["plan"] and "passes of the base model" in page["plan"]
    made = draft.plan(ctx.home, Draft(preset=f"builtin-{goal}"), name, LAPTOP)
    assert made.wrong == {} and made.config.data.datasets == (), "the dataset that happens to be chosen is none of its pictures"


def test_what_is_typed_into_the_table_reaches_the_job_and_comes_back_by_duplicate(ctx):
    name = story.pictures(ctx.home)
    form = Draft(preset="builtin-slider", name="size").edited("concept.targets", "star | large star | small star | 3\nring | large ring | small ring")
    made = draft.plan(ctx.home, form, name, LAPTOP)
    assert [(t.target, t.positive, t.negative, t.strength) for t in made.config.concept.targets] == [("star", "large star", "small star", 3.0), ("ring", "large ring", "small ring", 2.0)]
    again, of = draft.of_run(ctx.home, create(ctx.home.outputs, made.config), LAPTOP)
    assert of == "" and draft.plan(ctx.home, again, of, LAPTOP).config == made.config


def test_what_is_missing_in_the_table_is_said_beside_it(ctx):
    form = Draft(preset="builtin-slider").edited("concept.targets", "star | large star")
    page = painted(ctx, form)
    assert "train-concept-targets-fault" in page["essentials"] and "without ‘negative’" in page["essentials"] or "without &#x27;negative&#x27;" in page["essentials"]
    assert draft.plan(ctx.home, form, "", LAPTOP).config is None
    assert "is empty" in draft.plan(ctx.home, Draft(preset="builtin-erase").edited("concept.targets", ""), "", LAPTOP).wrong["concept.targets"]


def test_a_slider_from_pictures_asks_for_its_low_ends(ctx):
    name = story.pictures(ctx.home)
    page = painted(ctx, Draft(preset="builtin-picture_slider"), name)
    assert {"dataset", "concept.low", "trigger"} <= asked(page["essentials"]) and "prior" not in asked(page["essentials"])
    assert "Choose the pictures" in draft.plan(ctx.home, Draft(preset="builtin-picture_slider"), "", LAPTOP).wrong["dataset"]


def test_pictures_are_asked_for_as_before(ctx):
    essentials = painted(ctx, Draft(preset="builtin-character"), story.pictures(ctx.home))["essentials"]
    assert asked(essentials) >= {"dataset", "name", "trigger", "keep.on", "prior"} and "concept" not in essentials


def test_the_gallery_has_a_row_for_each_strength_of_a_slider():
    events = [
        {"kind": "sample", "t": 1.0, "step": step, "index": n, "prompt": "a cat", "path": f"samples/{step:06d}_{n}.webp", "seed": 42, "strength": s}
        for step in (0, 50)
        for n, s in enumerate((-2.0, -1.0, 0.0, 1.0, 2.0))
    ]
    view = fold(RunView(), events)
    assert view.bad_lines == 0 and fold(fold(RunView(), events[:3]), events[3:]) == view
    assert [row.said for row in gallery.rows(view)] == ["a cat, strength −2", "a cat, strength −1", "a cat, strength 0", "a cat, strength +1", "a cat, strength +2"]
    assert all([shot.step for shot in row.shots] == [0, 50] for row in gallery.rows(view))
    text = gallery.grid(view, lambda path: path)
    assert "a cat, strength −2" in text and text.count('class="ez-shot"') == 10
    plain = fold(RunView(), [{k: v for k, v in e.items() if k != "strength"} for e in events[:1]])
    assert gallery.rows(plain)[0].said == "a cat"
    assert fold(RunView(), [events[0] | {"strength": "much"}]).bad_lines == 1
