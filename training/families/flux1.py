"""FLUX.1 dev and schnell: a flow transformer over 2 x 2 patches, CLIP's pooled text and T5's tokens."""

from __future__ import annotations

from ..family import Beside, Blocks, Cond, FamilySpec, KohyaNames, Modules, Speed
from ..models import flux1
from ..models.flux1 import GUIDANCE_WHEN_TRAINING, TOKENS_DISTILLED, encode_image, grid, load  # noqa: F401 part of the family

GUIDANCE_OVER_CONTROL = 30.0  # of dev's guidance vector where a control picture enters by the denoiser: as Canny and Depth of the first release are used

# what diffusers' script gives a LoRA beside the layer by which latents enter; feed-forward of the double blocks alone
_CONTROLLED = {"attention": tuple(f"attn.{x}" for x in flux1.ATTENTION), "attention+ff": tuple(f"attn.{x}" for x in flux1.ATTENTION) + flux1.FF[:4], "all": flux1.ATTENTION + flux1.FF}

SPEC = FamilySpec(
    id="flux1",
    title="FLUX.1",
    default_source="black-forest-labs/FLUX.1-dev",
    elsewhere_called=("flux", "flux1", "fluxdev1"),
    licence="other",
    licence_url="https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
    licences={"black-forest-labs/FLUX.1-schnell": ("apache-2.0", "https://huggingface.co/black-forest-labs/FLUX.1-schnell")},
    latent=flux1.LATENT,
    prediction="flow",
    shift=flux1.SHIFT,
    divisor=16,
    side_px=1024,
    architecture="flux-1-dev",
    lora_targets=flux1.LORA_TARGETS,
    parameters=11.9e9,
    other_parameters=(4.89e9, 84e6),  # T5-XXL's encoder 4.76 billion, CLIP-L 0.12
    notes="dev (a licence to accept on the Hub, not for commercial use) and schnell (Apache-2.0, distilled to four steps).",
    tags=("flux", "text-to-image"),
    blocks=flux1.BLOCKS
    | {
        # ai-toolkit's README, "Training Specific Layers", after The Last Ben; there of these two blocks the output alone
        "likeness": Blocks("Likeness", "Two blocks alone, 7 and 20 of the single ones, which The Last Ben found enough for a face: a very small file.", (r"^single_transformer_blocks\.(?:7|20)\.",)),
    },
    speed={"ByteDance/Hyper-SD/Hyper-FLUX.1-dev-8steps-lora.safetensors": Speed(8, 3.5, 0.125)},  # its model card
    pipeline="FluxPipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder", "text_encoder_2"), "vae": ("vae",)},
    trainable_text=("text_encoder",),
    kohya=KohyaNames({"transformer": "lora_unet", "text_encoder": "lora_te1"}, flux1.ORIGINALS),
    originals=flux1.ORIGINALS,
    released=flux1.RELEASED,
    known=flux1.XLABS,
    comfyui="diffusers",
    beside={
        "controlnet": Beside("FluxControlNetModel", "FluxControlNetPipeline", "controlnet", "control_image", "latents", layers={"num_layers": 4, "num_single_layers": 10}),
        "control_lora": Beside("", "FluxControlPipeline", "", "control_image", "latents", widened="x_embedder", targets=_CONTROLLED),
    },
)


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """From CLIP: pooled [D]; from T5: embeds [L,D], padded to the full length, as the pipeline does."""
    return flux1.encode_text(m, pipeline(m), captions)


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w]."""
    widened = m.side is not None and getattr(m.side.adapter, "WIDENS", False)
    return flux1.predict(m, noisy, t, cond, GUIDANCE_OVER_CONTROL if widened else GUIDANCE_WHEN_TRAINING)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import FluxPipeline

    return FluxPipeline(**flux1.modules(m))


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text to the pipeline's call.  guidance goes into dev's guidance vector; schnell has none."""
    embeds = cond.tensors["embeds"]
    if not m.denoiser.config.guidance_embeds:
        embeds = embeds[:, :TOKENS_DISTILLED]
    return {"prompt_embeds": embeds, "pooled_prompt_embeds": cond.tensors["pooled"], "guidance_scale": guidance}
