"""Lumina-Image 2.0: a flow transformer that reads Gemma 2's tokens beside the picture's patches."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Original, Placement

TOKENS = 256  # Lumina2Pipeline's default, the system prompt included
PROMPT_MARK = " <Prompt Start> "  # between system prompt and caption, as in training and in Lumina2Pipeline.encode_prompt

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FF = ("feed_forward.linear_1", "feed_forward.linear_2", "feed_forward.linear_3")
_MODULATION = ("norm1.linear",)

# Alpha-VLLM's own names, which ComfyUI uses (github.com/Alpha-VLLM/Lumina-Image-2.0, models/model.py): q, k and v lie in one matrix, where
# 24 heads of q stand above 8 of k and 8 of v.  diffusers' pipeline reads these names of a LoRA that has every layer of every block alone.
_STACKS = ("noise_refiner", "context_refiner", "layers")
_ORIGINALS = tuple(
    original
    for s in _STACKS
    for original in (
        Original(f"{s}.{{n}}.attention.qkv", tuple(f"{s}.{{n}}.attn.to_{x}" for x in "qkv"), (3, 1, 1)),
        Original(f"{s}.{{n}}.attention.out", (f"{s}.{{n}}.attn.to_out.0",)),
        *(Original(f"{s}.{{n}}.feed_forward.w{n}", (f"{s}.{{n}}.feed_forward.linear_{n}",)) for n in (1, 2, 3)),
        Original(f"{s}.{{n}}.adaLN_modulation.1", (f"{s}.{{n}}.norm1.linear",)),
    )
)
_RELEASED = (
    ("norm_out.linear_1", "final_layer.adaLN_modulation.1"), ("norm_out.linear_2", "final_layer.linear"), ("time_caption_embed.caption_embedder.{n}", "cap_embedder.{n}"),
    *((f"time_caption_embed.timestep_embedder.linear_{n}", f"t_embedder.mlp.{2 * n - 2}") for n in (1, 2)),
    *((f"{s}.{{n}}.attn.norm_{x}", f"{s}.{{n}}.attention.{x}_norm") for s in _STACKS for x in "qk"),
    *((f"{s}.{{n}}.norm1{'' if s == 'context_refiner' else '.norm'}", f"{s}.{{n}}.attention_norm1") for s in _STACKS),
    *((f"{s}.{{n}}.norm2", f"{s}.{{n}}.attention_norm2") for s in _STACKS),
)  # fmt: skip

SPEC = FamilySpec(
    id="lumina2",
    title="Lumina-Image 2.0",
    default_source="Alpha-VLLM/Lumina-Image-2.0",
    elsewhere_called=("lumina", "lumina2", "luminaimage20"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Alpha-VLLM/Lumina-Image-2.0",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    shift={"shift": 6.0},
    divisor=16,
    side_px=1024,
    architecture="lumina-image-2",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _MODULATION},
    parameters=2.6e9,
    other_parameters=(2.6e9, 84e6),
    never_recomputed=2 / 28,  # the refiners of the picture, of 28 blocks that see all of it
    notes="Small for a flow model, with a strong text encoder: long captions in plain sentences suit it.",
    tags=("lumina2", "text-to-image"),
    pipeline="Lumina2Pipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=_ORIGINALS,
    released=_RELEASED,
    comfyui="comfyui",
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKL, Lumina2Transformer2DModel
    from transformers import AutoTokenizer, Gemma2Model

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "transformer" in parts:
        m.denoiser = load_part(Lumina2Transformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKL, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Gemma2Model, folder / "text_encoder", place)
        tokenizer = m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokenizer.model_max_length = TOKENS - len(tokenizer(pipeline(m).system_prompt + PROMPT_MARK).input_ids)  # what is left for a caption
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds [L,D], mask [L], padded to the full length.  The empty caption goes without the system prompt: so the model was
    trained, and so the pipeline guides away from it."""
    pipe = pipeline(m)
    said = [pipe.system_prompt + PROMPT_MARK + c if c else "" for c in captions]
    embeds, mask = pipe._get_gemma_prompt_embeds(said, pipe.text_encoder.device, TOKENS)
    return [{"embeds": e, "mask": k.bool()} for e, k in zip(embeds, mask, strict=True)]


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance."""
    c = m.vae.config
    return (m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.sample(generator).float() - c.shift_factor) * c.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w].  The network counts time from noise to picture."""
    towards_clean = m.denoiser(
        hidden_states=noisy,
        timestep=1 - t,
        encoder_hidden_states=cond.tensors["embeds"],
        encoder_attention_mask=cond.tensors["mask"],
        return_dict=False,
    )[0]
    return -towards_clean


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import Lumina2Pipeline

    return Lumina2Pipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae,
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    return {
        "prompt_embeds": cond.tensors["embeds"], "prompt_attention_mask": cond.tensors["mask"],
        "negative_prompt_embeds": negative.tensors["embeds"], "negative_prompt_attention_mask": negative.tensors["mask"],
        "guidance_scale": guidance,
    }  # fmt: skip


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    return stride, stride * configs["transformer"]["patch_size"]
