"""OmniGen2, text and pictures to picture: a flow transformer over Qwen2.5-VL's hidden states and FLUX's KL autoencoder."""

from __future__ import annotations

import json
from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Original, Placement, References, mask_of, references_of
from ..models import sizes

IMAGE_GUIDANCE = 2.0  # towards what a picture is made from: example_edit.sh, example_in_context_generation.sh

# All blocks but those that refine reference pictures: a training without them never reaches those, and edits are learnt in the others.
_BLOCKS = tuple(f"{stack}.{n}" for stack, count in (("context_refiner", 2), ("noise_refiner", 2), ("layers", 32)) for n in range(count))
_ATTENTION = tuple(f"{block}.attn.{layer}" for block in _BLOCKS for layer in ("to_q", "to_k", "to_v", "to_out.0"))
_FF = tuple(f"{block}.feed_forward.linear_{n}" for block in _BLOCKS for n in (1, 2, 3))
_MODULATION = tuple(f"{block}.norm1.linear" for block in _BLOCKS if not block.startswith("context"))
_OUTER = ("x_embedder", "caption_embedder.1", "norm_out.linear_1", "norm_out.linear_2")

# The first release's names are these; ComfyUI wants them behind "diffusion_model.", which the released pipeline takes for Lumina's and refuses.
_STACKS = ("context_refiner", "noise_refiner", "layers")
_LAYERS = (*(f"attn.{x}" for x in ("to_q", "to_k", "to_v", "to_out.0")), *(f"feed_forward.linear_{n}" for n in (1, 2, 3)), "norm1.linear")
_ORIGINALS = (*(Original(f"{s}.{{n}}.{x}", (f"{s}.{{n}}.{x}",)) for s in _STACKS for x in _LAYERS), *(Original(x, (x,)) for x in (*_OUTER, "time_caption_embed.caption_embedder.1")))

SPEC = FamilySpec(
    id="omnigen2",
    title="OmniGen2",
    default_source="OmniGen2/OmniGen2",
    elsewhere_called=("omnigen2",),
    licence="apache-2.0",
    licence_url="https://github.com/VectorSpaceLab/OmniGen2/blob/main/LICENSE",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    shift={"use_dynamic_shifting": True},  # see _scheduler
    divisor=16,
    side_px=1024,
    architecture="omnigen2",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _MODULATION + _OUTER},
    parameters=3.97e9,
    other_parameters=(3.75e9, 84e6),
    notes="Draws from words, and changes up to four pictures as an instruction says. Its text encoder is Qwen2.5-VL-3B, whose own licence allows research only.",
    pipeline="OmniGen2Pipeline",
    pipeline_module="omnigen2.pipelines.omnigen2.pipeline_omnigen2",
    elsewhere="The pipeline is that of [VectorSpaceLab/OmniGen2](https://github.com/VectorSpaceLab/OmniGen2), run from its folder.",
    pipeline_title="OmniGen2's pipeline",
    originals=_ORIGINALS,
    comfyui="comfyui",
    parts={"denoiser": ("transformer",), "text": ("mllm",), "vae": ("vae",)},
    references=References(most=4, image="input_images", listed=True),  # as many as the published training has sizes for: max_input_pixels in options/ft_lora.yml
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in the layout of the released repository; the scheduler always."""
    from ..engine.weights import load_part

    m = Modules(place.dtype, scheduler=_scheduler(folder))
    if "transformer" in parts:
        from ..models.omnigen2 import OmniGen2Transformer2DModel

        m.denoiser = load_part(OmniGen2Transformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        from diffusers import AutoencoderKL

        m.vae = load_part(AutoencoderKL, folder / "vae", place)
    if "mllm" in parts:
        from transformers import Qwen2_5_VLForConditionalGeneration

        m.text_encoders["mllm"] = load_part(Qwen2_5_VLForConditionalGeneration, folder / "mllm", place)
        m.tokenizers["mllm"] = _tokenizer(folder / "processor")
    return m


def _scheduler(folder: Path):
    """The published scheduler is a class of the repository's own.  It walks sigma = m·s / (1 + (m - 1)·s) for even steps s, where
    m grows with the picture's side: diffusers' exponential dynamic shift, for which the pipeline gives log m.  That class's
    default base_shift 0.5 to max_shift 1.15 are the shift of the published training (omnigen2/transport, version v1)."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from ..engine.weights import load_scheduler

    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    if "use_dynamic_shifting" in config:  # saved by diffusers' class
        return load_scheduler(folder)
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=config.get("num_train_timesteps", 1000),  # both as the published class has them where the file is silent
        use_dynamic_shifting=config.get("dynamic_time_shift", True),
    )


def _tokenizer(folder: Path):
    """The processor's tokenizer alone: its picture half needs torchvision.  model_max_length is what the template leaves to a caption."""
    from transformers import AutoTokenizer

    from ..models.omnigen2.pipeline import MAX_TOKENS, TEMPLATE

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.model_max_length = MAX_TOKENS - len(tokenizer(TEMPLATE.format("")).input_ids)
    return tokenizer


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds: [L,D], as many as the caption in its template has tokens; mask: [L], all True.  One by one, so that none depends on another."""
    pipe = pipeline(m)
    rows = [pipe.encode_prompt(caption, device=m.text_encoders["mllm"].device) for caption in captions]
    return [{"embeds": embeds[0], "mask": mask[0]} for embeds, mask in rows]


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance."""
    latents = m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.sample(generator).float()
    return (latents - m.vae.config.shift_factor) * m.vae.config.scaling_factor


def reference_size(width: int, height: int) -> tuple[int, int]:
    """Its own size, no larger than the pipeline takes it."""
    return sizes.omnigen2(width, height)


def encode_reference(m: Modules, pixels):
    """pixels [1,3,H,W] in [-1,1] -> latents [1,16,h,w], the likeliest ones."""
    latents = m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.mode().float()
    return (latents - m.vae.config.shift_factor) * m.vae.config.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w].  The network says clean - noise and counts time from the noise on."""
    references = [latents.to(noisy.dtype) for latents in references_of(cond)]
    rows = [list(row) for row in zip(*references, strict=True)] if references else None
    return -m.denoiser(noisy, 1 - t, cond.tensors["embeds"].to(noisy.dtype), mask_of(cond), rows, return_dict=False)[0]


def pipeline(m: Modules):
    """The pipeline over the same modules; parts that were freed are None."""
    from ..models.omnigen2 import OmniGen2Pipeline

    return OmniGen2Pipeline(
        transformer=m.denoiser, vae=m.vae, scheduler=m.scheduler, mllm=m.text_encoders.get("mllm"), processor=m.tokenizers.get("mllm")
    )


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    return {
        "prompt_embeds": cond.tensors["embeds"],
        "prompt_attention_mask": mask_of(cond),
        "negative_prompt_embeds": negative.tensors["embeds"],
        "negative_prompt_attention_mask": mask_of(negative),
        "text_guidance_scale": guidance,
        "image_guidance_scale": IMAGE_GUIDANCE,
    }


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    return stride, stride * configs["transformer"]["patch_size"]
