"""Masked loss in a run: the mask lies where the picture's pixels lie, and what it hides is not learnt."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tests import tiny
from training.config import TrainConfig
from training.data import datasets
from training.engine.data import plan
from training.families import sd15

from .conftest import state_files


@pytest.fixture
def masked(tmp_path):
    """Pictures, each as bright as its mask, so that the one shows where the other must lie."""
    folder = tiny.pictures(tmp_path / "masked", 3, sizes=((96, 64), (64, 100), (80, 80)))
    for number, path in enumerate(sorted(folder.glob("*.png"))):
        with Image.open(path) as picture:
            size = picture.size
        image = Image.new("L", size, 0)
        image.paste(255, (0, 0, size[0] // 2 - 5, size[1] // 3 + 2 * number))
        image.paste(128, (size[0] - 20, size[1] - 20, size[0], size[1]))
        image.save(folder / f"{path.stem}.mask.png")
        image.convert("RGB").save(path)
    return folder


def config(base, folder, **changes) -> TrainConfig:
    return TrainConfig.model_validate(tiny.train_job(base, folder, loss__masked=True, **changes))


@pytest.mark.parametrize("buckets", [True, False])
def test_a_mask_is_scaled_cropped_and_mirrored_as_its_picture(home, base, masked, buckets):
    work = plan(config(base, masked, data__flip=True, data__aspect_buckets=buckets), home, sd15.SPEC, 4, pytest.fail)
    assert len(work.items) == 3 and any(item.crop.left or item.crop.top for item in work.items)
    for item in work.items:
        for flip in (False, True):
            pixels = (item.pixels(flip)[:1] + 1) / 2
            cells = item.mask_cells(2, flip)
            assert cells.shape == (1, item.crop.height // 2, item.crop.width // 2)
            # the picture is resized by another filter, so edges differ a little
            assert float((cells - torch.nn.functional.avg_pool2d(pixels, 2)).abs().mean()) < 0.02
            assert 0 <= float(cells.min()) and float(cells.max()) <= 1
        assert not torch.allclose(item.mask_cells(2, False), item.mask_cells(2, True), atol=0.1)
        assert len({item.mask_key(2, False), item.mask_key(2, True), item.mask_key(4, False)}) == 3


def test_a_run_feeds_each_pictures_mask_beside_its_latents(lab, base, masked):
    from training.engine.prepare import prepare
    from training.runs.context import Context

    run = lab.make(data__datasets=[{"name": str(masked)}], loss__masked=True, data__flip=True, data__held_out=1, data__batch_size=1)
    feed = prepare(run.config(), Context(run, lab.home, 1)).feed
    items = {item.id: item for item in feed.plan.everything}
    seen = set()
    for step in range(12):
        for batch in feed.at(step):
            item = items[batch.ids[0]]
            assert batch.mask.shape == (1, 1, *batch.latents.shape[-2:])
            which = [flip for flip in item.flips if torch.equal(batch.latents[0], feed.cache.get(item.latent_key(feed.latent_print, flip))["latents"])]
            assert len(which) == 1
            torch.testing.assert_close(batch.mask[0], item.mask_cells(2, which[0]))
            seen.add((item.id, which[0]))
    assert len(seen) == 4
    torch.testing.assert_close(feed.validation(1, 1)[0][1].mask[0], feed.plan.held_out[0].mask_cells(2, False))


def test_pictures_without_a_mask_are_learnt_whole_beside_masked_ones(lab, masked):
    next(masked.glob("*.mask.png")).unlink()
    run = lab.run(data__datasets=[{"name": str(masked)}], loss__masked=True, sample__every=0, steps=3)
    assert run.status() == "finished" and not any("mask" in w for w in run.view().warnings)


@pytest.mark.slow
def test_changed_masks_are_said_before_a_resume(lab, masked):
    run = lab.run(stop_at=3, data__datasets=[{"name": str(masked)}], loss__masked=True, sample__every=0)
    Image.new("L", (96, 64), 255).save(masked / "picture 0.mask.png")
    with pytest.raises(ValueError, match="masks have changed"):
        lab.go(run)
    run.accept_changes()
    assert lab.go(run).status() == "finished"


@pytest.mark.slow
def test_masks_change_what_is_learnt_and_resume_exactly(lab, masked):
    settings = dict(data__datasets=[{"name": str(masked)}], sample__every=0, data__flip=True)
    whole, parts = lab.run(loss__masked=True, **settings), lab.run(stop_at=3, loss__masked=True, **settings)
    lab.go(parts)
    assert state_files(parts, 6) == state_files(whole, 6)
    unmasked, faint = lab.run(**settings), lab.run(loss__masked=True, loss__unmasked_weight=0.5, **settings)
    assert len({str(state_files(run, 6)) for run in (whole, unmasked, faint)}) == 3
    assert any("3 of 3 pictures have a mask, but loss.masked is off" in w for w in unmasked.view().warnings)


@pytest.mark.slow
def test_masks_that_do_nothing_or_hide_everything_are_said(lab, masked):
    assert any("loss.masked has no effect: no picture has a mask" in w for w in lab.run(steps=1, loss__masked=True).view().warnings)
    Image.new("L", (96, 64), 0).save(masked / "picture 0.mask.png")
    Image.new("L", (300, 64), 0).save(masked / "picture 1.mask.png")
    run = lab.run(steps=6, data__datasets=[{"name": str(masked)}], loss__masked=True, sample__every=0)
    said = run.view().warnings
    assert any("the masks of 1 pictures hide all that is trained of them: masked/picture 0.png" in w for w in said)
    assert any("1 masks cannot be used" in w and "picture 1.mask.png is 300x64 px" in w for w in said)
    assert run.status() == "finished"


def test_datasets_find_no_masks_in_their_pictures_list(home, masked):
    assert [p.id for p in datasets.resolve(home, str(masked)).pictures()] == ["picture 0.png", "picture 1.png", "picture 2.png"]


def test_pictures_that_must_stay_as_they_are_are_held_whole(home, base, dataset, masked):
    uses = [{"name": str(dataset)}, {"name": str(masked), "prior": True}]
    said = []
    work = plan(config(base, dataset, data__datasets=uses), home, sd15.SPEC, 4, said.append)
    assert [item.mask for item in work.items if item.prior] == [None] * 3
    assert any("loss.masked has no effect" in text for text in said)
