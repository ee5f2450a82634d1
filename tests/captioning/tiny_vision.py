"""Random image-text models of the real classes, some ten thousand weights each, with tokenizer, picture processor and chat template, as the Hub's repositories hold them."""

from __future__ import annotations

import json
from pathlib import Path

SIDE_PX = 56
WIDE = 64  # narrower layers are none that bitsandbytes packs
CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PLACE{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %} "
)
# as JoyCaption's: it takes words alone, and writes the place of the picture itself
OWN_PLACE = "{{ bos_token }}{% for message in messages %}PLACE{{ message['content'].strip() }}{% endfor %} "
PLACES = {"llava": "<image>", "gemma3": "<start_of_image>", "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>", "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>"}
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<start_of_image>", "<end_of_image>", "<image_soft_token>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def build(folder: Path, kind: str, own_place: bool = False) -> Path:
    """The folder with a model of a kind: a key of PLACES."""
    import torch
    from transformers import AutoModelForImageTextToText

    tokenizer, names = _tokenizer(kind)
    config, pictures = _made(kind, names)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    # random weights would as soon end at once, or say half a character: let them spell
    spelt = {names.index(letter) for letter in "abcdefghijklmnopqrstuvwxyzĠ"}
    model.generation_config.suppress_tokens = [i for i in range(len(names)) if i not in spelt]
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = names.index("</s>"), 0
    for part in (tokenizer, pictures, model):
        part.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text((OWN_PLACE if own_place else CHAT).replace("PLACE", PLACES[kind]))
    if kind == "llava":
        (folder / "processor_config.json").write_text(json.dumps({"processor_class": "LlavaProcessor", "patch_size": 14, "vision_feature_select_strategy": "full", "image_token": "<image>"}))
    if kind == "gemma3":
        (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Gemma3Processor", "image_seq_length": 4}))
    if kind.startswith("qwen"):  # theirs have it, and it asks for torchvision
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"image_processor_type": "Qwen2VLImageProcessorFast"}))  # so on the Hub
        (folder / "video_preprocessor_config.json").write_text(json.dumps({"video_processor_type": "Qwen3VLVideoProcessor" if kind == "qwen3_vl" else "Qwen2VLVideoProcessor"}))
    return folder


def _tokenizer(kind: str):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens(SPECIAL)
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"} if kind == "gemma3" else {}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", extra_special_tokens=named, model_max_length=4096
    )
    return tokenizer, names


def _made(kind: str, names: list[str]):
    """(config, picture processor) of a kind."""
    from transformers import (
        Gemma3Config,
        Gemma3ImageProcessor,
        LlavaConfig,
        Qwen2VLConfig,
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        SiglipImageProcessor,
    )

    at = names.index
    ends = {"bos_token_id": at("<s>"), "eos_token_id": at("</s>"), "pad_token_id": 0}
    text = {"vocab_size": len(names), "hidden_size": WIDE, "intermediate_size": WIDE, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": WIDE // 2, **ends}
    square = {"height": SIDE_PX, "width": SIDE_PX}
    siglip = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE_PX, "patch_size": 14, "vision_use_head": False}
    if kind == "llava":
        config = LlavaConfig(
            vision_config={"model_type": "siglip_vision_model", **siglip}, text_config={"model_type": "llama", **text},
            image_token_id=at("<image>"), vision_feature_select_strategy="full", vision_feature_layer=-2, image_seq_length=16,
        )  # fmt: skip
        return config, SiglipImageProcessor(size=square)
    if kind == "gemma3":
        config = Gemma3Config(
            vision_config=siglip, text_config={**text, "sliding_window": 32, "query_pre_attn_scalar": WIDE // 2}, mm_tokens_per_image=4,
            boi_token_index=at("<start_of_image>"), eoi_token_index=at("<end_of_image>"), image_token_index=at("<image_soft_token>"), **ends,
        )  # fmt: skip
        return config, Gemma3ImageProcessor(size=square)
    marks = {"image_token_id": at("<|image_pad|>"), "video_token_id": at("<|video_pad|>"), "vision_start_token_id": at("<|vision_start|>"), "vision_end_token_id": at("<|vision_end|>")}
    if kind == "qwen2_vl":
        config = Qwen2VLConfig(
            text_config={**text, "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0}},
            vision_config={"depth": 2, "embed_dim": 32, "hidden_size": WIDE, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14, "spatial_merge_size": 2}, **marks,
        )  # fmt: skip
        return config, Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=SIDE_PX**2)
    assert kind == "qwen3_vl"
    config = Qwen3VLConfig(
        text_config={**text, "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0}},
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "patch_size": 16, "out_hidden_size": WIDE, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]},
        **marks,
    )  # fmt: skip
    return config, Qwen2VLImageProcessor(min_pixels=32 * 32, max_pixels=64 * 64, patch_size=16)
