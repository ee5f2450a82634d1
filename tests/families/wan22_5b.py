"""A Wan 2.2 TI2V-5B of a few thousand weights; its VAE sees 2 x 2 px as one, as the released one does: 4 px a latent cell."""

from pathlib import Path

from . import wan21
from .wan21 import FIRST_T, FRAMES, JOB, SIDE, SIZE, dataset

__all__ = ["FIRST_T", "FRAMES", "JOB", "SIDE", "SIZE", "build", "dataset"]


def build(folder: Path) -> Path:
    from diffusers import AutoencoderKLWan

    vae = AutoencoderKLWan(
        base_dim=3, z_dim=48, in_channels=12, out_channels=12, is_residual=True, patch_size=2, latents_mean=[0.1] * 48, latents_std=[1.5] * 48,
        dim_mult=[1, 1, 1], num_res_blocks=1, scale_factor_spatial=8, scale_factor_temporal=4, temperal_downsample=[True, True],
    )  # fmt: skip
    return wan21.pipeline(folder, 48, vae, expand_timesteps=True)
