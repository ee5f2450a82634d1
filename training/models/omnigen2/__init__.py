"""OmniGen2 (Wu et al. 2025, "OmniGen2: Exploration to Advanced Multimodal Generation", arXiv 2506.18871): transformer and pipeline."""

from .pipeline import OmniGen2Pipeline
from .transformer import OmniGen2Transformer2DModel

__all__ = ["OmniGen2Pipeline", "OmniGen2Transformer2DModel"]
