"""Qwen-Image: two streams, picture patches and Qwen2.5-VL's hidden states; a video autoencoder that is given one frame."""

from __future__ import annotations

import math
from pathlib import Path

from ..family import CONTROL, Beside, Blocks, Cond, FamilySpec, LatentSpec, Modules, Original, Placement, Speed, mask_of, numbered

TOKENS = 512  # QwenImagePipeline's default, without the template's head
HEAD = 34  # tokens of the template before the caption, which the pipeline drops

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_FF = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")
_MODULATION = ("img_mod.1", "txt_mod.1")
_LAYERS = (*(f"attn.{x}" for x in _ATTENTION), *_FF, *_MODULATION)  # of a block, as the first release too names them

SPEC = FamilySpec(
    id="qwen_image",
    title="Qwen-Image",
    default_source="Qwen/Qwen-Image",
    elsewhere_called=("qwen", "qwenimage", "qwenimage2512"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Qwen/Qwen-Image/blob/main/LICENSE",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    shift={"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192},
    divisor=16,
    side_px=1024,
    architecture="qwen-image",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _MODULATION},
    parameters=20.4e9,
    other_parameters=(8.3e9, 127e6),
    notes="Large; writes text into pictures, in English and Chinese. Also Qwen-Image-2512.",
    tags=("qwen-image", "text-to-image"),
    blocks={
        "composition": Blocks("Composition", "The first half of the 60 blocks; a rule of thumb.", (rf"^transformer_blocks\.{numbered(0, 29)}\.",)),
        "detail": Blocks("Detail", "The second half of the 60 blocks; a rule of thumb.", (rf"^transformer_blocks\.{numbered(30, 59)}\.",)),
        "no_text": Blocks("All but text", "Everything except the layers of the prompt's own stream.", without=(r"\.add_[qkv]_proj$", r"\.to_add_out$", r"\.txt_m")),
    },
    speed={  # its model card: a shift of 3 whatever the picture's size
        "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V1.1.safetensors": Speed(8, 1, settings={"base_shift": math.log(3), "max_shift": math.log(3), "shift_terminal": None}),
    },
    pipeline="QwenImagePipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=tuple(Original(f"transformer_blocks.{{n}}.{x}", (f"transformer_blocks.{{n}}.{x}",)) for x in _LAYERS),
    comfyui="diffusers",
    beside={"controlnet": Beside("QwenImageControlNetModel", "QwenImageControlNetPipeline", "controlnet", "control_image", "latents", layers={"num_layers": 5})},
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "transformer" in parts:
        m.denoiser = load_part(QwenImageTransformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLQwenImage, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Qwen2_5_VLForConditionalGeneration, folder / "text_encoder", place)
        tokenizer = m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        around = len(tokenizer(pipeline(m).prompt_template_encode.format("")).input_ids)
        tokenizer.model_max_length = TOKENS + HEAD - around  # what is left for a caption
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds [L,D], mask [L]: only the caption's own tokens and the template's end, however many."""
    embeds, mask = pipeline(m)._get_qwen_prompt_embeds(captions, m.text_encoders["text_encoder"].device)
    rows = [e[k.bool()][:TOKENS] for e, k in zip(embeds, mask, strict=True)]
    return [{"embeds": e, "mask": e.new_ones(len(e)).bool()} for e in rows]


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance: a film of one frame, and its one frame."""
    from torch import tensor

    c = m.vae.config
    latents = m.vae.encode(pixels.to(m.vae.dtype).unsqueeze(2)).latent_dist.sample(generator).squeeze(2).float()
    mean, std = (tensor(v, device=latents.device).view(1, -1, 1, 1) for v in (c.latents_mean, c.latents_std))
    return (latents - mean) / std


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w]."""
    from diffusers import QwenImagePipeline

    batch, channels, h, w = noisy.shape
    packed = lambda latents: QwenImagePipeline._pack_latents(latents, batch, channels, h, w)
    told = {
        "hidden_states": packed(noisy),
        "timestep": t.to(noisy.dtype),
        "encoder_hidden_states": cond.tensors["embeds"],
        "encoder_hidden_states_mask": mask_of(cond),
        "img_shapes": [[(1, h // 2, w // 2)]] * batch,
        "return_dict": False,
    }
    beside = {}
    if m.side:
        beside = {"controlnet_block_samples": m.side.network(controlnet_cond=packed(cond.tensors[CONTROL].to(noisy.dtype)), **told)}
    return QwenImagePipeline._unpack_latents(m.denoiser(**told, **beside)[0], h, w, 1).squeeze(2)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import QwenImagePipeline

    return QwenImagePipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae,
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    args = {"prompt_embeds": cond.tensors["embeds"], "prompt_embeds_mask": cond.tensors["mask"], "true_cfg_scale": guidance}
    if guidance > 1:
        args |= {"negative_prompt_embeds": negative.tensors["embeds"], "negative_prompt_embeds_mask": negative.tensors["mask"]}
    return args


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** len(configs["vae"]["temperal_downsample"])
    return stride, stride * 2  # the pipeline packs 2 x 2 cells into one token
