"""Stable Diffusion 1.x of which only the layers learn that look at the caption: how words steer, hardly how things look."""

from __future__ import annotations

from dataclasses import replace

from training.families import sd15
from training.families.sd15 import draw_args, encode_image, encode_text, grid, load, pipeline, predict

EASEL_API = 1
__all__ = ["EASEL_API", "SPEC", "draw_args", "encode_image", "encode_text", "grid", "load", "pipeline", "predict"]

_READING = ("attn2.to_k", "attn2.to_v")
_ANSWERING = (*_READING, "attn2.to_q", "attn2.to_out.0")

SPEC = replace(
    sd15.SPEC,
    id="sd15_words",  # the file's name
    title="SD 1.5, words only",
    lora_targets={"attention": _READING, "attention+ff": _ANSWERING, "all": _ANSWERING},
    notes="Cross-attention alone learns: small files, and what is drawn stays much as it was.",
)
