"""FLUX.2 klein, 4B and 9B: FLUX.2's network made small, reading three layers of Qwen3."""

from __future__ import annotations

import json
from pathlib import Path

from ..family import Cond, FamilySpec, Modules, Placement, References, references_of
from ..models import flux2
from ..models.flux2 import TOKENS, grid, reference_size  # noqa: F401 part of the family

SPEC = FamilySpec(
    id="flux2_klein",
    title="FLUX.2 klein",
    default_source="black-forest-labs/FLUX.2-klein-base-4B",
    elsewhere_called=("flux2klein", "flux2klein4b"),
    titles={"black-forest-labs/FLUX.2-klein-base-9B": "FLUX.2 klein 9B"},
    licence="other",  # of 9B, and so of whatever is not known to be one of Apache's
    licence_url="https://huggingface.co/black-forest-labs/FLUX.2-klein-base-9B",
    licences={id: ("apache-2.0", f"https://huggingface.co/{id}") for id in ("black-forest-labs/FLUX.2-klein-base-4B", "black-forest-labs/FLUX.2-klein-4B")},
    latent=flux2.LATENT,
    prediction="flow",
    shift={"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096},
    divisor=16,
    side_px=1024,
    architecture="flux-2-klein",
    lora_targets=flux2.LORA_TARGETS,
    parameters=3.9e9,
    other_parameters=(4.02e9, 84e6),
    sizes={id: (9.08e9, 8.19e9) for id in ("black-forest-labs/FLUX.2-klein-base-9B", "black-forest-labs/FLUX.2-klein-9B")},
    notes=(
        "Train on a base: FLUX.2-klein-base-4B (Apache-2.0) or FLUX.2-klein-base-9B (a licence to accept on the Hub, not for commercial use). "
        "The LoRA also fits FLUX.2-klein-4B or -9B, which are distilled to four steps."
    ),
    tags=("flux", "flux-2", "text-to-image"),
    blocks=flux2.BLOCKS,
    pipeline="Flux2KleinPipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=flux2.ORIGINALS,
    released=flux2.RELEASED,
    comfyui="diffusers",
    pipeline_loads=("lora", "dora", "lokr"),
    comfyui_lacks=flux2.MODULATION,
    pipeline_reads_originals=True,
    references=References(most=4, cuts=True),  # docs.bfl.ml, image editing overview; the call itself has no limit
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    from ..engine.weights import load_part, load_scheduler

    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    m = flux2.load(Modules(place.dtype, scheduler=load_scheduler(folder), index=index), folder, parts, place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Qwen3ForCausalLM, folder / "text_encoder", place)
        tokenizer = m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        around = tokenizer.apply_chat_template([{"role": "user", "content": ""}], tokenize=False, add_generation_prompt=True, enable_thinking=False)
        tokenizer.model_max_length = TOKENS - len(tokenizer(around).input_ids)  # what is left for a caption
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds [L,D] of three layers side by side, padded to the full length, as the pipeline does."""
    pipe = pipeline(m)
    return [{"embeds": e} for e in pipe.encode_prompt(captions, pipe.text_encoder.device, max_sequence_length=TOKENS)[0]]


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,128,h,w] with about unit variance.  Nothing is drawn from `generator`."""
    return flux2.encode_image(m, pixels)


def encode_reference(m: Modules, pixels):
    """pixels [1,3,H,W] in [-1,1] -> latents [1,128,h,w]: as a picture's, which are the most likely ones too."""
    return flux2.encode_image(m, pixels)


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,128,h,w]; t [B] in [0,1] -> noise - clean, [B,128,h,w]; what it is made from is in cond, where there is something."""
    return flux2.predict(m, noisy, t, cond.tensors["embeds"], None, references_of(cond))


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import Flux2KleinPipeline

    return Flux2KleinPipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae, is_distilled=m.index.get("is_distilled", False),
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call; a distilled checkpoint does not guide."""
    return {"prompt_embeds": cond.tensors["embeds"], "negative_prompt_embeds": negative.tensors["embeds"], "guidance_scale": guidance}
