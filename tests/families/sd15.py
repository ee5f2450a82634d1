"""A Stable Diffusion 1.5 of a few thousand weights."""

from pathlib import Path

from tests import tiny

SIDE, SIZE = 32, (32, 48)  # a square side; a size that is not square (height, width); px


def build(folder: Path, prediction_type: str = "epsilon") -> Path:
    return tiny.sd15(folder, prediction_type)
