"""A FLUX.1 Kontext of a few thousand weights."""

from pathlib import Path

from . import flux1
from .flux1 import PROMPTED, SIDE, SIZE, to_pipe  # noqa: F401 part of the toy

CALL = {"max_area": SIZE[0] * SIZE[1]}  # without which the public pipeline draws a million pixels


def build(folder: Path) -> Path:
    return flux1.build(folder, pipeline="FluxKontextPipeline")


def shrink(put) -> None:
    """Small references, here and in diffusers' pipeline.  put(module, name, value)."""
    from diffusers.pipelines.flux import pipeline_flux_kontext as theirs

    from training.families import flux1_kontext as ours

    for module, name in ((ours, "PREFERRED"), (theirs, "PREFERRED_KONTEXT_RESOLUTIONS")):
        put(module, name, [(24, 48), (32, 32), (48, 24)])
