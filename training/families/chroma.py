"""Chroma: FLUX.1 schnell's network, pruned and trained anew, with T5's tokens alone."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Original, Placement, mask_of

TOKENS = 512  # ChromaPipeline's default

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
# In full where the network's last layer, proj_out, or a layer that makes the modulation would be meant too.
_SINGLE = tuple(f"single_transformer_blocks.{n}.proj_out" for n in range(38))
_FF = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", *_SINGLE)
_OUTER = ("x_embedder", "context_embedder", "proj_out")

# The first release keeps FLUX.1's names; its modulation comes from a network of its own, which is not trained
_DOUBLE, _ONE = "transformer_blocks.{n}.", "single_transformer_blocks.{n}."
_STREAMS = (("img", ("to_q", "to_k", "to_v"), "to_out.0", "ff"), ("txt", ("add_q_proj", "add_k_proj", "add_v_proj"), "to_add_out", "ff_context"))
_ORIGINALS = (
    *(Original(f"double_blocks.{{n}}.{s}_attn.qkv", tuple(f"{_DOUBLE}attn.{x}" for x in qkv), (1, 1, 1)) for s, qkv, *_ in _STREAMS),
    *(Original(f"double_blocks.{{n}}.{s}_attn.proj", (f"{_DOUBLE}attn.{out}",)) for s, _, out, _ in _STREAMS),
    *(Original(f"double_blocks.{{n}}.{s}_mlp.{a}", (f"{_DOUBLE}{ff}.{b}",)) for s, *_, ff in _STREAMS for a, b in (("0", "net.0.proj"), ("2", "net.2"))),
    Original("single_blocks.{n}.linear1", (*(f"{_ONE}attn.to_{x}" for x in "qkv"), f"{_ONE}proj_mlp"), (1, 1, 1, 4)),
    Original("single_blocks.{n}.linear2", (f"{_ONE}proj_out",)),
    Original("img_in", ("x_embedder",)),
    Original("txt_in", ("context_embedder",)),
    Original("final_layer.linear", ("proj_out",)),
)
_RELEASED = (
    *((f"distilled_guidance_layer.layers.{{n}}.linear_{n}", f"distilled_guidance_layer.layers.{{n}}.{place}_layer") for n, place in ((1, "in"), (2, "out"))),
    ("distilled_guidance_layer.norms.{n}.weight", "distilled_guidance_layer.norms.{n}.scale"),
    ("norm_out.linear", "final_layer.adaLN_modulation.1"),
    *(
        (f"{_DOUBLE}attn.norm_{added}{x}.weight", f"double_blocks.{{n}}.{stream}_attn.norm.{name}_norm.scale")
        for stream, added in (("img", ""), ("txt", "added_")) for x, name in (("q", "query"), ("k", "key"))
    ),
    *((f"{_ONE}attn.norm_{x}.weight", f"single_blocks.{{n}}.norm.{name}_norm.scale") for x, name in (("q", "query"), ("k", "key"))),
)  # fmt: skip

SPEC = FamilySpec(
    id="chroma",
    title="Chroma",
    default_source="lodestones/Chroma1-HD",
    elsewhere_called=("chroma", "chroma1"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/lodestones/Chroma1-HD",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    divisor=16,
    side_px=1024,
    architecture="chroma",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _OUTER},
    parameters=8.9e9,
    other_parameters=(4.76e9, 84e6),
    notes="Chroma1-HD draws at 1024 px; Chroma1-Base is the one for long trainings. Guided by a real negative prompt.",
    tags=("chroma", "text-to-image"),
    pipeline="ChromaPipeline",
    broken_pipelines=("Inpaint",),  # diffusers 0.42 asks the transformer for guidance_embeds, which it has not
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=_ORIGINALS,
    released=_RELEASED,
    comfyui="diffusers",
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKL, ChromaTransformer2DModel
    from transformers import AutoTokenizer, T5EncoderModel

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "transformer" in parts:
        m.denoiser = load_part(ChromaTransformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKL, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(T5EncoderModel, folder / "text_encoder", place)
        tokenizer = m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokenizer.model_max_length = TOKENS
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds [L,D], mask [L]: only what the network heeds, the caption's tokens and one of padding, as Chroma was trained.

    Without the rest no mask is needed for a picture by itself.  That also keeps diffusers' pipeline right, which hands the mask
    on as numbers where attention adds them instead of hiding anything (huggingface/diffusers, issue 12116).
    """
    pipe = pipeline(m)
    rows = [e[k.bool()] for e, k in zip(*pipe._get_t5_prompt_embeds(captions, 1, TOKENS, pipe.text_encoder.device), strict=True)]
    return [{"embeds": e, "mask": e.new_ones(len(e)).bool()} for e in rows]


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance."""
    c = m.vae.config
    return (m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.sample(generator).float() - c.shift_factor) * c.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w]."""
    from diffusers import ChromaPipeline
    from torch import cat

    batch, channels, h, w = noisy.shape
    embeds, mask = cond.tensors["embeds"], mask_of(cond)
    packed = ChromaPipeline._pack_latents(noisy, batch, channels, h, w)
    said = m.denoiser(
        hidden_states=packed,
        timestep=t.to(noisy.dtype),
        encoder_hidden_states=embeds,
        txt_ids=noisy.new_zeros(embeds.shape[1], 3),
        img_ids=ChromaPipeline._prepare_latent_image_ids(batch, h // 2, w // 2, noisy.device, noisy.dtype),
        attention_mask=cat([mask, mask.new_ones(batch, packed.shape[1])], dim=1) if mask is not None else None,
        return_dict=False,
    )[0]
    return ChromaPipeline._unpack_latents(said, h, w, 1)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import ChromaPipeline

    return ChromaPipeline(
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
    return stride, stride * 2  # the transformer sees patches of 2 x 2 cells
