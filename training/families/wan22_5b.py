"""Wan 2.2 TI2V-5B: the same network class as Wan 2.1 with a time for each token, over 48 channels of 16 x 16 px and 4 frames."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Placement
from . import wan21
from .wan21 import ATTENTION, FF, ORIGINALS, RELEASED, TIMESTEPS, draw_args, encode_image, encode_text, with_padding

__all__ = ["SPEC", "begun", "draw_args", "encode_image", "encode_text", "grid", "load", "pipeline", "predict"]

SPEC = FamilySpec(
    id="wan22_5b",
    title="Wan 2.2 TI2V 5B",
    default_source="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    elsewhere_called=("wan225b", "wan22ti2v5b", "wanti2v5b"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    latent=LatentSpec(channels=48, stride=16, patch=2, video=True, frame_stride=4),
    prediction="flow",
    shift={"flow_shift": 5.0},
    may_begin=True,
    divisor=32,
    side_px=704,
    architecture="wan-2.2-ti2v-5b",
    lora_targets={"attention": ATTENTION, "attention+ff": ATTENTION + FF, "all": ATTENTION + FF + ("proj_out",)},
    parameters=5.0e9,
    other_parameters=(5.68e9, 705e6),
    notes="Video clips and pictures at 24 frames a second, trained as text-to-video.",
    tags=("text-to-video", "wan"),
    pipeline="WanPipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=ORIGINALS,
    released=RELEASED,
    comfyui="comfyui",
    pipeline_reads_originals=True,
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    return wan21.load(folder, parts, place)


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,48,f,h,w]; t [B] in [0,1] -> noise - clean, [B,48,f,h,w].  Each token has its own time; in text-to-video all the same."""
    batch, _, frames, h, w = noisy.shape
    patch = m.denoiser.config.patch_size
    tokens = (frames // patch[0]) * (h // patch[1]) * (w // patch[2])
    times = (t * TIMESTEPS)[:, None].expand(batch, tokens)
    embeds = with_padding(cond.tensors["embeds"])
    return m.denoiser(hidden_states=noisy, timestep=times, encoder_hidden_states=embeds.to(noisy.dtype), return_dict=False)[0]


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import WanPipeline

    return WanPipeline(
        vae=m.vae, text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"), transformer=m.denoiser,
        scheduler=m.scheduler, expand_timesteps=True,
    )  # fmt: skip


def begun(m: Modules):
    """The pipeline that goes on from a picture: its latents stand in the first latent frame, whose tokens have the time 0."""
    from diffusers import WanImageToVideoPipeline

    return WanImageToVideoPipeline(
        vae=m.vae, text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"), transformer=m.denoiser,
        scheduler=m.scheduler, expand_timesteps=True,
    )  # fmt: skip


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint.  Raises ValueError for one of another family."""
    wan21.check_channels(configs, SPEC)
    stride = configs["vae"].get("scale_factor_spatial", SPEC.latent.stride)
    return stride, stride * configs["transformer"]["patch_size"][1]
