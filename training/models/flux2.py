"""What FLUX.2's checkpoints have in common, whichever text encoder they come with: the network's call and the autoencoder's latents.

Latents here are the autoencoder's 2 x 2 patches, [B,128,h,w] at 16 px a cell, normalised with its running statistics.
"""

from __future__ import annotations

import math
from pathlib import Path

from ..family import Blocks, LatentSpec, Modules, Original, Placement

LATENT = LatentSpec(channels=128, stride=16)
TOKENS = 512  # both pipelines' default, the chat template included; all of them are read, padding too
MOST_PX = 1024 * 1024  # of a picture that another is made from: both pipelines scale larger ones down
SINGLE_BLOCKS = 48  # of dev, which has the most

# Of single blocks by their whole names: "attn.to_out" is also what double blocks call a list.
ATTENTION = (
    "to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "attn.to_qkv_mlp_proj",
    *(f"single_transformer_blocks.{n}.attn.to_out" for n in range(SINGLE_BLOCKS)),
)  # fmt: skip
FF = ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out")
MODULATION = ("double_stream_modulation_img.linear", "double_stream_modulation_txt.linear", "single_stream_modulation.linear")
# Black Forest Labs' own names (github.com/black-forest-labs/flux2, src/flux2/model.py)
_DOUBLE, _SINGLE = "transformer_blocks.{n}.", "single_transformer_blocks.{n}."
_STREAMS = (("img", ("to_q", "to_k", "to_v"), "to_out.0", "ff"), ("txt", ("add_q_proj", "add_k_proj", "add_v_proj"), "to_add_out", "ff_context"))
ORIGINALS = (
    *(Original(f"double_blocks.{{n}}.{s}_attn.qkv", tuple(f"{_DOUBLE}attn.{x}" for x in qkv), (1, 1, 1)) for s, qkv, *_ in _STREAMS),
    *(Original(f"double_blocks.{{n}}.{s}_attn.proj", (f"{_DOUBLE}attn.{out}",)) for s, _, out, _ in _STREAMS),
    *(Original(f"double_blocks.{{n}}.{s}_mlp.{a}", (f"{_DOUBLE}{ff}.{b}",)) for s, *_, ff in _STREAMS for a, b in (("0", "linear_in"), ("2", "linear_out"))),
    Original("single_blocks.{n}.linear1", (f"{_SINGLE}attn.to_qkv_mlp_proj",)),
    Original("single_blocks.{n}.linear2", (f"{_SINGLE}attn.to_out",)),
    *(Original(name.removesuffix("ear"), (name,)) for name in MODULATION),
)
RELEASED = (
    ("x_embedder", "img_in"), ("context_embedder", "txt_in"), ("proj_out", "final_layer.linear"), ("norm_out.linear", "final_layer.adaLN_modulation.1"),
    *(
        (f"time_guidance_embed.{ours}_embedder.linear_{n}", f"{theirs}_in.{place}_layer")
        for ours, theirs in (("timestep", "time"), ("guidance", "guidance")) for n, place in ((1, "in"), (2, "out"))
    ),
    *(
        (f"{_DOUBLE}attn.norm_{added}{x}.weight", f"double_blocks.{{n}}.{stream}_attn.norm.{name}_norm.scale")
        for stream, added in (("img", ""), ("txt", "added_")) for x, name in (("q", "query"), ("k", "key"))
    ),
    *((f"{_SINGLE}attn.norm_{x}.weight", f"single_blocks.{{n}}.norm.{name}_norm.scale") for x, name in (("q", "query"), ("k", "key"))),
)  # fmt: skip
BLOCKS = {
    "composition": Blocks("Composition", "The blocks in front, in which picture and prompt still have weights of their own; a rule of thumb.", (r"^transformer_blocks\.",)),
    "detail": Blocks("Detail", "The blocks behind them, in which both share one stream; a rule of thumb.", (r"^single_transformer_blocks\.",)),
    "no_text": Blocks("All but text", "Everything except the layers of the prompt's own stream.", without=(r"\.add_[qkv]_proj$", r"\.to_add_out$", r"\.ff_context\.", r"_modulation_txt\.")),
}
LORA_TARGETS = {"attention": ATTENTION, "attention+ff": ATTENTION + FF, "all": ATTENTION + FF + MODULATION}


def load(m: Modules, folder: Path, parts: set[str], place: Placement) -> Modules:
    """`m` with the denoiser and the VAE, where asked for."""
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    from ..engine.weights import load_part

    if "transformer" in parts:
        m.denoiser = load_part(Flux2Transformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLFlux2, folder / "vae", place)
    return m


def encode_image(m: Modules, pixels):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,128,h,w] with about unit variance: the most likely ones, as both pipelines take them."""
    from diffusers import Flux2Pipeline

    patches = Flux2Pipeline._patchify_latents(m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.mode()).float()
    mean, variance = (v.float().view(1, -1, 1, 1) for v in (m.vae.bn.running_mean, m.vae.bn.running_var))
    return (patches - mean) / (variance + m.vae.config.batch_norm_eps).sqrt()


def reference_size(width: int, height: int) -> tuple[int, int]:
    """The size at which both pipelines encode a reference: at most MOST_PX pixels, cut to whole tokens."""
    if width * height > MOST_PX:
        scale = math.sqrt(MOST_PX / (width * height))
        width, height = int(width * scale), int(height * scale)
    return width // LATENT.stride * LATENT.stride, height // LATENT.stride * LATENT.stride


def predict(m: Modules, noisy, t, embeds, guidance, references):
    """noisy [B,128,h,w]; t [B] in [0,1]; embeds [B,L,D]; guidance [B] or None; references: each [B,128,h',w'] -> noise - clean, [B,128,h,w].

    What the picture is made from follows it as further tokens, each reference at a time coordinate of its own.
    """
    from diffusers import Flux2Pipeline
    from torch import cat

    packed, ids = Flux2Pipeline._pack_latents(noisy), Flux2Pipeline._prepare_latent_ids(noisy).to(noisy.device)
    count = packed.shape[1]
    if references:
        packed = cat([packed, *(Flux2Pipeline._pack_latents(reference.to(noisy.dtype)) for reference in references)], dim=1)
        beside = Flux2Pipeline._prepare_image_ids([reference[:1] for reference in references]).to(noisy.device)
        ids = cat([ids, beside.expand(len(noisy), -1, -1)], dim=1)
    said = m.denoiser(
        hidden_states=packed,
        timestep=t.to(noisy.dtype),
        guidance=guidance,
        encoder_hidden_states=embeds,
        txt_ids=Flux2Pipeline._prepare_text_ids(embeds).to(noisy.device),
        img_ids=ids,
        return_dict=False,
    )[0]
    return said[:, :count].transpose(1, 2).reshape(noisy.shape)


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    vae = configs["vae"]
    stride = 2 ** (len(vae["block_out_channels"]) - 1) * math.isqrt(math.prod(vae["patch_size"]))
    return stride, stride
