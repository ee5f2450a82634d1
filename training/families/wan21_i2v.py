"""Wan 2.1 image-to-video, 14B: Wan 2.1's network that is also shown the clip's first frame, as latents and as a CLIP image encoder sees it."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Original, Placement
from ..models import wan
from ..models.wan import EYE, encode_first
from . import wan21
from .wan21 import ATTENTION, CHANNELS, FF, ORIGINALS, RELEASED, STRIDE_PX, TIMESTEPS, draw_args, encode_image, encode_text, with_padding

__all__ = ["SPEC", "draw_args", "encode_first", "encode_image", "encode_text", "grid", "load", "pipeline", "predict"]

LARGE = "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers"
# github.com/Wan-Video/Wan2.1, wan/modules/model.py: WanI2VCrossAttention and MLPProj
SEEING = ("add_k_proj", "add_v_proj")

SPEC = FamilySpec(
    id="wan21_i2v",
    title="Wan 2.1 image-to-video",
    default_source="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    elsewhere_called=("wan21i2v", "wan21i2v14b", "wani2v"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    latent=LatentSpec(channels=CHANNELS, stride=STRIDE_PX, patch=2, video=True, frame_stride=4),
    prediction="flow",
    shift={"flow_shift": 3.0},
    divisor=16,
    side_px=480,
    architecture="wan-2.1-i2v",
    lora_targets={"attention": ATTENTION + SEEING, "attention+ff": ATTENTION + SEEING + FF, "all": ATTENTION + SEEING + FF + ("proj_out",)},
    parameters=16.4e9,
    other_parameters=(5.68e9, 759e6),  # of the VAE 127 million, of the image encoder 632
    titles={LARGE: "Wan 2.1 image-to-video 720p"},
    notes="Makes a clip from its first frame. Learns clips alone; each one's own first frame is what it is shown.",
    tags=("image-to-video", "wan"),
    pipeline="WanImageToVideoPipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",), "eye": (EYE,)},
    originals=(*ORIGINALS, Original("blocks.{n}.cross_attn.k_img", ("blocks.{n}.attn2.add_k_proj",)), Original("blocks.{n}.cross_attn.v_img", ("blocks.{n}.attn2.add_v_proj",))),
    released=(
        *RELEASED, ("blocks.{n}.attn2.norm_added_k", "blocks.{n}.cross_attn.norm_k_img"),
        *((f"condition_embedder.image_embedder.{ours}", f"img_emb.proj.{theirs}") for ours, theirs in (("norm1", 0), ("ff.net.0.proj", 1), ("ff.net.2", 3), ("norm2", 4))),
    ),
    comfyui="comfyui",
    pipeline_reads_originals=True,
    first_frame=True,
)  # fmt: skip


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    m = wan21.load(folder, parts, place)
    if EYE in parts:
        wan.load_eye(m, folder, place)
    return m


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,C,f,h,w]; t [B] in [0,1] -> noise - clean, [B,C,f,h,w]."""
    return wan.predict(m, noisy, t * TIMESTEPS, with_padding(cond.tensors["embeds"]), cond)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    return wan.pipeline(m, transformer=m.denoiser)


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint.  Raises ValueError for one of another family."""
    wan.check_channels(configs, SPEC, eyed=True)
    stride = configs["vae"].get("scale_factor_spatial", STRIDE_PX)
    return stride, stride * configs["transformer"]["patch_size"][1]
