"""A Stable Diffusion 3.5 medium of a few thousand weights."""

from pathlib import Path

from tests import tiny

from . import parts, tokens

SIDE, SIZE = 32, (32, 48)


def build(folder: Path, dual: bool = True) -> Path:
    """dual: second attention in the first block, as in medium; large has none."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection

    clip, t5 = tiny.clip_tokenizer(), tokens.t5()
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=32, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4, qk_norm="rms_norm",
        caption_projection_dim=32, joint_attention_dim=72, pooled_projection_dim=64, pos_embed_max_size=32, dual_attention_layers=(0,) if dual else (),
    )  # fmt: skip
    StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=parts.kl_vae(16, 1.5305, 0.0609),
        text_encoder=CLIPTextModelWithProjection(parts.clip_config(clip)).eval(), tokenizer=clip,
        text_encoder_2=CLIPTextModelWithProjection(parts.clip_config(clip)).eval(), tokenizer_2=clip,
        text_encoder_3=parts.t5_encoder(t5, 72), tokenizer_3=t5,
    ).save_pretrained(folder)  # fmt: skip
    return folder
