"""Wan 2.2 T2V-A14B: two networks of Wan 2.1's class, one for much noise and one for little, over Wan 2.1's text encoder and VAE."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, Expert, FamilySpec, LatentSpec, Modules, Placement
from . import wan21
from .wan21 import ATTENTION, CHANNELS, FF, ORIGINALS, RELEASED, STRIDE_PX, TIMESTEPS, draw_args, encode_image, encode_text

__all__ = ["SPEC", "draw_args", "encode_image", "encode_text", "grid", "load", "pipeline", "predict"]

# transformer is asked from boundary_ratio on (diffusers, pipeline_wan.py); the files are called as Comfy-Org's and ai-toolkit's are
EXPERTS = (
    Expert("transformer", "high", "_high_noise"),
    Expert("transformer_2", "low", "_low_noise", asked="load_into_transformer_2"),
)
ELSEWHERE = (
    "ComfyUI draws Wan 2.2 with two models, and each takes the file of its own noise: `_high_noise` goes on the high noise model, `_low_noise` on the low noise model."
)

SPEC = FamilySpec(
    id="wan22_a14b",
    title="Wan 2.2 T2V A14B",
    default_source="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    elsewhere_called=("wan2214b", "wan2214bt2v", "wan22t2va14b", "wan22a14b", "want2va14b"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    latent=LatentSpec(channels=CHANNELS, stride=STRIDE_PX, patch=2, video=True, frame_stride=4),
    prediction="flow",
    shift={"flow_shift": 3.0},
    divisor=16,
    side_px=480,
    architecture="wan-2.2-t2v-a14b",
    lora_targets={"attention": ATTENTION, "attention+ff": ATTENTION + FF, "all": ATTENTION + FF + ("proj_out",)},
    parameters=14.29e9,
    other_parameters=(5.68e9, 127e6),
    notes="Video clips and pictures. Two denoisers of 14 billion weights each, one for composition and movement, one for looks: a LoRA is two files.",
    tags=("text-to-video", "wan"),
    pipeline="WanPipeline",
    parts={"denoiser": tuple(e.folder for e in EXPERTS), "text": ("text_encoder",), "vae": ("vae",)},
    elsewhere=ELSEWHERE,
    originals=ORIGINALS,
    released=RELEASED,
    comfyui="comfyui",
    pipeline_reads_originals=True,
    experts=EXPERTS,
    boundary=0.875,  # of model_index.json; Wan-Video/Wan2.2, wan/configs/wan_t2v_A14B.py
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout, both denoisers together; the scheduler always."""
    from diffusers import WanTransformer3DModel

    from ..engine.experts import Experts
    from ..engine.weights import load_part
    from ..formats.basemodel import boundary_in

    boundary = boundary_in(folder, SPEC)
    m = wan21.load_beside(folder, parts, place)
    m.index = {"boundary_ratio": boundary}
    if SPEC.denoiser in parts:
        m.denoiser = Experts({e.folder: load_part(WanTransformer3DModel, folder / e.folder, place) for e in EXPERTS}, boundary * TIMESTEPS)
    return m


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,C,f,h,w]; t [B] in [0,1] -> noise - clean, [B,C,f,h,w], of the denoiser whose level each row has."""
    return wan21.predict(m, noisy, t, cond)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import WanPipeline

    return WanPipeline(
        vae=m.vae, text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"), scheduler=m.scheduler,
        boundary_ratio=m.index["boundary_ratio"], **{e.folder: getattr(m.denoiser, e.folder, None) for e in EXPERTS},
    )  # fmt: skip


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint.  Raises ValueError for one of another family."""
    wan21.check_channels(configs, SPEC)
    stride = configs["vae"].get("scale_factor_spatial", STRIDE_PX)
    return stride, stride * configs["transformer"]["patch_size"][1]
