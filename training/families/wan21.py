"""Wan 2.1 text-to-video, 1.3B and 14B: a flow transformer over frames, one UMT5 text encoder, a causal video autoencoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ..family import Blocks, Cond, FamilySpec, LatentSpec, Modules, Original, Placement, Speed, numbered

TOKENS = 512  # of UMT5, as WanPipeline's call has it; the transformer sees the padding, so its length counts
TIMESTEPS = 1000  # the network's time for t = 1
CHANNELS = 16
STRIDE_PX = 8  # of checkpoints whose VAE config does not say, as the first ones do not

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FF = ("ffn.net.0.proj", "ffn.net.2")
# Wan-AI's own names, which ComfyUI uses (github.com/Wan-Video/Wan2.1, wan/modules/model.py)
ORIGINALS = (
    *(
        Original(f"blocks.{{n}}.{theirs}_attn.{a}", (f"blocks.{{n}}.{ours}.{b}",))
        for theirs, ours in (("self", "attn1"), ("cross", "attn2"))
        for a, b in zip("qkvo", ATTENTION, strict=True)
    ),
    *(Original(f"blocks.{{n}}.ffn.{a}", (f"blocks.{{n}}.{b}",)) for a, b in (("0", FF[0]), ("2", FF[1]))),
    Original("head.head", ("proj_out",)),
)
RELEASED = (
    *((f"condition_embedder.{ours}_embedder.linear_{n}", f"{ours}_embedding.{2 * n - 2}") for ours in ("time", "text") for n in (1, 2)),
    ("condition_embedder.time_proj", "time_projection.1"),
    *((f"blocks.{{n}}.{ours}.norm_{x}", f"blocks.{{n}}.{theirs}_attn.norm_{x}") for theirs, ours in (("self", "attn1"), ("cross", "attn2")) for x in "qk"),
    ("blocks.{n}.norm2", "blocks.{n}.norm3"), ("blocks.{n}.scale_shift_table", "blocks.{n}.modulation"), ("scale_shift_table", "head.modulation"),
)  # fmt: skip

SPEC = FamilySpec(
    id="wan21",
    title="Wan 2.1 text-to-video",
    default_source="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    elsewhere_called=("wan", "wan21", "wan211b", "wan2114b"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    latent=LatentSpec(channels=CHANNELS, stride=STRIDE_PX, patch=2, video=True, frame_stride=4),
    prediction="flow",
    shift={"flow_shift": 3.0},
    divisor=16,
    side_px=480,
    architecture="wan-2.1-t2v",
    lora_targets={"attention": ATTENTION, "attention+ff": ATTENTION + FF, "all": ATTENTION + FF + ("proj_out",)},
    parameters=1.42e9,
    other_parameters=(5.68e9, 127e6),
    sizes={"Wan-AI/Wan2.1-T2V-14B-Diffusers": (14.29e9, 5.68e9)},
    titles={"Wan-AI/Wan2.1-T2V-14B-Diffusers": "Wan 2.1 14B"},
    notes="Video clips and pictures. Of 1.3 or 14 billion weights; what is learnt on one does not fit the other.",
    tags=("text-to-video", "wan"),
    blocks={
        "composition": Blocks("Composition", "The first 15 blocks; a rule of thumb.", (rf"^blocks\.{numbered(0, 14)}\.",)),
        "detail": Blocks("Detail", "The blocks from the 16th on; a rule of thumb.", (rf"^blocks\.{numbered(15, 39)}\.",)),
        "no_text": Blocks("All but text", "Everything except where the prompt is read.", without=(r"\.attn2\.",)),
    },
    speed={"Kijai/WanVideo_comfy/Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32.safetensors": Speed(6, 1, made_for="Wan-AI/Wan2.1-T2V-14B-Diffusers")},  # of 14B; lightx2v's four to six steps
    pipeline="WanPipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=ORIGINALS,
    released=RELEASED,
    comfyui="comfyui",
    pipeline_reads_originals=True,
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always.  The VAE is fp32: it makes bands in bf16."""
    from diffusers import WanTransformer3DModel

    from ..engine.weights import load_part

    if json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("transformer_2", [None, None])[1]:
        raise ValueError(f"{folder.name} holds two transformers, one for much and one for little noise; this family trains models with a single one")
    m = load_beside(folder, parts, place)
    if "transformer" in parts:
        m.denoiser = load_part(WanTransformer3DModel, folder / "transformer", place)
    return m


def load_beside(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts but the denoiser; the scheduler always."""
    from diffusers import AutoencoderKLWan
    from torch import float32
    from transformers import AutoTokenizer, UMT5EncoderModel

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLWan, folder / "vae", replace(place, dtype=float32))
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(UMT5EncoderModel, folder / "text_encoder", place)
        m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds: [L,D], of the caption's own tokens; with_padding() puts back the zeros that the pipeline fills up with."""
    pipe, encoder = pipeline(m), m.text_encoders["text_encoder"]
    embeds, _ = pipe.encode_prompt(captions, do_classifier_free_guidance=False, max_sequence_length=TOKENS, device=encoder.device)
    # captions are cleaned as encode_prompt does, so that both count the same tokens
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    tokens = m.tokenizers["text_encoder"]([prompt_clean(c) for c in captions], max_length=TOKENS, truncation=True).input_ids
    return [{"embeds": e[: len(ids)].clone()} for e, ids in zip(embeds, tokens, strict=True)]


def with_padding(embeds):
    """[B,L,D] -> [B,TOKENS,D], zeros at the end."""
    from torch.nn.functional import pad

    return pad(embeds, (0, 0, 0, TOKENS - embeds.shape[1]))


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,F,H,W] in [-1,1] -> latents [B,C,f,h,w] with about unit variance, f = (F - 1) / 4 + 1; nothing is drawn at random."""
    mean, std = (m.vae.config[name] for name in ("latents_mean", "latents_std"))
    mode = m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.mode().float()
    shaped = lambda values: mode.new_tensor(values).view(1, -1, 1, 1, 1)
    return (mode - shaped(mean)) / shaped(std)


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,C,f,h,w]; t [B] in [0,1] -> noise - clean, [B,C,f,h,w]."""
    embeds = with_padding(cond.tensors["embeds"])
    return m.denoiser(hidden_states=noisy, timestep=t * TIMESTEPS, encoder_hidden_states=embeds.to(noisy.dtype), return_dict=False)[0]


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import WanPipeline

    return WanPipeline(
        vae=m.vae, text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"), transformer=m.denoiser,
        scheduler=m.scheduler,
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    return {
        "prompt_embeds": with_padding(cond.tensors["embeds"]), "negative_prompt_embeds": with_padding(negative.tensors["embeds"]),
        "guidance_scale": guidance,
    }  # fmt: skip


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint.  Raises ValueError for one of another family."""
    check_channels(configs, SPEC)
    stride = configs["vae"].get("scale_factor_spatial", STRIDE_PX)
    return stride, stride * configs["transformer"]["patch_size"][1]


def check_channels(configs: dict[str, dict], spec: FamilySpec) -> None:
    """Nothing, or ValueError where the transformer is not one of this family: all of them have the same class."""
    taken, given = configs["transformer"]["in_channels"], configs["transformer"]["out_channels"]
    if (taken, given) != (spec.latent.channels,) * 2:
        raise ValueError(
            f"the base model takes {taken} and gives {given} latent channels, {spec.title} {spec.latent.channels} both ways: it is of another family; choose that"
        )
