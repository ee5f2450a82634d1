"""Anima in the shape of an ordinary pipeline: diffusers has it in blocks alone, and its network there wants torchvision."""

from .pipeline import AnimaPipeline
from .transformer import CosmosTransformer3DModel

__all__ = ["AnimaPipeline", "CosmosTransformer3DModel"]
