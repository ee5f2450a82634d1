"""What is delivered has, layer by layer and shape by shape, the names of each model's first release, at full size; and its readers take all of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from tests.formats import released
from training import registry
from training.formats import foreign
from training.formats.adapting import ends_on
from training.formats.deliver import laid_out, offers, unread

UNET = {"cross_attention_dim": 768}
XL = {
    "cross_attention_dim": 2048, "block_out_channels": (320, 640, 1280), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": [1, 2, 10], "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
SD35 = {
    "num_layers": 24, "num_attention_heads": 24, "attention_head_dim": 64, "caption_projection_dim": 1536, "pos_embed_max_size": 8, "qk_norm": "rms_norm",
    "in_channels": 16, "pooled_projection_dim": 2048, "joint_attention_dim": 4096, "dual_attention_layers": tuple(range(13)),
}  # fmt: skip
ANIMA = {
    "in_channels": 16, "num_attention_heads": 16, "adaln_lora_dim": 256, "rope_scale": (1.0, 4.0, 4.0), "extra_pos_embed_type": None, "max_size": (1, 8, 8),
}  # fmt: skip
KLEIN = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680, "guidance_embeds": False}
# family -> (diffusers' network, how it is built at full size, the first release's layers)
MODELS: dict[str, tuple[str, dict, Callable[[], released.Shapes]]] = {
    "sd15": ("UNet2DConditionModel", UNET, released.sd15),
    "sdxl": ("UNet2DConditionModel", XL, released.sdxl),
    "sd35": ("SD3Transformer2DModel", SD35, released.sd35_medium),
    "flux1": ("FluxTransformer2DModel", {"guidance_embeds": True}, released.flux1),
    "flux1_kontext": ("FluxTransformer2DModel", {"guidance_embeds": True}, released.flux1),
    "chroma": ("ChromaTransformer2DModel", {}, lambda: released.flux1(modulation=False)),
    "flux2": ("Flux2Transformer2DModel", {}, lambda: released.flux2(8, 48, 6144)),
    "flux2_klein": ("Flux2Transformer2DModel", KLEIN, lambda: released.flux2(5, 20, 3072)),
    "krea2": ("Krea2Transformer2DModel", {}, released.krea2),
    "lumina2": ("Lumina2Transformer2DModel", {}, released.lumina2),
    "z_image": ("ZImageTransformer2DModel", {}, released.z_image),
    "qwen_image21": ("QwenImage21Transformer2DModel", {}, released.qwen_image21),
    "qwen_image": ("QwenImageTransformer2DModel", {}, released.qwen_image),
    "qwen_image_edit": ("QwenImageTransformer2DModel", {}, released.qwen_image),
    "wan21": ("WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}, lambda: released.wan(30, 1536, 8960, 16)),
    "wan22_5b": ("WanTransformer3DModel", {"num_attention_heads": 24, "ffn_dim": 14336, "num_layers": 30, "in_channels": 48, "out_channels": 48}, lambda: released.wan(30, 3072, 14336, 48)),
    "wan22_a14b": ("WanTransformer3DModel", {}, lambda: released.wan(40, 5120, 13824, 16)),
    "wan22_i2v_a14b": ("WanTransformer3DModel", {"in_channels": 36}, lambda: released.wan(40, 5120, 13824, 16)),
    "wan21_i2v": ("WanTransformer3DModel", {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120}, lambda: released.wan(40, 5120, 13824, 16, seeing=True)),
    "omnigen2": ("", {}, released.omnigen2),
    "anima": ("CosmosTransformer3DModel", ANIMA, released.anima),
    "ltx2": ("LTX2VideoTransformer3DModel", {"num_layers": 3}, lambda: released.ltx2(3)),
}  # fmt: skip
GROUPS = ("attention", "attention+ff", "all")


def test_every_family_that_names_its_first_releases_layers_has_a_table_of_them():
    specs = {id: registry.get("families", id).SPEC for id in registry.find("families")}
    assert set(MODELS) == {id for id, spec in specs.items() if spec.originals or spec.kohya}


@cache
def layers_of(id: str) -> released.Shapes:
    """{name: (outputs, inputs...)} of every layer with weights of the full-size network, in diffusers' names."""
    import diffusers
    from accelerate import init_empty_weights
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    network, how, _ = MODELS[id]
    with init_empty_weights():
        if network:
            made = getattr(diffusers, network)(**how)
        else:
            from training.models.omnigen2 import OmniGen2Transformer2DModel

            made = OmniGen2Transformer2DModel()
    return {name: tuple(layer.weight.shape) for name, layer in made.named_modules() if isinstance(layer, nn.Linear | _ConvNd)}


def adapter(spec, shapes: released.Shapes) -> dict[str, np.ndarray]:
    """A LoRA of rank 1 in diffusers' layout; each layer's B is a number of its own."""
    made = {}
    for number, (name, (out, *inputs)) in enumerate(shapes.items(), 1):
        made[f"{spec.denoiser}.{name}.lora_A.weight"] = np.ones((1, *inputs), np.float32)
        made[f"{spec.denoiser}.{name}.lora_B.weight"] = np.full((out, 1, *[1] * (len(inputs) - 1)), number, np.float32)
    return made


