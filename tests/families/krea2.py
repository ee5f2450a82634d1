"""A Krea 2 of a few thousand weights."""

from pathlib import Path

from . import parts, tokens

SIDE, SIZE = 32, (32, 48)
PROMPTED = {"negative_prompt": ""}
TRIMMED = True  # the pipeline pads every caption to 512 tokens and hides them


def build(folder: Path) -> Path:
    import torch
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel

    qwen = tokens.qwen2()
    torch.manual_seed(0)
    transformer = Krea2Transformer2DModel(
        in_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=2, num_key_value_heads=1, intermediate_size=32, timestep_embed_dim=16,
        text_hidden_dim=16, num_text_layers=3, text_num_attention_heads=2, text_num_key_value_heads=2, text_intermediate_size=16,
        num_layerwise_text_blocks=1, num_refiner_text_blocks=1, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    parts.stir(transformer)
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.5, 1.0, 2.0],
    ).eval()  # fmt: skip
    with torch.no_grad():
        vae.quant_conv.bias[4:] = -8.0  # sure of a picture's latents, as a trained one is: bf16 draws other numbers
    Krea2Pipeline(
        transformer=transformer, vae=vae, text_encoder=parts.qwen3_vl(qwen).model, tokenizer=qwen, text_encoder_select_layers=[0, 1, 2],
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=6400,
        ),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def to_pipe(m, x):
    """Latents [B,C,h,w] as the pipeline holds them."""
    batch, channels, h, w = x.shape
    return x.view(batch, channels, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(batch, h // 2 * (w // 2), channels * 4)
