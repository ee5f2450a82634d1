"""Files for one of two denoisers: the tools keep them apart, and what is made of one says whose it is."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from training import registry
from training.formats.halves import lacking, together
from training.formats.layouts import EXPERT_HEADER
from training.formats.mapped import Mapped
from training.runs.context import Context
from training.tools import repair

from .files import dense, off

SPEC = registry.get("families", "wan22_a14b").SPEC
LAYER = "diffusion_model.blocks.{}.self_attn.q"


def wan(file, seed, folder=""):
    rng, made = np.random.default_rng(seed), {}
    for n in range(2):
        made |= {f"{LAYER.format(n)}.lora_A.weight": rng.normal(size=(2, 8)), f"{LAYER.format(n)}.lora_B.weight": rng.normal(size=(8, 2))}
    save_file({k: v.astype(np.float32) for k, v in made.items()}, file, {EXPERT_HEADER: folder} if folder else {"from": "elsewhere"})
    return file


@pytest.fixture
def pair(tmp_path):
    return wan(tmp_path / "a_high_noise.safetensors", 1, "transformer"), wan(tmp_path / "a_low_noise.safetensors", 2, "transformer_2")


def test_blocks_are_moved_in_each_denoiser_s_file_by_itself(tool, home, pair, tmp_path):
    ctx = Context(tool("scale", adapter=str(pair[0]), name="studio"), home, 1)
    other = wan(tmp_path / "b_LowNoise.safetensors", 3)
    told = [(1, r"blocks\.0\.", 0.0), (2, r"blocks\.1\.", 3.0)]
    uses = [(pair[0], 0.5, 1), (pair[1], 0.5, 1), (other, 1.0, 2)]
    made = {Mapped(file).metadata[EXPERT_HEADER]: dense(file) for file in repair.mended_apart(uses, told, SPEC, "", ctx)}
    high, low, beside = map(dense, (*pair, other))
    first, second = LAYER.format(0), LAYER.format(1)
    assert off(made["transformer"], {second: 0.5 * high[second]}) < 1e-6
    assert off(made["transformer_2"], {first: beside[first], second: 0.5 * low[second] + 3 * beside[second]}) < 1e-6


@pytest.mark.parametrize(("kind", "told"), [("scale", {"strength": 0.5}), ("resize", {"rank": 1})])
def test_what_is_made_of_one_file_is_still_for_its_denoiser(tool, pair, tmp_path, kind, told):
    for file, folder, ending in (*zip(pair, ("transformer", "transformer_2"), ("high", "low"), strict=True), (wan(tmp_path / "c-LN.safetensors", 4), "transformer_2", "low")):
        made = tool(kind, adapter=str(file), name=f"mine{ending}{file.stem[0]}", **told).result()
        assert made.name == f"mine{ending}{file.stem[0]}_{ending}_noise.safetensors" and Mapped(made).metadata[EXPERT_HEADER] == folder


def test_files_for_different_denoisers_are_not_merged(tool, pair, tmp_path):
    use = lambda *files: [{"file": str(file)} for file in files]
    with pytest.raises(ValueError, match="a_high_noise.safetensors and a_low_noise.safetensors are for different denoisers"):
        tool("merge", adapters=use(*pair))
    other = wan(tmp_path / "b_low_noise.safetensors", 3)
    made = tool("merge", name="both_low_noise", adapters=use(pair[1], other)).result()
    assert made.name == "both_low_noise.safetensors" and Mapped(made).metadata[EXPERT_HEADER] == "transformer_2" and len(load_file(made)) == 4


def test_a_denoiser_that_wears_nothing_is_known(pair, tmp_path):
    assert [e.called for e in lacking(pair[:1], SPEC)] == ["low"] and [e.called for e in lacking(pair[1:], SPEC)] == ["high"]
    both = tmp_path / "adapter.safetensors"
    save_file({f"{folder}.blocks.0.attn1.to_q.lora_A.weight": np.zeros((1, 1), np.float32) for folder in ("transformer", "transformer_2")}, both)
    assert not lacking(pair, SPEC) and not lacking([both], SPEC) and not lacking([], SPEC) and not lacking(pair[:1], registry.get("families", "wan21").SPEC)


def test_a_file_and_the_one_beside_it_are_found_by_the_words_in_their_names(tmp_path):
    for one, other in (("Wan_HighNoise_v1", "Wan_LowNoise_v1"), ("x_HIGH_fp16", "x_LOW_fp16"), ("HN-x", "LN-x"), ("cat_high_noise-comfyui", "cat_low_noise-comfyui")):
        files = [tmp_path / f"{name}.safetensors" for name in (one, other)]
        for file in files:
            file.touch()
        assert together(files[0], SPEC) == files and together(files[1], SPEC) == files[::-1]
        assert together(files[0], registry.get("families", "wan21").SPEC) == files[:1]
