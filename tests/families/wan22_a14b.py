"""A Wan 2.2 T2V-A14B of a few thousand weights: two denoisers over a toy of Wan 2.1's parts."""

from pathlib import Path

from . import wan21
from .wan21 import FIRST_T, FRAMES, JOB, SIDE, SIZE, dataset

__all__ = ["ALIKE", "FIRST_T", "FRAMES", "JOB", "SIDE", "SIZE", "build", "dataset"]

ALIKE = "wan21"


def build(folder: Path) -> Path:
    import torch

    from training.families.wan22_a14b import SPEC

    torch.manual_seed(1)  # the second denoiser is another than the first
    return wan21.pipeline(folder, 16, wan21.vae(), layers=1, transformer_2=wan21.transformer(16, layers=1), boundary_ratio=SPEC.boundary)
