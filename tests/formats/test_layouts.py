"""Adapters keep what they do from one layout to the next; names are those that other programs use."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.formats import foreign, layouts
from training.registry import get

FUSED = get("families", "flux1").SPEC  # whose first release holds several of diffusers' layers in one matrix


def lora(layers: dict[str, tuple[int, int]], width: int = 8, seed: int = 0) -> layouts.Arrays:
    """{layer: (rank, outputs)} -> a baked LoRA."""
    draw = np.random.default_rng(seed)
    made = {}
    for name, (rank, outputs) in layers.items():
        made[f"{name}.lora_A.weight"] = draw.normal(size=(rank, width)).astype(np.float32)
        made[f"{name}.lora_B.weight"] = draw.normal(size=(outputs, rank)).astype(np.float32)
    return made


def effect(tensors: layouts.Arrays, layer: str) -> np.ndarray:
    return tensors[f"{layer}.lora_B.weight"] @ tensors[f"{layer}.lora_A.weight"]


def whole(side: int = 8) -> dict[str, tuple[int, int]]:
    double = {f"transformer.transformer_blocks.{n}.attn.{x}": (2, side) for n in (0, 11) for x in ("to_q", "to_k", "to_v", "to_out.0")}
    single = {f"transformer.single_transformer_blocks.3.{x}": (2, 4 * side if x == "proj_mlp" else side) for x in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}
    return double | single | {"transformer.single_transformer_blocks.3.proj_out": (2, side)}


def same(one: layouts.Arrays, other: layouts.Arrays) -> bool:
    return set(one) == set(other) and all(np.allclose(one[k], other[k], atol=1e-6) for k in one)


def test_layers_that_share_a_matrix_come_back_as_they_were():
    mine = lora(whole())
    kohya = layouts.to_kohya(mine, FUSED)
    assert kohya["lora_unet_double_blocks_11_img_attn_qkv.lora_down.weight"].shape == (6, 8)
    assert kohya["lora_unet_single_blocks_3_linear1.lora_up.weight"].shape == (56, 8)
    back, header = foreign.to_diffusers(kohya, {}, FUSED, names=lambda folder: [])
    assert same(back, mine)
    assert header["transformer.r"] == 2


def test_a_shared_matrix_with_ranks_of_all_kinds_and_a_layer_missing_acts_the_same():
    layers = whole()
    layers["transformer.transformer_blocks.0.attn.to_q"] = (5, 8)
    del layers["transformer.transformer_blocks.0.attn.to_k"]
    mine = lora(layers)
    back, _ = foreign.to_diffusers(layouts.to_kohya(mine, FUSED), {}, FUSED, names=lambda folder: [])
    for layer in layers:
        np.testing.assert_allclose(effect(back, layer), effect(mine, layer), atol=1e-6)
    assert not effect(back, "transformer.transformer_blocks.0.attn.to_k").any()


def test_a_pipeline_reads_the_shared_matrices_as_we_wrote_them():
    import torch
    from diffusers import FluxPipeline

    layers = whole(3072)  # the width that the pipeline's reader takes for granted
    mine = lora(layers)
    kohya = {k: torch.from_numpy(v) for k, v in layouts.to_kohya(mine, FUSED).items()}
    read = {k: v.numpy() for k, v in FluxPipeline.lora_state_dict(kohya).items()}
    assert {k.removesuffix(".lora_A.weight") for k in read if k.endswith("lora_A.weight")} == set(layers)
    for layer in layers:
        np.testing.assert_allclose(effect(read, layer), effect(mine, layer), atol=1e-5)


def test_names_of_the_first_release_with_dots_are_read_too():
    mine = lora(whole())
    kohya = layouts.to_kohya(mine, FUSED)
    names = {f"lora_unet_{o.name.replace('{n}', n).replace('.', '_')}": o.name.replace("{n}", n) for o in FUSED.kohya.originals for n in ("0", "3", "11")}
    dotted = {f"diffusion_model.{names[k.split('.', 1)[0]]}.{k.split('.', 1)[1].replace('down', 'A').replace('up', 'B')}": v for k, v in kohya.items()}
    back, _ = foreign.to_diffusers(dotted, {}, FUSED, names=lambda folder: [])
    assert same(back, mine)


def test_what_a_layout_cannot_hold_is_refused_in_words():
    lokr = {"transformer.transformer_blocks.0.attn.to_q.lokr_w1": np.ones((2, 2), np.float32), "transformer.transformer_blocks.0.attn.to_q.lokr_w2": np.ones((4, 4), np.float32)}
    with pytest.raises(ValueError, match="a LoRA, DoRA or LoHa can be put into, and this adapter not"):
        layouts.to_kohya(lokr, FUSED)
    part = {k: v for k, v in lora(whole()).items() if "transformer_blocks.0.attn.to_q" in k}
    with pytest.raises(ValueError, match="whose lengths only the base model knows"):
        layouts.to_kohya(part | {"transformer.transformer_blocks.0.attn.to_q.lora_magnitude_vector": np.ones(8, np.float32)}, FUSED)
    with pytest.raises(ValueError, match="has no kohya layout that other programs agree on"):
        layouts.to_kohya(lora(whole()), dataclasses.replace(FUSED, kohya=None))
    with pytest.raises(ValueError, match="has no name in this layout"):
        layouts.to_kohya(lora({"transformer.x_embedder": (2, 8)}), FUSED)
    with pytest.raises(ValueError, match="holds no adapter of a kind that is known"):
        foreign.to_diffusers({"unet.conv_in.weight": np.zeros(1)}, {}, FUSED, names=lambda folder: [])


def test_strength_goes_into_the_weights_layer_by_layer_as_peft_would_reckon_it():
    mine = lora({"unet.a.to_q": (4, 8), "unet.b.to_q": (2, 8), "unet.c.b.to_q": (4, 8)})
    header = {"unet.r": 4, "unet.lora_alpha": 8.0, "unet.rank_pattern": {"^b\\.to_q": 2}, "unet.alpha_pattern": {"^b\\.to_q": 3.0}, "unet.use_rslora": True}
    baked, told = layouts.bake(mine, header)
    for layer, scale in (("unet.a.to_q", 8 / 2), ("unet.b.to_q", 3 / 2**0.5), ("unet.c.b.to_q", 8 / 2)):
        np.testing.assert_allclose(effect(baked, layer), effect(mine, layer) * scale, rtol=1e-5)
    assert (told["unet.lora_alpha"], told["unet.alpha_pattern"], told["unet.use_rslora"]) == (4, {"^b\\.to_q": 2}, False)
    again, _ = layouts.bake(baked, told)
    assert all(np.array_equal(again[k], baked[k]) for k in baked)


def test_half_precision_files_of_other_programs_are_read_exactly(tmp_path):
    import torch
    from safetensors.torch import save_file

    values = torch.randn(4, 6)
    save_file({"x.lora_A.weight": values.bfloat16(), "x.lora_B.weight": values.half()}, tmp_path / "x.safetensors", {"a": "b"})
    read, said = layouts.read(tmp_path / "x.safetensors")
    assert np.array_equal(read["x.lora_A.weight"], values.bfloat16().float().numpy()) and read["x.lora_B.weight"].dtype == np.float16 and said == {"a": "b"}
