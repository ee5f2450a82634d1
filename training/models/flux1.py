"""What FLUX.1's checkpoints have in common: layers and their names, text, latents and the network's call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..family import CONTROL, Blocks, Cond, LatentSpec, Modules, Original, Placement

LATENT = LatentSpec(channels=16, stride=8, patch=2)
TOKENS = 512  # of T5, as the pipelines' default; schnell was trained with 256
TOKENS_DISTILLED = 256
GUIDANCE_WHEN_TRAINING = 1.0  # of dev's guidance vector: the picture itself, not one with guidance baked in
# of the checkpoints' scheduler; dev's and Kontext's are the same
SHIFT = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
# the second layer of a single block's feed-forward in full: the network's last layer has the same last name
FF = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", *(f"single_transformer_blocks.{n}.proj_out" for n in range(38)))
MODULATION = ("norm1.linear", "norm1_context.linear", "norm.linear")

# Black Forest Labs' own names, which kohya's scripts use (github.com/black-forest-labs/flux, src/flux/modules/layers.py)
_DOUBLE, _SINGLE = "transformer_blocks.{n}.", "single_transformer_blocks.{n}."
ORIGINALS = (
    Original("double_blocks.{n}.img_attn.qkv", tuple(f"{_DOUBLE}attn.to_{x}" for x in "qkv"), (1, 1, 1)),
    Original("double_blocks.{n}.img_attn.proj", (f"{_DOUBLE}attn.to_out.0",)),
    Original("double_blocks.{n}.txt_attn.qkv", tuple(f"{_DOUBLE}attn.add_{x}_proj" for x in "qkv"), (1, 1, 1)),
    Original("double_blocks.{n}.txt_attn.proj", (f"{_DOUBLE}attn.to_add_out",)),
    Original("double_blocks.{n}.img_mlp.0", (f"{_DOUBLE}ff.net.0.proj",)),
    Original("double_blocks.{n}.img_mlp.2", (f"{_DOUBLE}ff.net.2",)),
    Original("double_blocks.{n}.txt_mlp.0", (f"{_DOUBLE}ff_context.net.0.proj",)),
    Original("double_blocks.{n}.txt_mlp.2", (f"{_DOUBLE}ff_context.net.2",)),
    Original("double_blocks.{n}.img_mod.lin", (f"{_DOUBLE}norm1.linear",)),
    Original("double_blocks.{n}.txt_mod.lin", (f"{_DOUBLE}norm1_context.linear",)),
    Original("single_blocks.{n}.linear1", (*(f"{_SINGLE}attn.to_{x}" for x in "qkv"), f"{_SINGLE}proj_mlp"), (1, 1, 1, 4)),
    Original("single_blocks.{n}.linear2", (f"{_SINGLE}proj_out",)),
    Original("single_blocks.{n}.modulation.lin", (f"{_SINGLE}norm.linear",)),
    Original("final_layer.linear", ("proj_out",)),
)
RELEASED = (
    ("x_embedder", "img_in"), ("context_embedder", "txt_in"), ("norm_out.linear", "final_layer.adaLN_modulation.1"),
    *(
        (f"time_text_embed.{ours}_embedder.linear_{n}", f"{theirs}_in.{place}_layer")
        for ours, theirs in (("timestep", "time"), ("text", "vector"), ("guidance", "guidance")) for n, place in ((1, "in"), (2, "out"))
    ),
    *(
        (f"{_DOUBLE}attn.norm_{added}{x}.weight", f"double_blocks.{{n}}.{stream}_attn.norm.{name}_norm.scale")
        for stream, added in (("img", ""), ("txt", "added_")) for x, name in (("q", "query"), ("k", "key"))
    ),
    *((f"{_SINGLE}attn.norm_{x}.weight", f"single_blocks.{{n}}.norm.{name}_norm.scale") for x, name in (("q", "query"), ("k", "key"))),
)  # fmt: skip
# XLabs-AI/x-flux hangs its LoRAs on the attention's processors: of a double block's two streams, and of a single block
XLABS = (
    *(
        Original(f"double_blocks.{{n}}.processor.{what}_lora{number}", tuple(parts), (1,) * len(parts))
        for number, qkv, out in ((1, [f"{_DOUBLE}attn.to_{x}" for x in "qkv"], f"{_DOUBLE}attn.to_out.0"), (2, [f"{_DOUBLE}attn.add_{x}_proj" for x in "qkv"], f"{_DOUBLE}attn.to_add_out"))
        for what, parts in (("qkv", qkv), ("proj", [out]))
    ),
    Original("single_blocks.{n}.processor.qkv_lora", tuple(f"{_SINGLE}attn.to_{x}" for x in "qkv"), (1, 1, 1)),
    Original("single_blocks.{n}.processor.proj_lora", (f"{_SINGLE}proj_out",)),
)
BLOCKS = {
    "composition": Blocks("Composition", "The blocks in front, in which picture and prompt still have weights of their own; a rule of thumb.", (r"^transformer_blocks\.",)),
    "detail": Blocks("Detail", "The blocks behind them, in which both share one stream; a rule of thumb.", (r"^single_transformer_blocks\.",)),
    "no_text": Blocks("All but text", "Everything except the layers of the prompt's own stream.", without=(r"\.add_[qkv]_proj$", r"\.to_add_out$", r"\.ff_context\.", r"\.norm1_context\.")),
}
LORA_TARGETS = {"attention": ATTENTION, "attention+ff": ATTENTION + FF, "all": ATTENTION + FF + MODULATION}


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "transformer" in parts:
        m.denoiser = load_part(FluxTransformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKL, folder / "vae", place)
    for name, cls, tokenizer in (("text_encoder", CLIPTextModel, "tokenizer"), ("text_encoder_2", T5EncoderModel, "tokenizer_2")):
        if name in parts:
            m.text_encoders[name] = load_part(cls, folder / name, place)
            m.tokenizers[name] = AutoTokenizer.from_pretrained(folder / tokenizer, local_files_only=True)
    return m


def encode_text(m: Modules, pipe, captions: list[str]) -> list[dict]:
    """From CLIP: pooled [D]; from T5: embeds [L,D], padded to the full length, as the family's pipeline `pipe` does."""
    rows = [{} for _ in captions]
    if "text_encoder" in m.text_encoders:
        pooled = pipe._get_clip_prompt_embeds(captions, 1, pipe.text_encoder.device)
        rows = [row | {"pooled": p} for row, p in zip(rows, pooled, strict=True)]
    if "text_encoder_2" in m.text_encoders:
        most = min(TOKENS, pipe.tokenizer_2.model_max_length)
        embeds = pipe._get_t5_prompt_embeds(captions, 1, most, pipe.text_encoder_2.device, pipe.text_encoder_2.dtype)
        rows = [row | {"embeds": e} for row, e in zip(rows, embeds, strict=True)]
    return rows


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance."""
    return normalised(m, m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.sample(generator))


def normalised(m: Modules, latents):
    """The autoencoder's own latents, brought to about unit variance, fp32."""
    c = m.vae.config
    return (latents.float() - c.shift_factor) * c.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond, guidance: float = GUIDANCE_WHEN_TRAINING, references: Sequence = ()):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w].

    references: latents [B,16,h',w'] that are shown behind the noisy ones.  Kontext's first coordinate, 0 of what is drawn, is 1 of them.
    """
    from diffusers import FluxPipeline
    from torch import cat, full_like

    h, w = noisy.shape[-2:]
    embeds = cond.tensors["embeds"]
    if not m.denoiser.config.guidance_embeds:
        embeds = embeds[:, :TOKENS_DISTILLED]
    widened = m.side is not None and getattr(m.side.adapter, "WIDENS", False)
    shown = cond.tensors[CONTROL].to(noisy.dtype) if m.side else None
    rows, places = [_packed(cat([noisy, shown], 1) if widened else noisy)], [_places(noisy)]
    for latents in references:
        rows.append(_packed(latents.to(noisy.dtype)))
        places.append(_places(latents.to(noisy.dtype)))
        places[-1][:, 0] = 1
    told = {
        "hidden_states": cat(rows, 1),
        "timestep": t.to(noisy.dtype),
        "guidance": full_like(t, guidance) if m.denoiser.config.guidance_embeds else None,
        "pooled_projections": cond.tensors["pooled"],
        "encoder_hidden_states": embeds,
        "txt_ids": noisy.new_zeros(embeds.shape[1], 3),
        "img_ids": cat(places),
        "return_dict": False,
    }
    beside = {}
    if m.side and not widened:
        double, single = m.side.network(controlnet_cond=_packed(shown), **told)
        beside = {"controlnet_block_samples": double, "controlnet_single_block_samples": single}
    said = m.denoiser(**told, **beside)[0][:, : rows[0].shape[1]]
    return FluxPipeline._unpack_latents(said, h, w, 1)


def _packed(latents):
    """Latents [B,C,h,w] as a row of tokens of 2 x 2 cells."""
    from diffusers import FluxPipeline

    return FluxPipeline._pack_latents(latents, *latents.shape)


def _places(latents):
    """[tokens, 3]: 0, row, column of each."""
    from diffusers import FluxPipeline

    batch, _, h, w = latents.shape
    return FluxPipeline._prepare_latent_image_ids(batch, h // 2, w // 2, latents.device, latents.dtype)


def modules(m: Modules) -> dict:
    """The arguments by which a pipeline of FLUX.1 takes them; parts that were freed are None."""
    return {
        "scheduler": m.scheduler, "vae": m.vae, "transformer": m.denoiser,
        "text_encoder": m.text_encoders.get("text_encoder"), "tokenizer": m.tokenizers.get("text_encoder"),
        "text_encoder_2": m.text_encoders.get("text_encoder_2"), "tokenizer_2": m.tokenizers.get("text_encoder_2"),
    }  # fmt: skip


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    return stride, stride * 2  # the transformer sees patches of 2 x 2 cells
