"""What a model family is: frozen data, and a handful of functions.  One file each in training/families.

All conventions are fixed once (docs/conventions.md): pixels in [-1, 1]; latents [B,C,h,w] normalised with the VAE's own
shift and scale; t in [0, 1] with 1 = pure noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@dataclass(frozen=True)
class LatentSpec:
    """The latent space of a family."""

    channels: int
    stride: int  # px per latent cell; a checkpoint's own VAE may differ, the loaded modules say
    video: bool = False


@dataclass(frozen=True)
class FamilySpec:
    """Frozen facts about a family; readable without torch."""

    id: str
    title: str
    default_source: str
    licence: str  # SPDX-like id as the Hub writes it, e.g. "creativeml-openrail-m"
    licence_url: str
    latent: LatentSpec
    prediction: Literal["scheduler", "flow"]  # "scheduler": epsilon or v, from the checkpoint's own scheduler config
    divisor: int  # px; sides of a training picture divide by it
    side_px: int  # usual side of a training picture
    architecture: str  # modelspec.architecture, e.g. "stable-diffusion-v1"
    lora_targets: dict[str, tuple[str, ...]]  # group -> module-name suffixes: "attention", "attention+ff", "all"
    parameters: float  # of the denoiser, rough, for estimates before the weights are there
    pipeline: str  # diffusers' pipeline class, as model_index.json names it
    parts: dict[str, tuple[str, ...]]  # "denoiser" | "text" | "vae" -> folders of the diffusers layout that hold its weights
    notes: str = ""
    tags: tuple[str, ...] = field(default=())


class Family(Protocol):
    """What a family's file offers besides SPEC.  `m` is the Modules that load() gave."""

    SPEC: FamilySpec

    def load(self, folder: Path, parts: set[str], dtype, device) -> Modules:
        """Named modules from a folder in diffusers layout.  parts: any of "denoiser", "text", "vae"; tokenizers and the
        scheduler always come.  Frozen, in eval mode, on `device`.  Raises ValueError in plain words."""

    def encode_text(self, m: Modules, captions: list[str]) -> Cond:
        """One Cond for all captions, each tensor [B, ...]."""

    def encode_image(self, m: Modules, pixels: Tensor, generator) -> Tensor:
        """pixels [B,3,H,W] in [-1,1] -> latents [B,C,h,w], normalised."""

    def predict(self, m: Modules, noisy: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """noisy [B,C,h,w]; t [B]: integer timesteps for "scheduler" families, [0,1] for flow.  Same shape as noisy."""

    def pipeline(self, m: Modules) -> Any:
        """The family's diffusers pipeline over the same modules, ready to draw from prompt embeddings."""

    def draw_args(self, cond: Cond, negative: Cond) -> dict:
        """Keyword arguments that feed cached text to the pipeline's call."""

    def grid(self, configs: dict[str, dict]) -> tuple[int, int]:
        """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""


@dataclass
class Modules:
    """Named modules of a loaded model.  A part that was not asked for, or was freed, is None."""

    denoiser: Any = None
    vae: Any = None
    text_encoders: list = field(default_factory=list)
    tokenizers: list = field(default_factory=list)
    scheduler: Any = None
    denoiser_name: str = "unet"  # the pipeline's own name for it: the prefix of a saved LoRA's keys


@dataclass
class Cond:
    """Text conditioning.  tensors: name -> [B, ...], on one device; what the names mean is the family's own affair."""

    tensors: dict[str, Tensor]
