"""Adapters put into a base model for good: W + dW, in the base's own layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests import tiny
from tests.engine.test_unpack import hub, in_one_file  # noqa: F401 a fixture
from training import registry

from .files import BASE, UNET, of_rank, wide

ENDINGS = ("to_q.weight", "to_out.0.weight", "ff.net.2.weight", "conv1.weight")
UNET_NAME = "unet/diffusion_pytorch_model.safetensors"


def lora(file, rank: int = 3, seed: int = 0, weights=BASE / UNET, dora: bool = False):
    """A LoRA in diffusers' layout for a UNet, or a DoRA whose lengths are not those of the base."""
    rng, made = np.random.default_rng(seed), {}
    for name, w in load_file(weights).items():
        if name.endswith(ENDINGS):
            stem = f"unet.{name.removesuffix('.weight')}"
            made[f"{stem}.lora_A.weight"] = 0.2 * rng.normal(size=(rank, *w.shape[1:]))
            made[f"{stem}.lora_B.weight"] = 0.2 * rng.normal(size=(len(w), rank, *[1] * (w.ndim - 2)))
            if dora:
                lengths = np.linalg.norm(w.astype(np.float64).reshape(len(w), -1), axis=1) * rng.uniform(0.8, 1.2, len(w))
                made[f"{stem}.lora_magnitude_vector"] = lengths if w.ndim == 2 else lengths.reshape(1, -1, 1, 1)
    save_file({k: v.astype(np.float32) for k, v in made.items()}, file)
    return file


def change(file, name: str) -> np.ndarray:
    tensors, stem = load_file(file), f"unet.{name.removesuffix('.weight')}"
    up, down = tensors[f"{stem}.lora_B.weight"].astype(np.float64), tensors[f"{stem}.lora_A.weight"].astype(np.float64)
    return up.reshape(len(up), -1) @ down.reshape(len(down), -1)


