"""For whom a file is, told from full-size lists of each first release's layers."""

from __future__ import annotations

import pytest

from tests.formats.test_released import MODELS
from training import registry
from training.formats.recognise import families_of, one_family, stems_of

# one network, other sizes or other checkpoints
PAIRS = (("flux2", "flux2_klein"), ("wan21", "wan22_5b", "wan22_a14b"), ("flux1", "flux1_kontext"), ("qwen_image", "qwen_image_edit"))
TWINS = {id: set(pair) for pair in PAIRS for id in pair}
WANS = {"wan21", "wan21_i2v", "wan22_5b", "wan22_a14b", "wan22_i2v_a14b"}
TWINS |= dict.fromkeys(WANS - {"wan21_i2v"}, WANS)


def ids(names, said=None) -> set[str]:
    return {s.id for s in families_of(names, said or {})}


@pytest.mark.parametrize("id", MODELS)
def test_every_family_is_told_from_its_layers_whatever_the_layout(id):
    layers, spec = list(MODELS[id][2]()), registry.get("families", id).SPEC
    alike = TWINS.get(id, {id})
    assert ids(f"diffusion_model.{n}.lora_A.weight" for n in layers) == alike
    assert ids(f"lora_unet_{n.replace('.', '_')}.lora_down.weight" for n in layers) == alike
    parts = [p.replace("{n}", "1") for o in spec.originals for p in o.parts]
    assert not parts or id in ids(f"{spec.denoiser}.{p}.lora_A.weight" for p in parts)
    assert ids((f"diffusion_model.{n}.lora_A.weight" for n in layers), {"modelspec.architecture": f"{spec.architecture}/lora"}) == {id}


def test_a_file_for_nobody_is_for_nobody():
    assert ids(["some.layer.lora_A.weight"]) == set()
    assert ids(["lora_te3_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight"]) == set()
    with pytest.raises(ValueError, match="has layers of no family that is known here; say which"):
        one_family(["some.layer.lora_A.weight"], {}, "")
    with pytest.raises(ValueError, match=r"may be for FLUX.2 .* or FLUX.2 .*; say which"):
        one_family(["transformer.single_transformer_blocks.0.attn.to_out.lora_A.weight"], {}, "")


def test_a_matrix_that_comfyui_joined_is_known():
    assert ids(["diffusion_model.transformer_blocks.0.img_mlp.gate_up.lora_A.weight"]) == {"qwen_image21"}
    assert ids(["diffusion_model.transformer_blocks.0.img_mlp.gate_up.lora_A.weight", "diffusion_model.transformer_blocks.0.attn.to_q.lora_A.weight"]) == {"qwen_image21"}


def test_what_stands_in_a_file_twice_is_one_layer():
    assert stems_of(["transformer.a.lora_A.weight", "transformer.a.lora_B.weight", "lora_unet_a.lora_A.weight"]) == ["transformer.a"]


@pytest.mark.parametrize(("first", "second"), [("flux1", "flux1_kontext"), ("qwen_image", "qwen_image_edit")])
def test_what_fits_an_edit_model_too_is_for_the_one_that_draws_from_words(first, second):
    names = [f"transformer.{part.replace('{n}', '1')}.lora_A.weight" for o in registry.get("families", first).SPEC.originals for part in o.parts]
    assert ids(names) == {first, second} and one_family(names, {}, "").id == first
    assert one_family(names, {}, second).id == second
