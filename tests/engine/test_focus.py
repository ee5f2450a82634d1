"""What a crop is cut around, in a run: the pixels there are what is learnt, cached as such, and resuming is exact."""

from __future__ import annotations

import shutil

import pytest
import torch
from PIL import Image

from tests import tiny
from training.config import TrainConfig
from training.data import datasets
from training.engine.data import plan
from training.families import sd15
from training.home import Home

from .conftest import state_files


@pytest.fixture
def wide(home, tmp_path):
    """One wide picture: its left half is black, its right half white."""
    folder = tmp_path / "wide"
    folder.mkdir()
    picture = Image.new("RGB", (200, 64), "black")
    picture.paste((255, 255, 255), (100, 0, 200, 64))
    picture.save(folder / "a.png")
    return folder


def items(home: Home, base, folder, **changes):
    config = TrainConfig.model_validate(tiny.train_job(base, folder, data__aspect_buckets=False, data__held_out=0, **changes))
    return plan(config, home, sd15.SPEC, 4, lambda text: None).everything


def test_the_focus_chooses_the_pixels_and_what_is_cached(home, base, wide):
    ds = datasets.resolve(home, str(wide))
    middle = items(home, base, wide)[0]
    ds.set_focus("a.png", 0.0, 0.5)
    left = items(home, base, wide)[0]
    ds.set_focus("a.png", 1.0, 0.5)
    right = items(home, base, wide)[0]
    assert float(left.pixels(False).max()) == -1 and float(right.pixels(False).min()) == 1 and -0.5 < float(middle.pixels(False).mean()) < 0.5
    assert torch.equal(left.pixels(True), left.pixels(False).flip(-1))
    assert len({item.latent_key("vae", flip) for item in (left, middle, right) for flip in (False, True)}) == 6


@pytest.mark.slow
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, dataset, tmp_path):
    folder = tmp_path / "focused"
    shutil.copytree(dataset, folder)
    ds = datasets.resolve(lab.home, str(folder))
    for n, picture in enumerate(ds.pictures()):
        ds.set_focus(picture.id, 0.1 + 0.15 * n, 0.9)
    changes = {"data__datasets": [{"name": str(folder)}], "data__aspect_buckets": False, "steps": 4}
    whole = lab.run(**changes)
    again = lab.go(lab.run(stop_at=2, **changes))
    assert whole.status() == again.status() == "finished"
    assert state_files(again, 4) == state_files(whole, 4) and again.result().read_bytes() == whole.result().read_bytes()
    plain = lab.run(**changes | {"data__datasets": [{"name": str(dataset)}]})
    assert plain.view().losses != whole.view().losses


@pytest.mark.slow
def test_another_focus_is_another_training_and_is_noticed_at_resume(lab, dataset, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(dataset, folder)
    run = lab.run(stop_at=2, data__datasets=[{"name": str(folder)}], steps=4)
    ds = datasets.resolve(lab.home, str(folder))
    ds.set_focus(ds.pictures()[0].id, 0.0, 0.0)
    with pytest.raises(ValueError, match="have changed since this checkpoint was written"):
        lab.go(run)
    ds.undo()
    assert lab.go(run).status() == "finished"
