"""A FLUX.1 Kontext of a few thousand weights."""

from pathlib import Path

from . import flux1
from .flux1 import PROMPTED, SIDE, SIZE, to_pipe  # noqa: F401 part of the toy

CALL = {"max_area": SIZE[0] * SIZE[1]}  # without which the public pipeline draws a million pixels


def build(folder: Path) -> Path:
    return flux1.build(folder, pipeline="FluxKontextPipeline")
