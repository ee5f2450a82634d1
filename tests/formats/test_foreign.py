"""Files as other programs write them are read whole, or refused in a sentence that names what is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.formats import foreign, layouts
from training.registry import get

SD, XL, FLUX, WAN, SD3, ZIM, QWEN, QWEN21 = (get("families", id).SPEC for id in ("sd15", "sdxl", "flux1", "wan21", "sd35", "z_image", "qwen_image", "qwen_image21"))
Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def pair(stem: str, down: str, up: str, rank: int = 2, out: int = 6) -> dict[str, np.ndarray]:
    return {f"{stem}{down}": np.ones((rank, 4), np.float32), f"{stem}{up}": np.full((out, rank), 3, np.float32)}


def names(module):
    return {"unet": [Q, "mid_block.attentions.0.proj_in"], "text_encoder": ["encoder.layers.0.self_attn.q_proj"], "text_encoder_2": ["encoder.layers.1.mlp.fc1"]}.get(module, [])


@pytest.mark.parametrize(("spec", "tensors", "layers"), [
    (SD, pair(f"lora_unet_{Q.replace('.', '_')}", ".lora_down.weight", ".lora_up.weight"), {f"unet.{Q}"}),
    (SD, pair("lora_te_text_model_encoder_layers_0_self_attn_q_proj", ".lora_down.weight", ".lora_up.weight"), {"text_encoder.encoder.layers.0.self_attn.q_proj"}),
    (XL, pair("lora_te2_text_model_encoder_layers_1_mlp_fc1", ".lora_down.weight", ".lora_up.weight"), {"text_encoder_2.encoder.layers.1.mlp.fc1"}),
    (XL, pair("lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k", ".lora_down.weight", ".lora_up.weight"), {"unet.down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"}),
    (SD, pair(f"lycoris_{Q.replace('.', '_')}", ".lora_down.weight", ".lora_up.weight"), {f"unet.{Q}"}),
    (SD, pair(f"unet.{Q.replace('.to_q', '.processor.to_q')}", "_lora.down.weight", "_lora.up.weight"), {f"unet.{Q}"}),
    (SD, pair(f"base_model.model.{Q}", ".lora_A.default.weight", ".lora_B.default.weight"), {f"unet.{Q}"}),
    (SD, pair(f"unet.base_model.model.{Q}", ".lora_A.weight", ".lora_B.weight"), {f"unet.{Q}"}),
    (SD, pair("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"), {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj"}),
    (WAN, pair("diffusion_model.blocks.3.cross_attn.o", ".lora_down.weight", ".lora_up.weight"), {"transformer.blocks.3.attn2.to_out.0"}),
    (WAN, pair("lora_unet_blocks_3_ffn_0", ".lora_down.weight", ".lora_up.weight"), {"transformer.blocks.3.ffn.net.0.proj"}),
    (WAN, pair("lora_unet__blocks_3_ffn_0", ".lora_down.weight", ".lora_up.weight"), {"transformer.blocks.3.ffn.net.0.proj"}),
    (FLUX, pair("transformer.transformer_blocks.1.attn.to_q", ".lora_A.weight", ".lora_B.weight"), {"transformer.transformer_blocks.1.attn.to_q"}),
    (FLUX, pair("double_blocks.1.processor.proj_lora2", ".down.weight", ".up.weight"), {"transformer.transformer_blocks.1.attn.to_add_out"}),
    (FLUX, pair("double_blocks.1.processor.qkv_lora1", ".down.weight", ".up.weight"), {f"transformer.transformer_blocks.1.attn.to_{x}" for x in "qkv"}),
    (FLUX, pair("single_blocks.7.processor.qkv_lora", ".down.weight", ".up.weight"), {f"transformer.single_transformer_blocks.7.attn.to_{x}" for x in "qkv"}),
    (SD3, pair("lora_unet_joint_blocks_5_context_block_attn_qkv", ".lora_down.weight", ".lora_up.weight"), {f"transformer.transformer_blocks.5.attn.add_{x}_proj" for x in "qkv"}),
    (ZIM, pair("diffusion_model.layers.4.attention.qkv", ".lora_A.weight", ".lora_B.weight"), {f"transformer.layers.4.attention.to_{x}" for x in "qkv"}),
    (QWEN21, pair("diffusion_model.transformer_blocks.4.img_mlp.gate_up", ".lora_A.weight", ".lora_B.weight"), {f"transformer.transformer_blocks.4.img_mlp.{x}" for x in ("gate_layer", "proj")}),
    (QWEN, pair("lora_transformer_transformer_blocks_9_attn_add_k_proj", ".lora_down.weight", ".lora_up.weight"), {"transformer.transformer_blocks.9.attn.add_k_proj"}),
    (QWEN, pair("transformer_blocks.9.attn.to_k", ".lora_A.default.weight", ".lora_B.default.weight"), {"transformer.transformer_blocks.9.attn.to_k"}),
])  # fmt: skip
@pytest.mark.parametrize("alpha", [None, 1.0])
def test_names_in_the_wild_are_read_with_and_without_alpha(spec, tensors, layers, alpha):
    stem = next(iter(tensors)).rsplit(".lora", 1)[0].rsplit("_lora.", 1)[0]
    given = tensors if alpha is None or not stem.startswith(("lora_", "lycoris_", "diffusion_model.")) else {**tensors, f"{stem}.alpha": np.array(alpha, np.float32)}
    read, header = foreign.to_diffusers(given, {}, spec, names)
    assert {k.rsplit(".lora_", 1)[0] for k in read} == layers
    strength = 3 * 2 * (0.5 if given is not tensors else 1)  # of B times A, rank 2
    for layer in layers:
        assert (read[f"{layer}.lora_B.weight"] @ read[f"{layer}.lora_A.weight"] == strength).all()
    assert header[f"{next(iter(layers)).split('.')[0]}.r"] == 2


def test_doras_lengths_are_read_by_either_name_and_out_of_a_shared_matrix():
    stem, layer = f"lora_unet_{Q.replace('.', '_')}", f"unet.{Q}"
    read, header = foreign.to_diffusers(pair(stem, ".lora_down.weight", ".lora_up.weight") | {f"{stem}.dora_scale": np.full((6, 1), 2, np.float32)}, {}, SD, names)
    assert read[f"{layer}.lora_magnitude_vector"].shape == (6,) and header["unet.use_dora"]
    peft = {f"base_model.model.{Q}.lora_magnitude_vector.weight": np.full(6, 2, np.float32)} | pair(f"base_model.model.{Q}", ".lora_A.weight", ".lora_B.weight")
    assert (foreign.to_diffusers(peft, {}, SD, names)[0][f"{layer}.lora_magnitude_vector"] == 2).all()
    shared = pair("lora_unet_double_blocks_0_img_attn_qkv", ".lora_down.weight", ".lora_up.weight") | {"lora_unet_double_blocks_0_img_attn_qkv.dora_scale": np.arange(6, dtype=np.float32)[:, None]}
    read, _ = foreign.to_diffusers(shared, {}, FLUX, names)
    assert list(read["transformer.transformer_blocks.0.attn.to_k.lora_magnitude_vector"]) == [2, 3]
    with pytest.raises(ValueError, match="a length for each input"):
        foreign.to_diffusers(pair(stem, ".lora_down.weight", ".lora_up.weight") | {f"{stem}.dora_scale": np.ones((1, 4), np.float32)}, {}, SD, names)


@pytest.mark.parametrize(("odd", "what"), [
    ("lora_unet_x.lora_mid.weight", "a LoCon in Tucker form"), ("lora_unet_x.oft_blocks", "OFT as LyCORIS"), ("lora_unet_x.a1.weight", "GLoRA"),
    ("diffusion_model.blocks.0.norm3.diff_b", "changes to biases, norms or whole weights"), ("double_blocks.0.img_attn.norm.query_norm.scale", "a control LoRA"),
    ("transformer.x.lora_B.bias", "changes to biases"), ("lora_unet_x.something", "is no tensor of an adapter that is known here"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(odd, what):
    with pytest.raises(ValueError, match=what):
        foreign.to_diffusers(pair("lora_unet_blocks_3_ffn_0", ".lora_down.weight", ".lora_up.weight") | {odd: np.ones(2, np.float32)}, {}, WAN, names)


def test_a_file_for_another_family_or_a_text_encoder_that_stays_is_refused():
    with pytest.raises(ValueError, match="is the file for another family"):
        foreign.to_diffusers(pair("lora_unet_double_blocks_0_img_attn_qkv", ".lora_down.weight", ".lora_up.weight"), {}, SD, names)
    with pytest.raises(ValueError, match="a text encoder that cannot be trained"):
        foreign.to_diffusers(pair("lora_te3_encoder_block_0_layer_0_SelfAttention_q", ".lora_down.weight", ".lora_up.weight"), {}, SD3, names)


def test_a_loha_goes_into_a_shared_matrix_and_comes_back():
    draw = np.random.default_rng(0)
    mine = {}
    for n, x in enumerate("qkv", 1):
        for part in "12":
            at = f"transformer.transformer_blocks.0.attn.to_{x}.hada_w{part}_"
            mine |= {f"{at}a": draw.normal(size=(4, n)).astype(np.float32), f"{at}b": draw.normal(size=(n, 5)).astype(np.float32)}
    whole = layouts.to_comfyui(mine, FLUX)
    assert {k.rsplit(".", 1)[0] for k in whole} == {"diffusion_model.double_blocks.0.img_attn.qkv"}
    back, header = foreign.to_diffusers(whole, {}, FLUX, names)
    assert header["transformer.peft_type"] == "LOHA"
    effect = lambda t, x: np.prod([t[f"transformer.transformer_blocks.0.attn.to_{x}.hada_w{p}_a"] @ t[f"transformer.transformer_blocks.0.attn.to_{x}.hada_w{p}_b"] for p in "12"], axis=0)
    for x in "qkv":
        np.testing.assert_allclose(effect(back, x), effect(mine, x), atol=1e-5)


def test_one_file_serves_both_programs_and_is_read_back_as_it_was():
    spec = get("families", "flux2").SPEC
    layer, extra = "transformer.transformer_blocks.0.attn.to_q", "transformer.single_stream_modulation.linear"
    mine = {k: v for at in (layer, extra) for k, v in (pair(at, ".lora_A.weight", ".lora_B.weight") | {f"{at}.lora_magnitude_vector": np.ones(6, np.float32)}).items()}
    both = layouts.for_comfyui_too(mine, spec)
    assert {"transformer.transformer_blocks.0.attn.to_q.dora_scale", "lora_unet_single_stream_modulation_lin.dora_scale", "lora_unet_single_stream_modulation_lin.lora_B.weight"} <= set(both)
    back, _ = foreign.to_diffusers(both, {}, spec, names)
    assert set(back) == set(mine) and all(np.array_equal(back[k], mine[k]) for k in mine)
    assert layouts.for_comfyui_too(mine, dataclasses.replace(spec, comfyui_lacks=())).keys() == mine.keys() | {f"{layer}.dora_scale", f"{extra}.dora_scale"}
