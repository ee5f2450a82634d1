"""Wan 2.2 I2V-A14B: two denoisers by noise level that are shown the clip's first frame as latents; no image encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..family import Cond, Modules, Placement
from ..models import wan
from ..models.wan import encode_first
from . import wan22_a14b
from .wan21 import STRIDE_PX, TIMESTEPS, draw_args, encode_image, encode_text, with_padding
from .wan22_a14b import EXPERTS

__all__ = ["SPEC", "draw_args", "encode_first", "encode_image", "encode_text", "grid", "load", "pipeline", "predict"]

SPEC = replace(
    wan22_a14b.SPEC,
    id="wan22_i2v_a14b",
    title="Wan 2.2 I2V A14B",
    default_source="Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    elsewhere_called=("wan2214bi2v", "wan22i2va14b", "wani2va14b"),
    licence_url="https://huggingface.co/Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    shift={"flow_shift": 3.0},
    architecture="wan-2.2-i2v-a14b",
    notes="Makes a clip from its first frame. Learns clips alone, each from its own first frame; two denoisers, so a LoRA is two files.",
    tags=("image-to-video", "wan"),
    pipeline="WanImageToVideoPipeline",
    boundary=0.9,  # of model_index.json; Wan-Video/Wan2.2, wan/configs/wan_i2v_A14B.py
    first_frame=True,
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout, both denoisers together; the scheduler always."""
    return wan22_a14b.load(folder, parts, place)


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,C,f,h,w]; t [B] in [0,1] -> noise - clean, [B,C,f,h,w], of the denoiser whose level each row has."""
    return wan.predict(m, noisy, t * TIMESTEPS, with_padding(cond.tensors["embeds"]), cond)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    return wan.pipeline(m, boundary_ratio=m.index["boundary_ratio"], **{e.folder: getattr(m.denoiser, e.folder, None) for e in EXPERTS})


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint.  Raises ValueError for one of another family."""
    wan.check_channels(configs, SPEC, eyed=False)
    stride = configs["vae"].get("scale_factor_spatial", STRIDE_PX)
    return stride, stride * configs["transformer"]["patch_size"][1]
