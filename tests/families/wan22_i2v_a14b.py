"""A Wan 2.2 I2V-A14B of a few thousand weights: two denoisers that are shown the first frame as latents."""

from functools import partial
from pathlib import Path

from . import wan21
from .wan21 import FIRST_T, FRAMES, JOB, SIDE, SIZE, dataset
from .wan21_i2v import TAKEN, mend, shown

__all__ = ["ALIKE", "FIRST_T", "FRAMES", "JOB", "SIDE", "SIZE", "build", "dataset", "mend", "shown"]

ALIKE = "wan22_a14b and wan21_i2v"


def build(folder: Path) -> Path:
    import torch

    torch.manual_seed(1)  # the second denoiser is another than the first
    network = partial(wan21.transformer, taken=TAKEN, layers=1)
    return wan21.pipeline(folder, 16, wan21.vae(), network, "WanImageToVideoPipeline", transformer_2=network(16), boundary_ratio=0.9)
