"""Anima: Cosmos Predict2's transformer for drawn pictures, told by Qwen3 through a small network that fills T5's places; Qwen-Image's autoencoder."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, KohyaNames, LatentSpec, Modules, Original, Placement

# the first release's layers (circlestone-labs/Anima, split_files/diffusion_models; comfy/ldm/cosmos/predict2.py) by diffusers' names
_ATTENTION = tuple((f"{theirs}_attn.{a}", f"{ours}.{b}") for theirs, ours in (("self", "attn1"), ("cross", "attn2")) for a, b in (
    ("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("output_proj", "to_out.0"),
))  # fmt: skip
_FF = (("mlp.layer1", "ff.net.0.proj"), ("mlp.layer2", "ff.net.2"))
_MODULATION = tuple((f"adaln_modulation_{name}.{n}", f"norm{at}.linear_{n}") for at, name in ((1, "self_attn"), (2, "cross_attn"), (3, "mlp")) for n in (1, 2))
_OUTER = (("final_layer.adaln_modulation.1", "norm_out.linear_1"), ("final_layer.adaln_modulation.2", "norm_out.linear_2"), ("final_layer.linear", "proj_out"))
_ORIGINALS = (
    *(Original(f"blocks.{{n}}.{theirs}", (f"transformer_blocks.{{n}}.{ours}",)) for theirs, ours in (*_ATTENTION, *_FF, *_MODULATION)),
    *(Original(theirs, (ours,)) for theirs, ours in _OUTER),
)
_RELEASED = (
    *((f"transformer_blocks.{{n}}.{ours}.norm_{x}", f"blocks.{{n}}.{theirs}_attn.{x}_norm") for theirs, ours in (("self", "attn1"), ("cross", "attn2")) for x in "qk"),
    *((f"time_embed.t_embedder.linear_{n}", f"t_embedder.1.linear_{n}") for n in (1, 2)),
    ("time_embed.norm", "t_embedding_norm"), ("patch_embed.proj", "x_embedder.proj.1"),
)  # fmt: skip
_names = lambda *groups: tuple(ours for group in groups for _, ours in group)

_DEEPER = "v2ray/Anima-2.9B-preview-v1-diffusers"  # Gazingstars123/Anima-2.9B: 40 blocks in place of 28

SPEC = FamilySpec(
    id="anima",
    title="Anima",
    default_source="circlestone-labs/Anima-Base-v1.0-Diffusers",
    elsewhere_called=("anima",),
    licence="other",
    licence_url="https://huggingface.co/circlestone-labs/Anima/blob/main/LICENSE.md",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    shift={"shift": 3.0},
    divisor=16,
    side_px=1024,
    architecture="anima",
    lora_targets={"attention": _names(_ATTENTION), "attention+ff": _names(_ATTENTION, _FF), "all": _names(_ATTENTION, _FF, _MODULATION, _OUTER)},
    parameters=1.96e9,
    other_parameters=(0.73e9, 127e6),
    notes="Drawn pictures, from tags or sentences. Of 2 or 2.9 billion weights; what is learnt on one does not fit the other. For non-commercial use.",
    words=dict.fromkeys(("circlestone-labs/Anima-Base-v1.0-Diffusers", _DEEPER), "booru"),
    titles={_DEEPER: "Anima 2.9B"},
    sizes={_DEEPER: (2.79e9, 0.73e9)},
    tags=("anima", "text-to-image"),
    pipeline="AnimaModularPipeline",
    modular=True,
    elsewhere="diffusers' network for it wants torchvision beside.",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "after_text": ("text_conditioner",), "vae": ("vae",)},
    kohya=KohyaNames({"transformer": "lora_unet"}, _ORIGINALS),
    originals=_ORIGINALS,
    released=_RELEASED,
    enclosed={"text_conditioner": "llm_adapter."},
    comfyui="comfyui",
    pipeline_reads_originals=True,
    pipeline_reads_kohya=False,
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; what comes after the text encoder with it, the scheduler always."""
    from diffusers import AnimaTextConditioner, AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
    from transformers import AutoTokenizer, Qwen3Model

    from ..engine.weights import load_part

    m = Modules(place.dtype, scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler", local_files_only=True))
    if "transformer" in parts:
        from ..models.anima import CosmosTransformer3DModel

        m.denoiser = load_part(CosmosTransformer3DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLQwenImage, folder / "vae", place)
    if "text_encoder" in parts:
        from dataclasses import replace

        from ..models.anima.pipeline import MAX_TOKENS

        m.text_encoders["text_encoder"] = load_part(Qwen3Model, folder / "text_encoder", place)
        m.text_encoders["text_conditioner"] = load_part(AnimaTextConditioner, folder / "text_conditioner", replace(place, quantise="none"))  # small
        for part, tokenizer in (("text_encoder", "tokenizer"), ("text_conditioner", "t5_tokenizer")):
            m.tokenizers[part] = AutoTokenizer.from_pretrained(folder / tokenizer, local_files_only=True)
            m.tokenizers[part].model_max_length = MAX_TOKENS
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds: [L,D], of as many places as the caption has of T5's tokens; with_padding() puts back the zeros.  One by one, so that none depends on another."""
    pipe, t5 = pipeline(m), m.tokenizers["text_conditioner"]
    length = lambda caption: len(t5(caption, truncation=True, max_length=t5.model_max_length).input_ids)
    return [{"embeds": pipe.encode_prompt([caption], device=m.text_encoders["text_encoder"].device)[0, : length(caption)].clone()} for caption in captions]


def with_padding(embeds):
    """[B,L,D] -> [B,512,D], zeros at the end: the network sees them, so their number counts."""
    from torch.nn.functional import pad

    from ..models.anima.pipeline import MAX_TOKENS

    return pad(embeds, (0, 0, 0, MAX_TOKENS - embeds.shape[1]))


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance: a film of one frame; its likeliest latents, as diffusers' blocks take them."""
    from torch import tensor

    c = m.vae.config
    latents = m.vae.encode(pixels.to(m.vae.dtype).unsqueeze(2)).latent_dist.mode().squeeze(2).float()
    mean, std = (tensor(v, device=latents.device).view(1, -1, 1, 1) for v in (c.latents_mean, c.latents_std))
    return (latents - mean) / std


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w]."""
    embeds = with_padding(cond.tensors["embeds"]).to(noisy.dtype)
    return m.denoiser(noisy.unsqueeze(2), t.to(noisy.dtype), embeds, return_dict=False)[0].squeeze(2)


def pipeline(m: Modules):
    """The pipeline over the same modules; parts that were freed are None."""
    from ..models.anima import AnimaPipeline

    return AnimaPipeline(
        transformer=m.denoiser, vae=m.vae, scheduler=m.scheduler, text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
        text_conditioner=m.text_encoders.get("text_conditioner"), t5_tokenizer=m.tokenizers.get("text_conditioner"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    return {"prompt_embeds": with_padding(cond.tensors["embeds"]), "negative_prompt_embeds": with_padding(negative.tensors["embeds"]), "guidance_scale": guidance}


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** len(configs["vae"]["temperal_downsample"])
    return stride, stride * configs["transformer"]["patch_size"][1]
