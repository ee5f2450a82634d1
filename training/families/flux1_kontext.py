"""FLUX.1 Kontext dev: FLUX.1's network, shown the picture that it changes behind the one that it draws."""

from __future__ import annotations

from ..family import Cond, FamilySpec, KohyaNames, Modules, References, references_of
from ..models import flux1
from ..models.flux1 import encode_image, grid, load  # noqa: F401 part of the family

# (width, height) px that the model was trained with and its pipeline brings every reference to (diffusers, pipeline_flux_kontext.py), and each lying on its side
_UPRIGHT = ((672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184), (944, 1104))
PREFERRED = (*_UPRIGHT, (1024, 1024), *((height, width) for width, height in reversed(_UPRIGHT)))

SPEC = FamilySpec(
    id="flux1_kontext",
    title="FLUX.1 Kontext",
    default_source="black-forest-labs/FLUX.1-Kontext-dev",
    elsewhere_called=("fluxkontext", "flux1kontext", "flux1kontextdev"),
    licence="other",
    licence_url="https://huggingface.co/black-forest-labs/FLUX.1-Kontext-dev/blob/main/LICENSE.md",
    latent=flux1.LATENT,
    prediction="flow",
    shift=flux1.SHIFT,
    divisor=16,
    side_px=1024,
    architecture="flux-1-kontext-dev",
    lora_targets=flux1.LORA_TARGETS,
    parameters=11.9e9,
    other_parameters=(4.89e9, 84e6),  # T5-XXL's encoder 4.76 billion, CLIP-L 0.12
    notes="Changes a picture as an instruction says, and draws from words alone too. A licence to accept on the Hub, not for commercial use.",
    tags=("flux", "image-to-image"),
    blocks=flux1.BLOCKS,
    pipeline="FluxKontextPipeline",
    broken_pipelines=("Inpaint",),  # of diffusers 0.42: it draws a million pixels, whatever size is asked for
    parts={"denoiser": ("transformer",), "text": ("text_encoder", "text_encoder_2"), "vae": ("vae",)},
    kohya=KohyaNames({"transformer": "lora_unet"}, flux1.ORIGINALS),
    originals=flux1.ORIGINALS,
    released=flux1.RELEASED,
    comfyui="diffusers",
    alike=("black-forest-labs/FLUX.1-dev",),
    references=References(most=1, several=False),
)


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """From CLIP: pooled [D]; from T5: embeds [L,D], padded to the full length, as the pipeline does."""
    return flux1.encode_text(m, pipeline(m), captions)


def reference_size(width: int, height: int) -> tuple[int, int]:
    """Of the sizes that the model prefers, the one whose shape is nearest, as the pipeline chooses it."""
    return min((abs(width / height - w / h), w, h) for w, h in PREFERRED)[1:]


def encode_reference(m: Modules, pixels):
    """pixels [1,3,H,W] in [-1,1] -> latents [1,16,h,w], the likeliest ones."""
    return flux1.normalised(m, m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.mode())


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w]."""
    return flux1.predict(m, noisy, t, cond, references=references_of(cond))


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules, drawing at the very size that it is asked for; parts that were freed are None."""
    from ..models.flux1_kontext import KontextPipeline

    return KontextPipeline(**flux1.modules(m))


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text to the pipeline's call.  guidance goes into the guidance vector; there is no negative prompt."""
    return {"prompt_embeds": cond.tensors["embeds"], "pooled_prompt_embeds": cond.tensors["pooled"], "guidance_scale": guidance}
