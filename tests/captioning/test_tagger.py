"""The WD tagger: what it looks at, what it writes, and what it says where it cannot."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from captioning import tagger
from tests.captioning import tiny_tagger
from training.data import tags
from training.jobs import caption

RED, BLUE = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (30, 40), "blue")
KNOWN = tuple(tagger.Tag(name, category) for name, category, _, _ in tiny_tagger.TAGS)
SURE = (0.7, 0.3, 0.4, 0.6, 0.9, 0.5, 0.95)  # of the ratings, blue_sky, green_grass, red_hair, ^_^ and red_(game)


def write(**options):
    return tagger.written(SURE, KNOWN, tagger.Options(**options))


def test_a_picture_is_laid_on_white_in_the_middle_of_a_square_blue_first():
    clear = Image.new("RGBA", (20, 10), (255, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 10, 10))
    made = tagger.prepared(clear, 20)
    assert made.dtype == np.float32 and made.shape == (20, 20, 3)
    assert made[0, 0].tolist() == made[19, 19].tolist() == made[10, 15].tolist() == [255, 255, 255]  # around it, and where it is clear
    assert made[10, 5].tolist() == [0, 0, 255]
    assert np.array_equal(tagger.prepared(RED, 16), tagger.prepared(RED.convert("RGBA"), 16))


def test_the_caption_is_made_as_the_options_say():
    assert write() == "red (game), red hair, green grass, ^_^, blue sky"
    assert write(general_threshold=0.55, character_threshold=1) == "red hair, green grass"
    assert write(spaces=False, general_threshold=0.55) == "red_(game), red_hair, green_grass"
    assert write(order="name") == "^_^, blue sky, green grass, red (game), red hair"
    assert write(general_threshold=0.91) == "red (game)" and write(general_threshold=1, character_threshold=1) == ""
    assert write(blacklist="Blue Sky, red_hair,,") == "red (game), green grass, ^_^"
    assert write(ratings=True, general_threshold=0.8) == "red (game), red hair, general"
    low = (0.7, 0.3, 0.99, 0, 0, 0, 0.9)
    assert tagger.written(low, KNOWN, tagger.Options()) == "blue sky, red (game)"
    assert tagger.written(low, KNOWN, tagger.Options(order="characters first")) == "red (game), blue sky"


def test_faces_are_those_that_are_faces_everywhere_here():
    assert all(tags.spaced(face) == face for face in tagger.FACES)


def test_a_package_that_is_not_installed_is_told_with_the_command(monkeypatch):
    monkeypatch.setattr(tagger, "NEEDS", {"no_such_module_here": "no-such-package"})
    assert caption.lacks(tagger) == f'WD tagger needs the Python package no-such-package, which is not installed; install it with "{sys.executable}" -m pip install no-such-package, then start again'
    monkeypatch.setattr(tagger, "NEEDS", {"json": "json"})
    assert caption.lacks(tagger) == ""


def test_what_a_folder_lacks_is_told(nasty):
    with pytest.raises(ValueError, match="has no model.onnx and no selected_tags.csv"):
        tagger.load(tagger.Options(folder=str(nasty)), "cpu")
    assert "HF_HUB_OFFLINE" in tagger.needs(tagger.Options())
    with pytest.raises(ValueError, match="SmilingWolf/wd-vit-tagger-v3 .*cannot be downloaded now.*No caption was changed"):
        tagger.fetch(tagger.Options(), lambda done, of: None, lambda: False)
    (nasty / "selected_tags.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is not a tagger's list of tags"):
        tagger.read_tags(nasty / "selected_tags.csv")


# -- with the runtime itself, which is optional


@pytest.fixture(scope="module")
def runtime():
    return pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime==1.32.0")


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_real_model_tags_what_it_sees(runtime, nasty, batch):
    options = tagger.Options(folder=str(tiny_tagger.build(nasty / "tiny", batch=batch)), character_threshold=0.5)
    assert tagger.needs(options) == ""
    state = tagger.load(options, "cpu")
    assert (state.side, state.at_once) == (tiny_tagger.SIDE, batch)
    said = tagger.caption(state, [RED, BLUE, RED], ["a", "b", "c"])
    assert said == ["red hair, red (game), ^_^", "blue sky, ^_^", "red hair, red (game), ^_^"]


def test_files_that_are_no_tagger_or_do_not_go_together_are_told(runtime, nasty):
    opened = lambda name, **how: tagger.load(tagger.Options(folder=str(tiny_tagger.build(nasty / name, **how))), "cpu")
    with pytest.raises(ValueError, match=r"not \[pictures, side, side, 3\]"):
        opened("planes", layout="BCHW")
    with pytest.raises(ValueError, match="are no probabilities"):
        tagger.caption(opened("logits", sigmoid=False), [BLUE], ["a"])
    other = tiny_tagger.build(nasty / "other")
    (other / "selected_tags.csv").write_text("tag_id,name,category,count\n1,one,0,1\n")
    with pytest.raises(ValueError, match="knows 7 tags, but selected_tags.csv beside it names 1"):
        tagger.load(tagger.Options(folder=str(other)), "cpu")
    (other / "model.onnx").write_bytes(b"\x08\x08 torn")
    with pytest.raises(ValueError, match="does not load"):
        tagger.load(tagger.Options(folder=str(other)), "cpu")
