"""A toy OmniGen2 in the layout of the released repository: custom class names in model_index.json, a processor's folder, shards' names."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import WORDS

# as the released repository's files have them (OmniGen2/OmniGen2: model_index.json; scheduler: the published class's arguments)
INDEX = {
    "_class_name": "OmniGen2Pipeline",
    "_diffusers_version": "0.33.1",
    "mllm": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
    "processor": ["transformers", "Qwen2_5_VLProcessor"],
    "scheduler": ["scheduling_flow_match_euler_discrete", "FlowMatchEulerDiscreteScheduler"],
    "transformer": ["transformer_omnigen2", "OmniGen2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
SCHEDULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.33.1", "dynamic_time_shift": True, "num_train_timesteps": 1000}
TEXT_WIDTH = 16
SIDE, SIZE = 32, (32, 48)  # px of a square training picture; height, width of one that is not square


def build(folder: Path) -> Path:
    """A random OmniGen2 of some ten thousand weights in `folder`; 2 px a latent cell, sides divide by 4 px."""
    import torch
    from diffusers import AutoencoderKL

    from training.models.omnigen2 import OmniGen2Transformer2DModel

    tokens = tokenizer()
    torch.manual_seed(0)
    OmniGen2Transformer2DModel(
        in_channels=4, hidden_size=24, num_layers=2, num_refiner_layers=2, num_attention_heads=2, num_kv_heads=1, multiple_of=16,
        axes_dim_rope=(4, 4, 4), axes_lens=(1000, 64, 64), text_feat_dim=TEXT_WIDTH,
    ).save_pretrained(folder / "transformer")  # fmt: skip
    AutoencoderKL(
        block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, sample_size=32, scaling_factor=0.3611, shift_factor=0.1159,
        use_quant_conv=False, use_post_quant_conv=False,
    ).save_pretrained(folder / "vae")  # fmt: skip
    text_encoder(tokens).save_pretrained(folder / "mllm")
    tokens.save_pretrained(folder / "processor")
    (folder / "scheduler").mkdir()
    _write(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write(folder / "model_index.json", INDEX)
    return folder


def tokenizer():
    """A byte-level tokenizer with Qwen's special tokens and the plain form of its chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AddedToken, Qwen2Tokenizer

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(
        [WORDS + " system user You are a helpful assistant that generates high-quality images based on user instructions."] * 3,
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"], show_progress=False
        ),
    )
    model = json.loads(trained.to_str())["model"]
    made = Qwen2Tokenizer(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]], model_max_length=131072)
    extra = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    made.add_tokens([AddedToken(word, special=True) for word in extra], special_tokens=True)
    made.chat_template = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    return made


def text_encoder(tokens):
    """A Qwen2.5-VL of two layers."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    number = tokens.convert_tokens_to_ids
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=dict(
                vocab_size=len(tokens), hidden_size=TEXT_WIDTH, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
                bos_token_id=None, eos_token_id=0,
                rope_scaling=dict(mrope_section=[1, 1, 2], rope_type="default", type="default"),
            ),
            vision_config=dict(depth=2, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=TEXT_WIDTH, fullatt_block_indexes=[1]),
            vision_start_token_id=number("<|vision_start|>"), vision_end_token_id=number("<|vision_end|>"),
            image_token_id=number("<|image_pad|>"), video_token_id=number("<|video_pad|>"),
        )
    ).eval()  # fmt: skip


def _write(path: Path, data: dict) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")
