"""Qwen-Image: two streams, picture patches and Qwen2.5-VL's hidden states; a video autoencoder that is given one frame."""

from __future__ import annotations

import math
from pathlib import Path

from ..family import Beside, FamilySpec, Modules, Placement, Speed
from ..models import qwen_image
from ..models.qwen_image import draw_args, encode_image, grid, predict  # noqa: F401 part of the family

TOKENS = 512  # QwenImagePipeline's default, without the template's head
HEAD = 34  # tokens of the template before the caption, which the pipeline drops

SPEC = FamilySpec(
    id="qwen_image",
    title="Qwen-Image",
    default_source="Qwen/Qwen-Image",
    elsewhere_called=("qwen", "qwenimage", "qwenimage2512"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Qwen/Qwen-Image/blob/main/LICENSE",
    latent=qwen_image.LATENT,
    prediction="flow",
    shift=qwen_image.SHIFT,
    divisor=16,
    side_px=1024,
    architecture="qwen-image",
    lora_targets=qwen_image.LORA_TARGETS,
    parameters=20.4e9,
    other_parameters=(8.3e9, 127e6),
    notes="Large; writes text into pictures, in English and Chinese. Also Qwen-Image-2512.",
    tags=("qwen-image", "text-to-image"),
    blocks=qwen_image.BLOCKS,
    speed={  # its model card: a shift of 3 whatever the picture's size
        "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V1.1.safetensors": Speed(8, 1, settings={"base_shift": math.log(3), "max_shift": math.log(3), "shift_terminal": None}),
    },
    pipeline="QwenImagePipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=qwen_image.ORIGINALS,
    comfyui="diffusers",
    beside={"controlnet": Beside("QwenImageControlNetModel", "QwenImageControlNetPipeline", "controlnet", "control_image", "latents", layers={"num_layers": 5})},
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from ..engine.weights import load_scheduler

    m = qwen_image.load(Modules(place.dtype, scheduler=load_scheduler(folder)), folder, parts, place)
    if tokenizer := m.tokenizers.get("text_encoder"):
        around = len(tokenizer(pipeline(m).prompt_template_encode.format("")).input_ids)
        tokenizer.model_max_length = TOKENS + HEAD - around  # what is left for a caption
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds [L,D], mask [L]: only the caption's own tokens and the template's end, however many."""
    embeds, mask = pipeline(m)._get_qwen_prompt_embeds(captions, m.text_encoders["text_encoder"].device)
    rows = [e[k.bool()][:TOKENS] for e, k in zip(embeds, mask, strict=True)]
    return [{"embeds": e, "mask": e.new_ones(len(e)).bool()} for e in rows]


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import QwenImagePipeline

    return QwenImagePipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae,
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
    )  # fmt: skip
