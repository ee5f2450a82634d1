"""Pose pictures, by small models of the real classes, made and saved here."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests import tiny
from training import jobfile
from training.data import datasets, poses
from training.jobs import pose
from training.runs.context import Context
from training.runs.run import create
from training.tools import seeing


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders with an RT-DETR that knows people and cats, and a ViTPose, of some ten thousand weights each."""
    import torch
    from transformers import (
        RTDetrConfig,
        RTDetrForObjectDetection,
        RTDetrImageProcessorPil,
        RTDetrResNetConfig,
        VitPoseBackboneConfig,
        VitPoseConfig,
        VitPoseForPoseEstimation,
    )

    detector, marker = (tmp_path_factory.mktemp("pose") / name for name in ("tiny detector", "tiny pose"))
    torch.manual_seed(1)
    eyes = RTDetrResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage2", "stage3", "stage4"])
    config = RTDetrConfig(
        backbone_config=eyes, encoder_in_channels=[8, 16, 16], encoder_hidden_dim=16, d_model=16, encoder_ffn_dim=16, encoder_attention_heads=2, decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16, decoder_attention_heads=2, decoder_layers=1, num_queries=6, num_denoising=0, id2label={0: "person", 1: "cat"}, label2id={"person": 0, "cat": 1},
    )  # fmt: skip
    network = RTDetrForObjectDetection(config)
    for head in (*network.model.decoder.class_embed, network.model.enc_score_head):
        torch.nn.init.normal_(head.weight, std=0.5)  # so that pictures differ in how much of a person is in them
        torch.nn.init.zeros_(head.bias)
    network.save_pretrained(detector)
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(detector)
    back = VitPoseBackboneConfig(image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, out_indices=[1])
    network = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=back, num_labels=poses.COCO_POINTS))
    torch.nn.init.normal_(network.head.conv.weight, std=0.3)  # so that its heat comes near 1
    network.save_pretrained(marker)
    return {"detector": str(detector), "model": str(marker)}


def ran(home, **settings):
    run = create(home.outputs, jobfile.parse(pose.Config, {"kind": "pose", "name": "pose"} | settings))
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    pose.run(run.config(), ctx)
    return run.view()


def best(models, file) -> tuple[float, list[float]]:
    """(score, box) of whom transformers' own pipeline is surest to be a person, by score."""
    from transformers import pipeline

    found = pipeline("object-detection", model=models["detector"], device="cpu")(Image.open(file), threshold=0.0)
    first = max((f for f in found if f["label"] == "person"), key=lambda f: f["score"])
    return first["score"], [first["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")]


@pytest.mark.slow
def test_a_picture_with_people_gets_their_poses_and_one_with_nobody_gets_none_and_is_named(home, tmp_path, models):
    folder = tiny.pictures(tmp_path / "in", 3, sizes=((96, 64),))
    names = sorted(p.name for p in folder.glob("*.png"))
    Image.new("RGB", (96, 64), "red").save(folder / names[0].replace(".png", ".control.png"))
    scores = {name: best(models, folder / name)[0] for name in names[1:]}
    low, high = sorted(scores, key=scores.get)
    between = (scores[low] + scores[high]) / 2
    assert scores[low] < between < scores[high]
    view = ran(home, dataset=str(folder), person_threshold=between, threshold=0.05, **models)
    assert view.summary == f"1 pose picture made; nobody was seen in 1 picture, which got none: {low}; 1 picture had a control picture already and kept it"
    found = {p.id: p.control for p in datasets.resolve(home, str(folder)).pictures()}
    assert found[low] is None and np.asarray(found[names[0]].load())[0, 0].tolist() == [255, 0, 0]
    made = found[high].load()
    colours = {colour for _, colour in made.getcolors()}
    limbs = {tuple(int(part * poses.LIMB_BRIGHTNESS) for part in colour) for colour in poses.COLOURS}
    assert made.size == (96, 64) and (0, 0, 0) in colours and colours & set(poses.COLOURS) and colours <= {(0, 0, 0), *poses.COLOURS, *limbs}
    nobody = ran(home, dataset=str(folder), person_threshold=1.0, **models)
    assert nobody.summary.startswith(f"0 pose pictures made; nobody was seen in 1 picture, which got none: {low}")


