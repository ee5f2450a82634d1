"""A Wan 2.2 T2V-A14B of a few thousand weights: two denoisers of one block over a toy of Wan 2.1's parts."""

from functools import partial
from pathlib import Path

from . import wan21
from .wan21 import FIRST_T, FRAMES, JOB, SIDE, SIZE, dataset

__all__ = ["ALIKE", "FIRST_T", "FRAMES", "JOB", "SIDE", "SIZE", "build", "dataset"]

ALIKE = "wan21"


def build(folder: Path) -> Path:
    import torch

    torch.manual_seed(1)  # the second denoiser is another than the first
    network = partial(wan21.transformer, layers=1)
    return wan21.pipeline(folder, 16, wan21.vae(), network, transformer_2=network(16), boundary_ratio=0.875)
