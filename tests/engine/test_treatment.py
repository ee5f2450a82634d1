"""Turned, mirrored and left-out pictures in a run: what is learnt is what a file turned on disk would give, and resuming is exact."""

from __future__ import annotations

import shutil

import pytest
import torch
from PIL import Image

from tests import tiny
from tests.data.make import scene
from training.config import TrainConfig
from training.data import datasets
from training.engine.data import Item, plan
from training.engine.weights import load_vae
from training.families import sd15
from training.home import Home
from training.plan.estimate import buckets_of_epoch

from .conftest import state_files


def planned(home: Home, base, folder, **changes) -> list[Item]:
    config = TrainConfig.model_validate(tiny.train_job(base, folder, data__held_out=0, loss__masked=True, adapter__type="controlnet", **changes))
    return list(plan(config, home, sd15.SPEC, 4, lambda text: None).everything)


@pytest.mark.parametrize("acts", [("right",), ("left", "mirror"), ("right", "right"), ("mirror",)])
def test_a_turned_picture_is_learnt_as_one_that_was_turned_on_disk(home, base, tmp_path, acts):
    for name in ("said", "done"):
        folder = tmp_path / name
        folder.mkdir()
        scene(1, (120, 80)).save(folder / "a.png")
        scene(2, (120, 80), mode="L").save(folder / "a.mask.png")
        scene(3, (180, 120)).save(folder / "a.control.png")
    said, done = (datasets.resolve(home, str(tmp_path / name)) for name in ("said", "done"))
    said.set_focus("a.png", 0.1, 0.9)
    for act in acts:
        said.treat(["a.png"], act)
    how = said.get("a.png").treatment
    for path in (tmp_path / "done").glob("*.png"):
        with Image.open(path) as image:
            turned = how.apply(image)
        turned.save(path)
    done.set_focus("a.png", *how.point((0.1, 0.9)))
    [one], [other] = (planned(home, base, tmp_path / name) for name in ("said", "done"))
    assert (one.crop, one.size, one.bucket) == (other.crop, other.size, other.bucket)
    vae = load_vae(TrainConfig.model_validate(tiny.train_job(base, tmp_path / "said")), sd15, base)
    latents = lambda item, flip: sd15.encode_image(vae, item.pixels(flip)[None], torch.Generator().manual_seed(0))
    for flip in (False, True):
        assert torch.equal(one.pixels(flip), other.pixels(flip)) and torch.equal(latents(one, flip), latents(other, flip))
        assert torch.equal(one.mask_cells(2, flip), other.mask_cells(2, flip)) and torch.equal(one.control_pixels(flip), other.control_pixels(flip))
        assert all(torch.equal(a, b) for a, b in zip(one.geometry(flip).values(), other.geometry(flip).values(), strict=True))


def test_each_view_has_its_own_place_in_the_cache_and_a_plain_one_the_old(home, base, tmp_path):
    (tmp_path / "d").mkdir()
    scene(1, (80, 80)).save(tmp_path / "d" / "a.png")
    scene(2, (80, 80), mode="L").save(tmp_path / "d" / "a.mask.png")
    scene(3, (80, 80)).save(tmp_path / "d" / "a.control.png")
    ds = datasets.resolve(home, str(tmp_path / "d"))
    keys = lambda item: (item.latent_key("vae", False), item.mask_key(2, False), item.control_key("", False))
    seen = [keys(planned(home, base, tmp_path / "d")[0])]
    for act in ("right", "right", "right", "mirror"):
        ds.treat(["a.png"], act)
        seen.append(keys(planned(home, base, tmp_path / "d")[0]))
    assert len(set(sum(seen, ()))) == 15
    ds.treat(["a.png"], "mirror"), ds.treat(["a.png"], "right")
    assert keys(planned(home, base, tmp_path / "d")[0]) == seen[0]


@pytest.mark.slow
def test_a_run_with_treated_pictures_resumes_to_the_bit_and_notices_a_change(lab, dataset, tmp_path):
    folder = tmp_path / "treated"
    shutil.copytree(dataset, folder)
    ds = datasets.resolve(lab.home, str(folder))
    first, second, third, *_ = (p.id for p in ds.pictures())
    ds.treat([first], "right"), ds.treat([second], "mirror"), ds.treat([third], "out")
    changes = {"data__datasets": [{"name": str(folder)}], "steps": 4, "data__held_out": 0}
    whole = lab.run(**changes)
    run = lab.run(stop_at=2, **changes)
    ds.treat([first], "left")
    with pytest.raises(ValueError, match="have changed since this checkpoint was written"):
        lab.go(run)
    ds.undo()
    assert lab.go(run).status() == whole.status() == "finished" and state_files(run, 4) == state_files(whole, 4)
    record = whole.path.joinpath("pictures.json").read_text()
    assert third not in record and '"turned": "1"' in record and '"turned": "m"' in record


def test_the_estimate_counts_what_is_learnt(home, base, tmp_path):
    (tmp_path / "d").mkdir()
    for seed in range(3):
        scene(seed, (160, 80)).save(tmp_path / "d" / f"{seed}.png")
    ds = datasets.resolve(home, str(tmp_path / "d"))
    config = TrainConfig.model_validate(tiny.train_job(base, tmp_path / "d", data__held_out=0))
    ds.check()
    ds.treat(["0.png"], "right"), ds.treat(["1.png"], "out")
    found, _ = buckets_of_epoch(config, sd15.SPEC, 3, 4, home)
    assert sorted(found) == sorted((*item.bucket[:2], 1) for item in plan(config, home, sd15.SPEC, 4, lambda text: None).items) and len(set(found)) == len(found) == 2