def test_a_picture_that_got_one_meanwhile_is_none_in_which_nobody_was_seen(home, tmp_path):
    folder = tiny.pictures(tmp_path / "in", 2, sizes=((96, 64),))
    first, second = sorted(folder.glob("*.png"))

    def draw(picture):
        Image.new("RGB", (96, 64), "red").save(second.with_suffix(".control.png"))
        return picture

    run = create(home.outputs, jobfile.parse(pose.Config, {"kind": "pose", "name": "pose", "dataset": str(folder)}))
    assert seeing.controls(str(folder), Context(run, home, 1), lambda: draw, "looking") == seeing.Drawn(1, 1, ())
    assert first.with_suffix(".control.png").exists()


def test_people_whose_points_are_all_unsure_are_nobody(home, tmp_path, models):
    folder = tiny.pictures(tmp_path / "in", 1, sizes=((96, 64),))
    assert "nobody was seen in 1 picture" in ran(home, dataset=str(folder), person_threshold=0.0, threshold=1.0, model=_dimmed(models["model"], tmp_path / "dim"), detector=models["detector"]).summary
    assert not list(folder.glob("*.control.png"))


def _dimmed(model: str, folder) -> str:
    """The same model, a hundredth as sure."""
    from transformers import VitPoseForPoseEstimation

    network = VitPoseForPoseEstimation.from_pretrained(model)
    network.head.conv.weight.data /= 100
    network.head.conv.bias.data.zero_()
    network.save_pretrained(folder)
    return str(folder)


def test_its_boxes_and_points_are_those_of_transformers_own_classes(home, tmp_path, models):
    import torch
    from transformers import VitPoseForPoseEstimation

    folder = tiny.pictures(tmp_path / "in", 1, sizes=((120, 90),))
    (name,) = [p.name for p in folder.glob("*.png")]
    score, box = best(models, folder / name)
    config = jobfile.parse(pose.Config, {"kind": "pose", "name": "pose", "dataset": str(folder), "person_threshold": score - 1e-5, "threshold": 0.0, **models})
    from training.tools.seeing import Wanted

    picture = Image.open(folder / name).convert("RGB")
    (mine,) = pose._finder(Wanted("detector", models["detector"], "person detector", "x"), models["detector"], config)(picture)
    assert np.abs(np.array(mine) - box).max() <= 1  # theirs are whole pixels
    (person,) = pose._marker(Wanted("model", models["model"], "pose model", "x"), models["model"], config)(picture, [mine])
    region = poses.region(mine, 48 / 64)
    pixels = np.asarray(poses.crop(picture, region, (48, 64)), np.float32) / 255
    pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]  # what the published model's own preprocessor_config.json says
    with torch.no_grad():
        heat = VitPoseForPoseEstimation.from_pretrained(models["model"])(torch.from_numpy(pixels).permute(2, 0, 1)[None].float()).heatmaps[0].numpy()
    tops = np.stack(np.divmod(heat.reshape(17, -1).argmax(axis=1), heat.shape[2])[::-1], axis=-1)
    cell = np.array([region.width / (heat.shape[2] - 1), region.height / (heat.shape[1] - 1)])
    coarse = tops * cell + [region.x - region.width / 2, region.y - region.height / 2]
    told = [n for n, coco in enumerate(poses.OF_COCO) if coco is not None and person[n]]
    assert len(told) > 8
    near = [np.abs((np.array(person[n]) - coarse[poses.OF_COCO[n]]) / cell).max() for n in told]
    assert np.median(near) < 1  # a part of a cell from the top


def test_what_cannot_be_done_is_said_before_anything_is_written(home, tmp_path, models):
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tiny.pictures(tmp_path / "in", 1)
    for setting in ("model", "detector"):
        for source, why in ((str(tmp_path), "no config.json"), ("nowhere", "no such folder")):
            with pytest.raises(ValueError, match=f"^{setting} is .*{why}"):
                ran(home, dataset=str(folder), **{**models, setting: source})
    torn = shutil.copytree(models["model"], tmp_path / "torn")
    weights = load_file(torn / "model.safetensors")
    weights.pop(min(weights))
    save_file(weights, torn / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="pose model in .* is incomplete: 1 tensors are missing"):
        ran(home, dataset=str(folder), **{**models, "model": str(torn)})
    cats = shutil.copytree(models["detector"], tmp_path / "cats")
    told = json.loads((cats / "config.json").read_text())
    (cats / "config.json").write_text(json.dumps(told | {"id2label": {"0": "dog", "1": "cat"}}))
    with pytest.raises(ValueError, match="knows no class 'person'"):
        ran(home, dataset=str(folder), **{**models, "detector": str(cats)})
    with pytest.raises(ValueError, match="the pose model in .* does not load|is incomplete"):
        ran(home, dataset=str(folder), **{**models, "model": models["detector"]})
    assert not list(folder.glob("*.control.png"))