def test_two_adapters_are_in_a_folder_that_diffusers_loads_and_nothing_else_changed(tool, tmp_path):
    base, one, other = wide(tmp_path / "base"), lora(tmp_path / "a.safetensors", 3, 1), lora(tmp_path / "b.safetensors", 5, 2)
    run = tool("fuse", name="whole", family="sd15", base=str(base), adapters=[{"file": str(one), "strength": 0.8}, {"file": str(other), "strength": -0.5}])
    made, before = load_file(run.result() / UNET_NAME), load_file(base / UNET_NAME)
    for name, weight in before.items():
        meant = weight.astype(np.float64)
        if name.endswith(ENDINGS):
            meant = meant + (0.8 * change(one, name) - 0.5 * change(other, name)).reshape(weight.shape)
        assert np.abs(made[name] - meant).max() <= 1e-6 * max(1.0, np.abs(meant).max()), name
    assert (run.result() / "vae" / "diffusion_pytorch_model.safetensors").read_bytes() == (base / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("dora", [False, True])
def test_the_fused_model_draws_what_the_base_draws_with_the_adapter(tool, tmp_path, dora):
    from diffusers import StableDiffusionPipeline

    base, file = wide(tmp_path / "base"), lora(tmp_path / "a.safetensors", dora=dora)
    made = tool("fuse", family="sd15", base=str(base), adapters=[{"file": str(file)}]).result()

    def drawn(folder, adapter=None):
        pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float32)
        if adapter:
            pipe.load_lora_weights(adapter.parent, weight_name=adapter.name)
        pipe.set_progress_bar_config(disable=True)
        return pipe("a red circle", height=64, width=64, num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np").images

    meant, plain, found = drawn(base, file), drawn(base), drawn(made)
    assert np.abs(found - meant).max() < 0.005 < np.abs(plain - meant).max()


def test_shards_stay_shards(tool, tmp_path):
    from diffusers import UNet2DConditionModel

    base = wide(tmp_path / "base")
    UNet2DConditionModel.from_pretrained(base / "unet").save_pretrained(tmp_path / "unet", max_shard_size="300KB")
    for path in (base / "unet").iterdir():
        path.unlink()
    for path in (tmp_path / "unet").iterdir():
        path.rename(base / "unet" / path.name)
    shards = sorted(p.name for p in (base / "unet").glob("*.safetensors"))
    assert len(shards) > 2
    made = tool("fuse", family="sd15", base=str(base), adapters=[{"file": str(lora(tmp_path / "a.safetensors"))}]).result()
    assert sorted(p.name for p in (made / "unet").glob("*.safetensors")) == shards
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    found, before = (UNet2DConditionModel.from_pretrained(f / "unet").get_submodule(name).weight.detach().numpy() for f in (made, base))
    np.testing.assert_allclose(found - before, change(tmp_path / "a.safetensors", f"{name}.weight"), atol=1e-5)


def test_a_single_file_stays_one_under_its_own_names(tool, home, tmp_path, hub):  # noqa: F811
    """The first release's names, read again by diffusers' own conversion: the same as the folder with the adapter fused in."""
    folder = tiny.sd15(tmp_path / "tiny")
    hub(registry.get("families", "sd15").SPEC.default_source, folder, ["*.safetensors"])
    file, adapter = in_one_file(folder, tmp_path / "model.safetensors"), lora(tmp_path / "a.safetensors", 2, weights=folder / UNET_NAME)
    made = tool("fuse", family="sd15", base=str(file), adapters=[{"file": str(adapter), "strength": 0.5}]).result()
    before, after = load_file(file), load_file(made)
    assert before.keys() == after.keys()
    moved = {k for k in before if not np.array_equal(before[k], after[k])}
    count = sum(n.endswith(ENDINGS) for n in load_file(folder / UNET_NAME))
    assert len(moved) == count and all(k.startswith("model.diffusion_model.") for k in moved)
    again = tool("fuse", family="sd15", base=str(folder), adapters=[{"file": str(adapter), "strength": 0.5}]).result()
    from training.config import ModelPart
    from training.engine.weights import base_folder
    from training.runs.context import Context
    from training.runs.run import list_runs

    unpacked = base_folder(ModelPart(family="sd15", source=str(made)), registry.get("families", "sd15"), Context(list_runs(home.outputs)[0], home, 1))
    one, other = load_file(unpacked / UNET_NAME), load_file(again / UNET_NAME)
    assert one.keys() == other.keys() and max(np.abs(one[k] - other[k]).max() for k in one) < 1e-6


def test_half_precision_is_rounded_once(tool, tmp_path):
    """The built-in base is in fp16: what is written is the nearest fp16 number to the exact sum."""
    file = lora(tmp_path / "a.safetensors")
    made = load_file(tool("fuse", family="sd15", base="builtin", adapters=[{"file": str(file)}]).result() / UNET_NAME)
    for name, weight in load_file(BASE / UNET).items():
        if name.endswith(ENDINGS):
            meant = (weight.astype(np.float64) + change(file, name).reshape(weight.shape)).astype(np.float32).astype(np.float16)
            assert np.mean(made[name] != meant) < 0.001, name  # fp32 sums differ in a last place now and then


def test_an_adapter_for_another_model_is_refused_and_nothing_is_left(tool, tmp_path):
    from training.runs.run import list_runs  # noqa: F401

    folder = tiny.sd15(tmp_path / "tiny")
    file = lora(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="is for another one|in the adapter and .* in the base model|another one"):
        tool("fuse", family="sd15", base=str(folder), adapters=[{"file": str(file)}])
    assert not list(tmp_path.rglob(".unproven*")) and not list(tmp_path.rglob("outputs/*/made"))


def test_extraction_gives_back_what_was_fused(tool, tmp_path):
    base, file = wide(tmp_path / "base"), lora(tmp_path / "a.safetensors", 4)
    tuned = tool("fuse", family="sd15", base=str(base), adapters=[{"file": str(file)}]).result()
    from .files import dense

    found = dense(tool("extract", family="sd15", tuned=str(tuned), base=str(base), rank=4).result())
    for name in of_rank(ENDINGS, 1):
        stem = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
        meant = change(file, name)
        assert np.linalg.norm(found[stem] - meant) / np.linalg.norm(meant) < 1e-5


@pytest.mark.parametrize("settings", [{}, {"num_cayley_neumann_terms": 2}, {"num_cayley_neumann_terms": 3}, {"num_cayley_neumann_terms": 7}, {"use_cayley_neumann": False}])
def test_an_oft_turns_the_weights_as_peft_does(tool, tmp_path, settings):
    """The fused network says what peft's says, and only at strength 1."""
    import json

    from diffusers import UNet2DConditionModel
    from peft import OFTConfig

    from training.formats.adapting import inject
    from training.formats.adapting import settings as told
    from training.formats.adapting import tensors as taken

    base = wide(tmp_path / "base")
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    inject(unet, OFTConfig(r=0, oft_block_size=4, target_modules=r".*(to_q|ff\.net\.2|proj_in)$", **settings), 0)
    torch.manual_seed(0)
    for name, weight in unet.named_parameters():
        if "oft_R" in name:
            torch.nn.init.normal_(weight, std=0.15)
    file = tmp_path / "oft.safetensors"
    save_file({k: v.detach().numpy() for k, v in taken(unet, "unet").items()}, file, {"format": "pt", "lora_adapter_metadata": json.dumps(told(unet, "unet"), default=str)})
    made = tool("fuse", family="sd15", base=str(base), adapters=[{"file": str(file)}]).result()
    fused = UNet2DConditionModel.from_pretrained(made / "unet")
    plain = UNet2DConditionModel.from_pretrained(base / "unet")
    torch.manual_seed(1)
    asked = (torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 7, fused.config.cross_attention_dim))
    with torch.no_grad():
        meant, found, before = (net.eval()(*asked)[0] for net in (unet, fused, plain))
    assert float((found - meant).abs().max()) < 1e-4
    assert float((before - meant).abs().max()) > 0.05
    with pytest.raises(ValueError, match="acts whole or not at all"):
        tool("fuse", family="sd15", base=str(base), adapters=[{"file": str(file), "strength": 0.5}])


def test_an_oft_of_a_convolution_is_refused(tool, tmp_path):
    """peft turns each patch of its input, overlapping ones apart: its own merge says something else than its network."""
    name = "down_blocks.0.resnets.0.conv1"
    base = wide(tmp_path / "base")
    inputs = int(np.prod(load_file(base / UNET)[f"{name}.weight"].shape[1:]))
    save_file({f"unet.{name}.oft_R.weight": np.full((inputs // 4, 6), 0.1, np.float32)}, tmp_path / "oft.safetensors")
    with pytest.raises(ValueError, match="is a convolution, whose patches"):
        tool("fuse", family="sd15", base=str(base), adapters=[{"file": str(tmp_path / "oft.safetensors")}])
