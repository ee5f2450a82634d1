"""The checker reads what was drawn, and says so when it was not."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from presets.builtin.make import draw as drawing
from tests.builtin.checker import Reading, has_mascot, read
from tests.builtin.concepts import CONCEPTS
from tests.builtin.concepts import PICTURES as COUNTS
from tests.builtin.figures import base_asks, mascot_prompts

EXAMPLE = Path(__file__).parents[2] / "presets" / "builtin" / "example"
RNG = Random(77)
SCENES = [drawing.random_scene(RNG, *RNG.choice(drawing.ASPECTS)) for _ in range(150)]
PICTURES = [drawing.draw(scene) for scene in SCENES]


@pytest.mark.slow
def test_reads_what_was_drawn():
    wanted = [Reading(s.colour, s.background, s.shape) for s in SCENES]
    right = sum(read(p) == w for p, w in zip(PICTURES, wanted, strict=True))
    assert right >= 0.98 * len(SCENES)


@pytest.mark.slow
def test_a_picture_of_something_else_is_wrong():
    others = SCENES[1:] + SCENES[:1]
    read_as_other = [read(p) == Reading(o.colour, o.background, o.shape) for p, o in zip(PICTURES, others, strict=True)]
    assert sum(read_as_other) <= 0.02 * len(SCENES)


def test_noise_and_an_empty_picture_show_no_shape():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert read(Image.fromarray(noise)).shape is None
    assert read(Image.new("RGB", (64, 64), "white")) == Reading(None, "white", None)


def test_the_example_shows_the_mascot_and_the_drawn_pictures_do_not():
    pictures = [Image.open(f) for f in sorted(EXAMPLE.glob("*.png"))]
    assert 12 <= len(pictures) <= 16
    assert all(has_mascot(p) and has_mascot(p.resize((p.width // 2, p.height // 2))) for p in pictures)
    assert not any(map(has_mascot, PICTURES))


def test_two_eyes_are_another_creature():
    creatures = [drawing.draw(drawing.random_creature(RNG)) for _ in range(100)]
    assert not any(map(has_mascot, creatures))


def test_a_body_without_eye_or_feeler_is_no_mascot():
    picture = Image.open(sorted(EXAMPLE.glob("*.png"))[1]).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    teal = np.array((20, 150, 150))
    for part in ((255, 255, 255), (250, 130, 20)):
        painted_over = np.where((abs(pixels - part).sum(-1) < 150)[..., None], teal, pixels)
        assert not has_mascot(Image.fromarray(painted_over.astype(np.uint8)))


@pytest.mark.parametrize("trigger", CONCEPTS)
def test_a_concept_is_seen_where_it_was_drawn_and_nowhere_else(trigger, tmp_path):
    concept = CONCEPTS[trigger]
    rng = Random(5)
    drawn = [concept.scene(rng)[1] for _ in range(40)]
    assert sum(map(concept.shows, drawn)) >= 37
    assert sum(map(concept.shows, PICTURES)) <= 3, "what the base draws is none"
    for other in CONCEPTS.values():
        if other.kind == concept.kind and other != concept:
            assert sum(concept.shows(other.scene(rng)[1]) for _ in range(20)) <= 2
    folder = concept.write(tmp_path / "set")
    captions = {f.read_text(encoding="utf-8").strip() for f in folder.glob("*.txt")}
    assert len(captions) > 8 and len(list(folder.glob("*.png"))) == COUNTS[concept.kind] and all(trigger in caption for caption in captions)
    assert len(set(concept.prompts())) >= 35 and not captions & set(concept.prompts())


def test_the_sentences_that_hold_the_base_are_none_of_the_prompts_that_judge_it():
    from training.data import words

    assert not set(words.read(words.FOLDER / "shapes.txt")) & {ask.prompt for ask in base_asks()}


def test_the_held_out_prompts_are_held_out():
    trigger = json.loads((EXAMPLE / "example.json").read_text(encoding="utf-8"))["trigger"]
    captions = {f.read_text(encoding="utf-8").strip() for f in EXAMPLE.glob("*.txt")}
    prompts = mascot_prompts(trigger)
    assert len(set(prompts)) == 40 and not captions & set(prompts)
    assert not captions & {ask.prompt for ask in base_asks()}
