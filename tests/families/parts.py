"""Small random parts that several families have in common."""

from __future__ import annotations


def clip_config(tokenizer, **changes):
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        hidden_size=32, intermediate_size=40, num_attention_heads=4, num_hidden_layers=2, vocab_size=len(tokenizer), projection_dim=32,
        max_position_embeddings=tokenizer.model_max_length, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, **changes,
    )  # fmt: skip


def t5_encoder(tokenizer, width: int = 32):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=40, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return T5EncoderModel(config).eval()


def qwen3(tokenizer, cls: str = "Qwen3Model", layers: int = 3):
    import transformers

    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
    )  # fmt: skip
    return getattr(transformers, cls)(config).eval()


def qwen3_vl(tokenizer, layers: int = 3, patch: int = 4):
    """A Qwen3VLForConditionalGeneration of patches of `patch` px, four of which make a token."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = dict(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
        rope_parameters=dict(mrope_section=[2, 1, 1], rope_type="default", rope_theta=10000.0, mrope_interleaved=True),
    )  # fmt: skip
    vision = dict(
        depth=2, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=16, patch_size=patch, spatial_merge_size=2, temporal_patch_size=2,
        num_position_embeddings=16, deepstack_visual_indexes=[0, 1],
    )  # fmt: skip
    marks = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{mark}|>") for name, mark in (
        ("vision_start", "vision_start"), ("vision_end", "vision_end"), ("image", "image_pad"), ("video", "video_pad"),
    )}  # fmt: skip
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **marks)).eval()


def stir(module) -> None:
    """Makes of parameters that begin at zero, of norms and modulation, ones that do something."""
    import torch

    with torch.no_grad():
        for p in module.parameters():
            if not p.any():
                p.normal_(0, 0.1)


def kl_vae(channels: int = 4, scaling: float = 0.3611, shift: float | None = 0.1159, levels: int = 2, quant: bool = False, **changes):
    """An AutoencoderKL of 2 ** (levels - 1) px a latent cell."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * levels, layers_per_block=1, latent_channels=channels, norm_num_groups=4, sample_size=32,
        down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels,
        use_quant_conv=quant, use_post_quant_conv=quant, scaling_factor=scaling, shift_factor=shift, **changes,
    ).eval()  # fmt: skip


def flux2(guidance_embeds: bool):
    """(denoiser, autoencoder) of FLUX.2: 4 channels, 2 px a cell, of which 2 x 2 make one of the network's."""
    import torch
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    torch.manual_seed(0)
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=48,
        timestep_guidance_channels=32, axes_dims_rope=[4, 4, 4, 4], guidance_embeds=guidance_embeds,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        sample_size=32, block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, use_quant_conv=False, use_post_quant_conv=False,
    ).eval()  # fmt: skip
    with torch.no_grad():
        vae.bn.running_mean.normal_(0, 0.1)
        vae.bn.running_var.uniform_(0.5, 2)
    return transformer, vae
