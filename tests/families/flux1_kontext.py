"""A FLUX.1 Kontext of a few thousand weights."""

from pathlib import Path

from . import flux1
from .flux1 import PROMPTED, SIDE, SIZE, to_pipe  # noqa: F401 part of the toy

CALL = {"max_area": 64 * 64}  # of whatever shape: without it the public pipeline draws a million pixels


def build(folder: Path) -> Path:
    return flux1.build(folder, pipeline="FluxKontextPipeline")


def shrink(put) -> None:
    """Small references, here and in diffusers' pipeline.  put(module, name, value)."""
    from diffusers.pipelines.flux import pipeline_flux_kontext as theirs

    from training.families import flux1_kontext as ours

    for module, name in ((ours, "PREFERRED"), (theirs, "PREFERRED_KONTEXT_RESOLUTIONS")):
        put(module, name, [(64, 80), (64, 64), (96, 64)])
