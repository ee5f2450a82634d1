"""LTX-2 (HaCohen et al. 2026, "LTX-2: Efficient Joint Audio-Visual Foundation Model"): diffusers' pipeline, of which the pictures are kept and the sound is not."""

from .pipeline import LTX2SilentPipeline

__all__ = ["LTX2SilentPipeline"]
