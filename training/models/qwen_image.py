"""What Qwen-Image's checkpoints have in common: layers, the autoencoder of films that is given one frame, and the network's call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..family import CONTROL, Blocks, Cond, LatentSpec, Modules, Original, Placement, mask_of, numbered

LATENT = LatentSpec(channels=16, stride=8, patch=2)
# of the checkpoints' scheduler
SHIFT = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192}

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
FF = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")
MODULATION = ("img_mod.1", "txt_mod.1")
LORA_TARGETS = {"attention": ATTENTION, "attention+ff": ATTENTION + FF, "all": ATTENTION + FF + MODULATION}
BLOCKS = {
    "composition": Blocks("Composition", "The first half of the 60 blocks; a rule of thumb.", (rf"^transformer_blocks\.{numbered(0, 29)}\.",)),
    "detail": Blocks("Detail", "The second half of the 60 blocks; a rule of thumb.", (rf"^transformer_blocks\.{numbered(30, 59)}\.",)),
    "no_text": Blocks("All but text", "Everything except the layers of the prompt's own stream.", without=(r"\.add_[qkv]_proj$", r"\.to_add_out$", r"\.txt_m")),
}
# of a block, as the first release too names them
ORIGINALS = tuple(Original(f"transformer_blocks.{{n}}.{x}", (f"transformer_blocks.{{n}}.{x}",)) for x in (*(f"attn.{x}" for x in ATTENTION), *FF, *MODULATION))


def load(m: Modules, folder: Path, parts: set[str], place: Placement) -> Modules:
    """`m` with the asked-for parts from a folder in diffusers layout."""
    from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    from ..engine.weights import load_part

    if "transformer" in parts:
        m.denoiser = load_part(QwenImageTransformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLQwenImage, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Qwen2_5_VLForConditionalGeneration, folder / "text_encoder", place)
        m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return m


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance: a film of one frame, and its one frame."""
    return normalised(m, posterior(m, pixels).sample(generator))


def posterior(m: Modules, pixels):
    """What the autoencoder says of pixels [B,3,H,W] in [-1,1]: a distribution of films of one frame, [B,C,1,h,w]."""
    return m.vae.encode(pixels.to(m.vae.dtype).unsqueeze(2)).latent_dist


def normalised(m: Modules, films):
    """The autoencoder's own latents [B,C,1,h,w], brought to about unit variance: [B,C,h,w], fp32."""
    from torch import tensor

    c = m.vae.config
    latents = films.squeeze(2).float()
    mean, std = (tensor(v, device=latents.device).view(1, -1, 1, 1) for v in (c.latents_mean, c.latents_std))
    return (latents - mean) / std


def predict(m: Modules, noisy, t, cond: Cond, references: Sequence = ()):
    """noisy [B,16,h,w]; t [B] in [0,1]; references: latents [B,16,h',w'] that are shown behind the noisy ones -> noise - clean, [B,16,h,w]."""
    from diffusers import QwenImagePipeline
    from torch import cat

    h, w = noisy.shape[-2:]
    pictures = [noisy, *(latents.to(noisy.dtype) for latents in references)]
    rows = [_packed(latents) for latents in pictures]
    told = {
        "hidden_states": cat(rows, 1),
        "timestep": t.to(noisy.dtype),
        "encoder_hidden_states": cond.tensors["embeds"],
        "encoder_hidden_states_mask": mask_of(cond),
        "img_shapes": [[(1, latents.shape[-2] // 2, latents.shape[-1] // 2) for latents in pictures]] * len(noisy),
        "return_dict": False,
    }
    beside = {}
    if m.side:
        beside = {"controlnet_block_samples": m.side.network(controlnet_cond=_packed(cond.tensors[CONTROL].to(noisy.dtype)), **told)}
    said = m.denoiser(**told, **beside)[0][:, : rows[0].shape[1]]
    return QwenImagePipeline._unpack_latents(said, h, w, 1).squeeze(2)


def _packed(latents):
    """Latents [B,C,h,w] as a row of tokens of 2 x 2 cells."""
    from diffusers import QwenImagePipeline

    return QwenImagePipeline._pack_latents(latents, *latents.shape)


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to a pipeline's call."""
    args = {"prompt_embeds": cond.tensors["embeds"], "prompt_embeds_mask": cond.tensors["mask"], "true_cfg_scale": guidance}
    if guidance > 1:
        args |= {"negative_prompt_embeds": negative.tensors["embeds"], "negative_prompt_embeds_mask": negative.tensors["mask"]}
    return args


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** len(configs["vae"]["temperal_downsample"])
    return stride, stride * 2  # the pipelines pack 2 x 2 cells into one token
