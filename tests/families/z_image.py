"""A Z-Image of a few thousand weights."""

from pathlib import Path

from . import parts, tokens

SIDE, SIZE = 32, (32, 48)


def build(folder: Path) -> Path:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

    qwen = tokens.qwen2()
    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        qk_norm=True, cap_feat_dim=16, rope_theta=256.0, t_scale=1000.0, axes_dims=[8, 4, 4], axes_lens=[256, 32, 32],
    )  # fmt: skip
    with torch.no_grad():  # torch.empty as they are made
        transformer.x_pad_token.normal_(0, 0.02)
        transformer.cap_pad_token.normal_(0, 0.02)
    ZImagePipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=parts.kl_vae(16),
        text_encoder=parts.qwen3(qwen), tokenizer=qwen,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def as_answer(m, x):
    """What the denoiser gives: a list of pictures with one frame."""
    return (list(x.unsqueeze(2)),)
