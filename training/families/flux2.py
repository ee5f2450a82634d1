"""FLUX.2 dev: a large flow transformer that reads three layers of Mistral Small 3."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, Modules, Placement, References, references_of
from ..models import flux2
from ..models.flux2 import TOKENS, grid, reference_size  # noqa: F401 part of the family

GUIDANCE_WHEN_TRAINING = 1.0  # of the guidance vector: the picture itself, not one with guidance baked in

SPEC = FamilySpec(
    id="flux2",
    title="FLUX.2 dev",
    default_source="black-forest-labs/FLUX.2-dev",
    elsewhere_called=("flux2",),
    licence="other",
    licence_url="https://huggingface.co/black-forest-labs/FLUX.2-dev",
    latent=flux2.LATENT,
    prediction="flow",
    shift={"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096},
    divisor=16,
    side_px=1024,
    architecture="flux-2-dev",
    lora_targets=flux2.LORA_TARGETS,
    parameters=32.2e9,
    other_parameters=(24.0e9, 84e6),
    notes="Very large. A licence to accept on the Hub, not for commercial use.",
    tags=("flux", "flux-2", "text-to-image"),
    blocks=flux2.BLOCKS,
    pipeline="Flux2Pipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=flux2.ORIGINALS,
    released=flux2.RELEASED,
    comfyui="diffusers",
    pipeline_loads=("lora", "dora", "lokr"),
    comfyui_lacks=flux2.MODULATION,
    pipeline_reads_originals=True,
    references=References(most=6, cuts=True),  # more than which Black Forest Labs advise against (docs.bfl.ml, image editing overview); the call itself has no limit
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from transformers import Mistral3ForConditionalGeneration, PreTrainedTokenizerFast

    from ..engine.weights import load_part, load_scheduler

    m = flux2.load(Modules(place.dtype, scheduler=load_scheduler(folder)), folder, parts, place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Mistral3ForConditionalGeneration, folder / "text_encoder", place)
        # The repository names a processor of pictures and text, which wants torchvision; its tokenizer alone gives the same tokens.
        # Padding is on the left, as the class that the repository names had it when FLUX.2 was trained; not every version keeps that.
        tokenizer = m.tokenizers["text_encoder"] = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokenizer.padding_side = "left"
        tokenizer.model_max_length = TOKENS - _template_tokens(tokenizer)  # what is left for a caption
    return m


def _template_tokens(tokenizer) -> int:
    from diffusers.pipelines.flux2.pipeline_flux2 import SYSTEM_MESSAGE, format_input

    return len(tokenizer.apply_chat_template(format_input([""], SYSTEM_MESSAGE)[0], tokenize=True, return_dict=True)["input_ids"])


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
    from torch import full_like

    return flux2.predict(m, noisy, t, cond.tensors["embeds"], full_like(t, GUIDANCE_WHEN_TRAINING), references_of(cond))


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import Flux2Pipeline

    return Flux2Pipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae,
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text to the pipeline's call.  guidance goes into the guidance vector; a negative prompt has no place."""
    return {"prompt_embeds": cond.tensors["embeds"], "guidance_scale": guidance}
