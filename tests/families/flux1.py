"""A FLUX.1 dev of a few thousand weights."""

from pathlib import Path

from tests import tiny

from . import parts, tokens

SIDE, SIZE = 32, (32, 48)
PROMPTED = {"max_sequence_length": 48}  # of the toy's tokenizer


def build(folder: Path, guidance_embeds: bool = True, pipeline: str = "FluxPipeline") -> Path:
    import diffusers
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    from transformers import CLIPTextModel

    clip, t5 = tiny.clip_tokenizer(), tokens.t5()
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8], guidance_embeds=guidance_embeds,
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, shift=3.0, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096
    )
    getattr(diffusers, pipeline)(
        transformer=transformer, scheduler=scheduler, vae=parts.kl_vae(4), text_encoder=CLIPTextModel(parts.clip_config(clip)).eval(),
        tokenizer=clip, text_encoder_2=parts.t5_encoder(t5), tokenizer_2=t5,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def to_pipe(m, x):
    """Latents [B,C,h,w] as the pipeline holds them."""
    from diffusers import FluxPipeline

    return FluxPipeline._pack_latents(x, *x.shape)
