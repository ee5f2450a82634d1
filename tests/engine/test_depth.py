"""Depth pictures, by a small model of the real class, made and saved here."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests import tiny
from training import jobfile
from training.data import datasets
from training.jobs import depth
from training.runs.context import Context
from training.runs.run import create


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a Depth Anything of twenty thousand weights and its processor."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessorPil

    folder = tmp_path_factory.mktemp("depth") / "tiny depth"
    torch.manual_seed(1)
    eyes = Dinov2Config(
        image_size=56, patch_size=14, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=1, out_features=["stage1", "stage2"],
        reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(backbone_config=eyes, reassemble_hidden_size=16, patch_size=14, reassemble_factors=[2, 1], neck_hidden_sizes=[8, 16], fusion_hidden_size=8, head_hidden_size=8)
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessorPil(do_resize=True, size={"height": 56, "width": 56}, ensure_multiple_of=14, keep_aspect_ratio=True).save_pretrained(folder)
    return folder


def ran(home, **settings):
    run = create(home.outputs, jobfile.parse(depth.Config, {"kind": "depth", "name": "depth"} | settings))
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    depth.run(run.config(), ctx)
    return run.view()


def test_each_picture_without_a_control_picture_gets_its_depth(home, tmp_path, model):
    folder = tiny.pictures(tmp_path / "in", 3, sizes=((96, 64),))
    names = sorted(p.name for p in folder.glob("*.png"))
    Image.new("RGB", (96, 64), "red").save(folder / names[0].replace(".png", ".control.png"))
    view = ran(home, dataset=str(folder), model=str(model))
    assert "2 depth pictures made; 1 pictures have a control picture already" in view.summary
    found = {p.id: p.control for p in datasets.resolve(home, str(folder)).pictures()}
    assert np.asarray(found[names[0]].load())[0, 0].tolist() == [255, 0, 0]
    for name in names[1:]:
        made = np.asarray(found[name].load())
        assert made.shape == (64, 96, 3)
        assert (made.min(), made.max()) == (0, 255)
    assert ran(home, dataset=str(folder), model=str(model)).summary.startswith("0 depth pictures made")


def test_it_is_what_transformers_own_pipeline_makes(home, tmp_path, model):
    from transformers import pipeline

    folder = tiny.pictures(tmp_path / "in", 1, sizes=((98, 70),))
    (name,) = [p.name for p in folder.glob("*.png")]
    ran(home, dataset=str(folder), model=str(model))
    mine = np.asarray(datasets.resolve(home, str(folder)).get(name).control.load().convert("L")).astype(int)
    theirs = pipeline("depth-estimation", model=str(model), device="cpu")(Image.open(folder / name))["predicted_depth"].numpy()
    theirs = np.asarray(Image.fromarray(theirs).resize((98, 70))) if theirs.shape != (70, 98) else theirs
    scaled = (theirs - theirs.min()) / (theirs.max() - theirs.min()) * 255
    assert np.abs(mine - scaled).max() <= 1


def test_what_cannot_be_done_is_said_before_anything_is_written(home, tmp_path, model):
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tiny.pictures(tmp_path / "in", 1)
    for source, why in ((str(tmp_path), "no config.json"), ("nowhere", "no such folder"), (str(tmp_path / "a" / "b" / "c"), "no such folder")):
        with pytest.raises(ValueError, match=why):
            ran(home, dataset=str(folder), model=source)
    torn = shutil.copytree(model, tmp_path / "torn")
    weights = load_file(torn / "model.safetensors")
    weights.pop(min(weights))
    save_file(weights, torn / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="is incomplete: 1 tensors are missing"):
        ran(home, dataset=str(folder), model=str(torn))
    assert not list(folder.glob("*.control.png"))
