"""Z-Image and Z-Image-Turbo: one stream of picture patches and Qwen3's hidden states."""

from __future__ import annotations

from pathlib import Path

from ..family import Blocks, Cond, FamilySpec, LatentSpec, Modules, Original, Placement, numbered

TOKENS = 512  # ZImagePipeline's default, the chat template included

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_STACKS = ("noise_refiner", "context_refiner", "layers")
_FF = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
# In full: the last layer's adaLN_modulation.0 is no layer with weights, its .1 is.
_MODULATION = (*(f"noise_refiner.{n}.adaLN_modulation.0" for n in range(2)), *(f"layers.{n}.adaLN_modulation.0" for n in range(30)), "adaLN_modulation.1")

# The first release (and ComfyUI's file) holds q, k and v in one matrix, and calls what comes after them "out"
_ORIGINALS = (
    *(Original(f"{s}.{{n}}.attention.qkv", tuple(f"{s}.{{n}}.attention.to_{x}" for x in "qkv"), (1, 1, 1)) for s in _STACKS),
    *(Original(f"{s}.{{n}}.attention.out", (f"{s}.{{n}}.attention.to_out.0",)) for s in _STACKS),
    *(Original(f"{s}.{{n}}.{x}", (f"{s}.{{n}}.{x}",)) for s in _STACKS for x in (*_FF, "adaLN_modulation.0")),
    Original("final_layer.adaLN_modulation.1", ("all_final_layer.2-1.adaLN_modulation.1",)),
)
_RELEASED = (
    ("all_x_embedder.2-1", "x_embedder"), ("all_final_layer.2-1.linear", "final_layer.linear"),
    *((f"{s}.{{n}}.attention.norm_{x}", f"{s}.{{n}}.attention.{x}_norm") for s in _STACKS for x in "qk"),
)  # fmt: skip

SPEC = FamilySpec(
    id="z_image",
    title="Z-Image",
    default_source="Tongyi-MAI/Z-Image",
    elsewhere_called=("zimage", "zimageturbo"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Tongyi-MAI/Z-Image",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    shift={"shift": 6.0},  # Z-Image-Turbo: 3
    divisor=16,
    side_px=1024,
    architecture="z-image",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _MODULATION},
    parameters=6.15e9,
    other_parameters=(4.02e9, 84e6),
    notes="Tongyi-MAI/Z-Image is the model to train on; Z-Image-Turbo is distilled to eight steps without guidance.",
    tags=("z-image", "text-to-image"),
    blocks={
        "composition": Blocks("Composition", "The first half of the 30 blocks; a rule of thumb.", (rf"^layers\.{numbered(0, 14)}\.",)),
        "detail": Blocks("Detail", "The second half of the 30 blocks; a rule of thumb.", (rf"^layers\.{numbered(15, 29)}\.",)),
        "no_text": Blocks("All but text", "Everything except the blocks that see the prompt alone.", without=(r"^context_refiner\.",)),
    },
    pipeline="ZImagePipeline",
    alike=("Tongyi-MAI/Z-Image-Turbo",),
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=_ORIGINALS,
    released=_RELEASED,
    comfyui="diffusers",
    pipeline_loads=("lora", "dora", "lokr"),
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKL, ZImageTransformer2DModel
    from transformers import AutoTokenizer, Qwen3Model

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "transformer" in parts:
        m.denoiser = load_part(ZImageTransformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKL, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Qwen3Model, folder / "text_encoder", place)
        tokenizer = m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        around = tokenizer.apply_chat_template([{"role": "user", "content": ""}], tokenize=False, add_generation_prompt=True, enable_thinking=True)
        tokenizer.model_max_length = TOKENS - len(tokenizer(around).input_ids)  # what is left for a caption
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds [L,D], mask [L]: only the caption's own tokens, however many."""
    rows = pipeline(m)._encode_prompt(list(captions), m.text_encoders["text_encoder"].device, max_sequence_length=TOKENS)
    return [{"embeds": e, "mask": e.new_ones(len(e)).bool()} for e in rows]


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance."""
    c = m.vae.config
    return (m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.sample(generator).float() - c.shift_factor) * c.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w].  The network takes lists, of pictures with one frame and of
    captions without padding, and counts time from noise to picture."""
    from torch import stack

    towards_clean = m.denoiser(list(noisy.unsqueeze(2)), 1 - t, _captions(cond), return_dict=False)[0]
    return -stack(list(towards_clean)).squeeze(2)


def _captions(cond: Cond) -> list:
    """The captions' embeddings without padding: B times [L,D]."""
    return [e[k] for e, k in zip(cond.tensors["embeds"], cond.tensors["mask"], strict=True)]


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import ZImagePipeline

    return ZImagePipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae,
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text to the pipeline's call, whose guidance_scale counts from 0, not 1: cond + scale (cond - negative)."""
    return {"prompt_embeds": _captions(cond), "negative_prompt_embeds": _captions(negative), "guidance_scale": max(0.0, guidance - 1)}


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    return stride, stride * configs["transformer"]["all_patch_size"][0]
