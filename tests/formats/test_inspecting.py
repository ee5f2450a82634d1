"""What is in this file?"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.tools.files import BASE, CONV, STEM, UNET, dense, kohya
from training.formats.inspecting import block_of, inspect, told


def test_a_lora_tells_all_about_itself(tmp_path):
    file = kohya(tmp_path / "a.safetensors", (4, 8), 2, 1)
    found = inspect(file)
    assert (found.kind, found.layout, found.layers, found.ranks, found.alphas) == ("lora", "kohya", 3, {4: 2, 8: 1}, {2.0: 3})
    assert found.families == ["Stable Diffusion 1.5"] or "Stable Diffusion 1.5" in found.families
    assert found.trigger == "zibbo" and not found.odd and "ComfyUI" in found.readers
    strength = {b.name: b.strength for b in found.blocks}
    assert strength["down_blocks.1.attentions.0"] == pytest.approx(np.linalg.norm(dense(file)[STEM.format(1)]), rel=1e-5)
    assert strength["down_blocks.0.resnets.0"] == pytest.approx(np.linalg.norm(dense(file)[CONV]), rel=1e-5)
    assert "rank" in dict(told(found)) and dict(told(found))["trigger word"] == "zibbo"


def test_hashes_are_those_by_which_others_know_it(tmp_path):
    file = tmp_path / "large.safetensors"
    save_file({"unet.a.lora_A.weight": np.arange(400_000, dtype=np.float32).reshape(4, -1), "unet.a.lora_B.weight": np.ones((4, 4), np.float32)}, file)
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    hashes = inspect(file).hashes
    assert hashes["AutoV2"] == hashlib.sha256(data).hexdigest()[:10] and hashes["AutoV3"] == hashlib.sha256(data[start:]).hexdigest()[:12]
    assert hashes["AutoV1"] == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t | {f"{CONV}.lora_up.weight": np.full_like(t[f"{CONV}.lora_up.weight"], np.nan)}, "1 layer with numbers that are not finite"),
        (lambda t: {k: np.zeros_like(v) if "lora_up" in k else v for k, v in t.items()}, "every layer is zero: it does nothing"),
        (lambda t: t | {f"{CONV}.lora_up.weight": np.zeros_like(t[f"{CONV}.lora_up.weight"])}, "1 layer that does nothing"),
        (lambda t: t | {"some.where.diff_b": np.zeros(3, np.float32)}, "also holds changes to biases"),
        (lambda t: t | {"lora_unet_no_such_layer.lora_down.weight": np.ones((2, 4), np.float32), "lora_unet_no_such_layer.lora_up.weight": np.ones((4, 2), np.float32)}, "of no family that is known here; Stable Diffusion .* has 3 of its 4 layers"),
    ],
)  # fmt: skip
def test_what_is_suspicious_is_said(tmp_path, change, sentence):
    import re

    file = kohya(tmp_path / "a.safetensors", (4, 8), 2, 1)
    tensors = {k: np.atleast_1d(v) if v.ndim == 0 else v for k, v in load_file(file).items()}
    save_file(change(tensors), file)
    assert any(re.search(sentence, text) for text in inspect(file).odd), inspect(file).odd


def test_a_changed_file_is_told_from_its_own_hash(tmp_path, tool):
    made = tool("scale", adapter=str(kohya(tmp_path / "a.safetensors", (4,), 4, 1)), strength=2.0).result()
    assert not any("hash" in text for text in inspect(made).odd)
    data = bytearray(made.read_bytes())
    data[-20] ^= 1
    (tmp_path / "b.safetensors").write_bytes(data)
    assert any("changed after it was made, or is damaged" in text for text in inspect(tmp_path / "b.safetensors").odd)


def test_a_base_model_is_no_adapter_and_anything_else_is_a_sentence(tmp_path):
    assert inspect(BASE / UNET).odd == ["this holds no adapter; it looks like a network's own weights"]
    (tmp_path / "a.safetensors").write_bytes(b"<html>login</html>" * 20)
    with pytest.raises(ValueError, match="is a web page, not weights"):
        inspect(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("stem", "block"),
    [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", "down_blocks.1.attentions.0"),
        ("unet.mid_block.attentions.0.proj_in", "mid_block.attentions.0"), ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "input_blocks.4.1"),
        ("diffusion_model.double_blocks.12.img_attn.qkv", "double_blocks.12"), ("transformer.single_transformer_blocks.3.proj_out", "single_transformer_blocks.3"),
        ("transformer.layers.7.attention.to_q", "layers.7"), ("lora_te1_text_model_encoder_layers_4_mlp_fc1", "text_encoder.layers.4"),
        ("lora_te2_text_model_encoder_layers_4_mlp_fc1", "text_encoder_2.layers.4"), ("text_encoder.text_model.encoder.layers.4.mlp.fc1", "text_encoder.layers.4"),
        ("diffusion_model.final_layer.linear", "others"),
    ],
)  # fmt: skip
def test_blocks_have_readable_names(stem, block):
    assert block_of(stem) == block
