"""A Qwen-Image of a few thousand weights."""

from pathlib import Path

from . import tokens

SIDE, SIZE = 32, (32, 48)
PROMPTED = {"negative_prompt": ""}  # without one the pipeline does not guide


def build(folder: Path, zero_cond_t: bool = False) -> Path:
    import torch
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    qwen = tokens.qwen2()
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3, joint_attention_dim=16,
        guidance_embeds=False, axes_dims_rope=(8, 4, 4), zero_cond_t=zero_cond_t,
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.5, 1.0, 2.0],
    ).eval()  # fmt: skip
    text = dict(
        vocab_size=len(qwen), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        rope_scaling=dict(mrope_section=[1, 1, 2], rope_type="default", type="default"),
    )  # fmt: skip
    vision = dict(depth=2, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=16, fullatt_block_indexes=[1])
    marks = {f"{name}_token_id": qwen.convert_tokens_to_ids(f"<|{mark}|>") for name, mark in (
        ("vision_start", "vision_start"), ("vision_end", "vision_end"), ("image", "image_pad"), ("video", "video_pad"),
    )}  # fmt: skip
    QwenImagePipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.02), vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **marks)).eval(), tokenizer=qwen,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def to_pipe(m, x):
    """Latents [B,C,h,w] as the pipeline holds them."""
    from diffusers import QwenImagePipeline

    return QwenImagePipeline._pack_latents(x, *x.shape)