@pytest.mark.parametrize("id", MODELS)
def test_every_delivered_layer_is_one_of_the_first_release_and_none_is_left_over(id):
    spec, table = registry.get("families", id).SPEC, MODELS[id][2]()
    layout, start = ("kohya", "lora_unet_") if spec.comfyui in ("", "kohya") else ("comfyui", "diffusion_model.")
    flat = (lambda name: name.replace(".", "_")) if layout == "kohya" else (lambda name: name)
    by_name = {flat(name): shape for name, shape in table.items()}
    assert len(by_name) == len(table)
    for group in GROUPS:
        chosen = {n: s for n, s in layers_of(id).items() if ends_on(n, spec.lora_targets[group])}
        mine = adapter(spec, chosen)
        laid, _ = laid_out(mine, {}, spec, layout)
        parts: dict[str, dict[str, np.ndarray]] = {}
        for key, tensor in laid.items():
            layer, what = (key.split(".", 1)) if layout == "kohya" else (key[: key.index(".lora_")], key[key.index(".lora_") + 1 :])
            assert layer.startswith(start)
            parts.setdefault(layer.removeprefix(start), {})[what.replace("down", "A").replace("up", "B")] = tensor
        assert set(parts) <= set(by_name), min(set(parts) - set(by_name))
        joined = 0
        for layer, tensors in parts.items():
            out, *inputs = by_name[layer]
            a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
            assert (b.shape[0], list(a.shape[1:])) == (out, inputs), layer
            assert a.shape[0] == b.shape[1]
            joined += len(a)  # of rank 1 each
        assert joined == len(chosen)
        if group == "all":
            assert set(parts) == set(by_name), min(set(by_name) - set(parts))
        if layout == "comfyui" and id not in ("flux2", "qwen_image", "qwen_image_edit"):  # large, and made of the same rules as the others
            back, _ = foreign.to_diffusers(laid, {}, spec, names=lambda folder: [])
            ups = {k: v for k, v in back.items() if k.endswith("lora_B.weight") and v.any()}  # a part that was left out comes back as zeros
            assert set(ups) == {k for k in mine if k.endswith("lora_B.weight")}
            assert all((ups[k].sum(axis=1) == mine[k][:, 0]).all() for k in ups)


@pytest.mark.parametrize("id", ["wan21", "flux2_klein", "krea2", "ltx2", "sdxl", "sd15"])
def test_diffusers_own_loader_finds_every_layer_in_the_file_that_comfyui_reads(id):
    """Of pipelines that read more than their own names; the others are given just these."""
    import diffusers
    import torch

    spec = registry.get("families", id).SPEC
    offer = offers(spec, "lora", registry.get("adapters", "lora"))[0]
    assert offer.pipeline and offer.comfyui and offer.layout != "diffusers"
    chosen = {n: s for n, s in layers_of(id).items() if ends_on(n, spec.lora_targets["all"])}
    laid = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in laid_out(adapter(spec, chosen), {}, spec, offer.layout)[0].items()}
    more = {"unet_config": type("Config", (), {"layers_per_block": 2})} if spec.kohya else {}
    found = getattr(diffusers, spec.pipeline).lora_state_dict(laid, **more)
    state = found[0] if isinstance(found, tuple) else found
    if spec.kohya:
        from diffusers.utils import convert_unet_state_dict_to_peft

        state = {f"unet.{k}": v for k, v in convert_unet_state_dict_to_peft({k.removeprefix("unet."): v for k, v in state.items()}).items()}
    ups = {k.removeprefix(f"{spec.denoiser}.").removesuffix(".lora_B.weight"): v for k, v in state.items() if k.endswith(".lora_B.weight")}
    assert set(ups) == set(chosen)
    for number, (name, (out, *_)) in enumerate(chosen.items(), 1):
        assert ups[name].shape[0] == out and float(ups[name].flatten(1).sum(1).max()) == number


@pytest.mark.parametrize(("family", "kind", "word"), [
    ("sd15", "lora", ""), ("z_image", "dora", ""), ("lumina2", "lora", "two files, one for diffusers and one for ComfyUI"),
    ("sdxl", "dora", "two files, one for diffusers and one for ComfyUI and AUTOMATIC1111"), ("wan21", "lokr", "the loader of diffusers cannot load it"),
    ("lumina2", "lokr", "the loader of diffusers and ComfyUI cannot load it"), ("flux1", "oft", "is for peft"), ("sdxl", "full", "not a LoRA file"),
])  # fmt: skip
def test_what_a_program_cannot_load_is_said_before_the_start(family, kind, word):
    said = unread(registry.get("families", family).SPEC, kind, registry.get("adapters", kind))
    assert word in said and bool(word) == bool(said)
