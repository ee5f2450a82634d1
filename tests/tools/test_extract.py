"""A LoRA taken out of a tuned model, held to the change that was made."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from training.formats.factors import Cut
from training.tools.extract import decomposed

from .files import BASE, UNET, dense, of_rank, wide

ENDINGS = ("to_q.weight", "to_k.weight", "ff.net.2.weight", "conv1.weight")


def by_kohya(changes: dict) -> dict:
    return {f"lora_unet_{k.removesuffix('.weight').replace('.', '_')}": v for k, v in changes.items()}


def test_a_model_that_differs_by_a_lora_gives_it_back(tool, tmp_path):
    changes = of_rank(ENDINGS, 8)
    base, tuned = wide(tmp_path / "base"), wide(tmp_path / "tuned", changes)
    run = tool("extract", family="sd15", tuned=str(tuned), base=str(base), rank=8)
    found, meant = dense(run.result()), by_kohya(changes)
    assert found.keys() == meant.keys()
    assert max(np.linalg.norm(found[k] - meant[k]) / np.linalg.norm(meant[k]) for k in meant) < 1e-5
    assert not run.view().warnings


@pytest.mark.parametrize(("shape", "rank"), [((200, 120), 8), ((64, 900), 16), ((300, 300), 32)])
def test_noise_is_cut_within_a_hundredth_of_the_best(shape, rank):
    """A change without any structure, on which a randomised SVD is at its worst."""
    change = np.random.default_rng(rank).normal(size=shape).astype(np.float32)
    made, kept = decomposed(change, Cut(rank))
    s = np.linalg.svd(change, compute_uv=False)
    best = np.sqrt(np.sum(s[rank:] ** 2))
    assert np.linalg.norm(change - made.dense()) <= 1.01 * best
    assert kept == pytest.approx(np.linalg.norm(made.dense()) / np.linalg.norm(change), rel=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_share_is_kept_by_the_smallest_rank_that_does(share):
    rng = np.random.default_rng(1)
    falling = (rng.normal(size=(400, 60)) * 0.8 ** np.arange(60)) @ rng.normal(size=(60, 300))
    made, kept = decomposed(falling.astype(np.float32), Cut(share=share))
    s = np.linalg.svd(falling, compute_uv=False)
    energy = np.sqrt(np.cumsum(s**2) / np.sum(s**2))
    least = int(np.searchsorted(energy, share)) + 1
    assert kept >= share - 1e-6 and least <= made.rank <= least + 1


def test_what_a_lora_cannot_hold_is_said_with_its_share(tool, tmp_path):
    base = wide(tmp_path / "base")
    changes = of_rank(("to_q.weight",), 2)
    tuned = wide(tmp_path / "tuned", changes)
    weights = load_file(tuned / UNET)
    weights["conv_norm_out.weight"] = weights["conv_norm_out.weight"] + np.float32(0.5)
    save_file(weights, tuned / UNET)
    run = tool("extract", family="sd15", tuned=str(tuned), base=str(base), rank=4)
    (said,) = run.view().warnings
    lost = 0.5 * np.sqrt(len(weights["conv_norm_out.weight"]))
    whole = np.sqrt(sum(np.linalg.norm(c) ** 2 for c in changes.values()) + lost**2)
    assert said == f"norms changed too, by {lost / whole:.2%} of the whole change, which a LoRA of these layers cannot hold"
    assert f"keeps {np.sqrt(1 - (lost / whole) ** 2):.1%} of the change" in run.last("finished")["summary"]


@pytest.mark.slow
def test_text_encoders_come_along_and_the_pictures_are_those_of_the_tuned_model(tool, tmp_path):
    """diffusers' own loader reads the file; base plus LoRA draws what the tuned model draws."""
    import torch
    from diffusers import StableDiffusionPipeline

    base, tuned = wide(tmp_path / "base"), wide(tmp_path / "tuned", of_rank(ENDINGS, 4, size=0.05))
    name = "text_encoder/model.safetensors"
    text = {k: v.astype(np.float32) for k, v in load_file(BASE / name).items()}
    save_file(text, base / name)
    rng = np.random.default_rng(2)
    for layer in [k for k in text if k.endswith(("q_proj.weight", "out_proj.weight"))]:
        text[layer] = text[layer] + (0.1 * rng.normal(size=(len(text[layer]), 2)) @ rng.normal(size=(2, text[layer].shape[1]))).astype(np.float32)
    save_file(text, tuned / name)
    made = tool("extract", family="sd15", tuned=str(tuned), base=str(base), rank=4).result()

    def drawn(folder, lora=None):
        pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float32)
        if lora:
            pipe.load_lora_weights(lora.parent, weight_name=lora.name)
        pipe.set_progress_bar_config(disable=True)
        return pipe("a red circle", height=64, width=64, num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np").images

    meant, plain, found = drawn(tuned), drawn(base), drawn(base, made)
    assert np.abs(found - meant).max() < 0.01 < np.abs(plain - meant).max()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tuned": "other"}, "not two models of one architecture: unet: .* is only in the base model, and [0-9]+ more differ"),
        ({"tuned": "base"}, "do not differ in any layer"),
        ({"tuned": "tuned", "rank": 0}, "set a rank, a share or a size"),
        ({"tuned": "nowhere/at/all"}, "there is no folder"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(tool, tmp_path, settings, sentence):
    from tests import tiny

    wide(tmp_path / "base")
    wide(tmp_path / "tuned", of_rank(("to_q.weight",), 2))
    if settings["tuned"] == "other":
        tiny.sd15(tmp_path / "other")
    with pytest.raises(ValueError, match=sentence):
        tool("extract", family="sd15", base=str(tmp_path / "base"), **{**settings, "tuned": str(tmp_path / settings["tuned"])})


def test_a_size_is_shared_out_to_what_holds_the_most(tool, tmp_path):
    """Held to all singular values of all layers, sorted by what they hold for their bytes: nothing that was left out was worth more than what was taken."""
    base = wide(tmp_path / "base")
    changes = of_rank(("to_q.weight",), 6, size=0.05) | of_rank(("to_k.weight", "ff.net.2.weight"), 6, seed=1, size=0.005)
    tuned = wide(tmp_path / "tuned", changes)
    run = tool("extract", family="sd15", tuned=str(tuned), base=str(base), rank=8, size_mb=0.05)
    found = load_file(run.result())
    assert 0.6 * 0.05e6 < run.result().stat().st_size <= 0.05e6
    ranks = {k.removesuffix(".lora_down.weight"): len(v) for k, v in found.items() if k.endswith("lora_down.weight")}
    taken, left = [], []
    for stem, change in by_kohya(changes).items():
        s = np.linalg.svd(change, compute_uv=False)[:6]
        worth = s**2 / sum(change.shape)
        taken, left = [*taken, *worth[: ranks.get(stem, 0)]], [*left, *worth[ranks.get(stem, 0) :]]
    assert min(taken) >= max(left) * 0.999
    assert any("no room" in text for text in run.view().warnings)
    with pytest.raises(ValueError, match=r"size_mb is 0.001, which has no room"):
        tool("extract", family="sd15", tuned=str(tuned), base=str(base), rank=8, size_mb=0.001)


def test_a_device_that_is_not_there_is_said_before_any_work(tool, tmp_path):
    import torch

    from training import jobfile, registry
    from training.jobs.extract import USES_GPU, Config

    made = lambda device: jobfile.parse(Config, {"kind": "extract", "name": "x", "family": "sd15", "tuned": "a", "base": "b", "device": device}, "the test")
    assert not USES_GPU(made("cpu")) and USES_GPU(made("cuda")) and registry.get("jobs", "extract").TOOL
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device is 'cuda'"):
            tool("extract", family="sd15", tuned=str(tmp_path), base=str(tmp_path), device="cuda")
