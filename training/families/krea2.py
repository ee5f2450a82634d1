"""Krea 2: one stream of picture patches and of twelve layers of Qwen3-VL, with Qwen-Image's autoencoder."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Original, Placement, Speed, mask_of
from ..outside import read_json

TOKENS = 512  # Krea2Pipeline's default: the caption and the template's end, without its head
MOST_INDEX_BYTES = 1 << 20
HEAD, END = 34, 5  # tokens of the template before the caption, which the pipeline drops, and after it

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "to_gate")
_FF = ("ff.gate", "ff.up", "ff.down")
# Krea's own names (github.com/krea-ai/krea-2) of what lies outside the blocks; diffusers' convert_krea2_transformer_checkpoint_to_diffusers
_AROUND = {
    "first": "img_in", "last.linear": "final_layer.linear", "tmlp.0": "time_embed.linear_1", "tmlp.2": "time_embed.linear_2", "tproj.1": "time_mod_proj",
    "txtmlp.1": "txt_in.linear_1", "txtmlp.3": "txt_in.linear_2", "txtfusion.projector": "text_fusion.projector",
}  # fmt: skip
# Of these the projector, one output of twelve inputs, is left as it is: it takes four dimensions, which peft's OFT takes for a picture's
_WRAPPED = tuple(layer for layer in _AROUND.values() if layer != "text_fusion.projector")
_IN_BLOCK = {
    "attn.wq": "attn.to_q", "attn.wk": "attn.to_k", "attn.wv": "attn.to_v", "attn.wo": "attn.to_out.0", "attn.gate": "attn.to_gate",
    "mlp.gate": "ff.gate", "mlp.up": "ff.up", "mlp.down": "ff.down",
}  # fmt: skip
_STACKS = {
    "blocks": "transformer_blocks", "txtfusion.layerwise_blocks": "text_fusion.layerwise_blocks", "txtfusion.refiner_blocks": "text_fusion.refiner_blocks",
}  # fmt: skip
_TABLE = "transformer_blocks.{n}.scale_shift_table"
_RELEASED = (
    ("txt_in.norm.weight", "txtmlp.0.scale"), ("final_layer.norm.weight", "last.norm.scale"), ("final_layer.scale_shift_table", "last.modulation.lin"),
    (_TABLE, "blocks.{n}.mod.lin"),
    *(
        (f"{ours}.{{n}}.{a}.weight", f"{theirs}.{{n}}.{b}.scale")
        for theirs, ours in _STACKS.items()
        for a, b in (("norm1", "prenorm"), ("norm2", "postnorm"), ("attn.norm_q", "attn.qknorm.qnorm"), ("attn.norm_k", "attn.qknorm.knorm"))
    ),
)  # fmt: skip

SPEC = FamilySpec(
    id="krea2",
    title="Krea 2",
    default_source="krea/Krea-2-Raw",
    titles={"krea/Krea-2-Turbo": "Krea 2 Turbo"},
    elsewhere_called=("krea2", "krea2raw", "krea2turbo"),
    licence="other",
    licence_url="https://www.krea.ai/krea-2-licensing",
    # the licence's sections 2.3 and 4.2
    terms="It is the Krea 2 Community License: commercial use of this LoRA and of its pictures only with a yearly revenue below 1,000,000 USD; who offers it to others filters unlawful content.",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    shift={"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 6400},
    divisor=16,
    side_px=1024,
    architecture="krea-2",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _WRAPPED},
    parameters=12.8e9,
    other_parameters=(4.44e9, 127e6),  # Qwen3-VL-4B with its picture side, which captions do not need
    notes=(
        "Train on krea/Krea-2-Raw, which is not made for drawing, and use the LoRA on krea/Krea-2-Turbo, which is distilled to eight steps without guidance. "
        "A licence to accept on the Hub; commercial use below a yearly revenue of 1,000,000 USD."
    ),
    tags=("krea-2", "text-to-image"),
    # diffusers, examples/dreambooth/README_krea2.md
    elsewhere=(
        "What is learnt on Krea 2 Raw is meant for [krea/Krea-2-Turbo](https://huggingface.co/krea/Krea-2-Turbo): load that in its place, "
        "and draw with `num_inference_steps=8, guidance_scale=0.0`."
    ),
    pipeline="Krea2Pipeline",
    # Turbo without Raw, in rank 64, by Krea and ComfyUI's authors; with the shift that Krea2Pipeline fixes for Turbo, whatever the size
    speed={"Comfy-Org/Krea-2/loras/krea2_turbo_lora_rank_64_bf16.safetensors": Speed(8, 1, settings={"base_shift": 1.15, "max_shift": 1.15})},
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    alike=("krea/Krea-2-Turbo",),
    never_recomputed=0.01,  # the four blocks that put twelve layers together hold few numbers: of a hundred words 0.26 of what one of the 28 holds of 1024 px
    originals=(
        *(Original(f"{theirs}.{{n}}.{a}", (f"{ours}.{{n}}.{b}",)) for theirs, ours in _STACKS.items() for a, b in _IN_BLOCK.items()),
        *(Original(theirs, (ours,)) for theirs, ours in _AROUND.items()),
    ),
    released=_RELEASED,
    flat=(_TABLE,),
    comfyui="diffusers",
    pipeline_reads_originals=True,
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKLQwenImage, Krea2Transformer2DModel
    from transformers import AutoTokenizer, Qwen3VLModel

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder), index=read_json(folder / "model_index.json", MOST_INDEX_BYTES, linked=True))
    if "transformer" in parts:
        m.denoiser = load_part(Krea2Transformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLQwenImage, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Qwen3VLModel, folder / "text_encoder", place)
        tokenizer = m.tokenizers["text_encoder"] = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        before = len(tokenizer(pipeline(m).prompt_template_encode_prefix).input_ids)
        tokenizer.model_max_length = TOKENS + HEAD - END - before  # what is left for a caption
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds [L,12,D], mask [L]: only the caption's own tokens and the template's end, however many."""
    embeds, mask = pipeline(m).get_text_hidden_states(captions, TOKENS, m.text_encoders["text_encoder"].device)
    rows = [e[k] for e, k in zip(embeds, mask, strict=True)]
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
    from diffusers import Krea2Pipeline

    batch, channels, h, w = noisy.shape
    p = m.index.get("patch_size", 2)
    embeds = cond.tensors["embeds"]
    said = m.denoiser(
        hidden_states=noisy.view(batch, channels, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(batch, h // p * (w // p), channels * p * p),
        encoder_hidden_states=embeds,
        timestep=t,  # in fp32, as diffusers' training script hands it over: the network multiplies it by 1000
        position_ids=Krea2Pipeline.prepare_position_ids(embeds.shape[1], h // p, w // p, noisy.device),
        encoder_attention_mask=mask_of(cond),
        return_dict=False,
    )[0]
    return said.view(batch, h // p, w // p, channels, p, p).permute(0, 3, 1, 4, 2, 5).reshape(noisy.shape)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules, set as the checkpoint says; parts that were freed are None."""
    from diffusers import Krea2Pipeline

    said = {name: m.index[name] for name in ("is_distilled", "patch_size", "text_encoder_select_layers") if name in m.index}
    return Krea2Pipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae,
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"), **said,
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text to the pipeline's call, whose guidance_scale counts from 0, not 1: cond + scale (cond - negative).
    It counts the places of one sequence for both, so both are made equally long."""
    if guidance <= 1:
        return {"prompt_embeds": cond.tensors["embeds"], "prompt_embeds_mask": cond.tensors["mask"], "guidance_scale": 0.0}
    longest = max(len(c.tensors["mask"][0]) for c in (cond, negative))
    (embeds, mask), (against, hides) = (_as_long(c, longest) for c in (cond, negative))
    return {
        "prompt_embeds": embeds, "prompt_embeds_mask": mask, "guidance_scale": guidance - 1,
        "negative_prompt_embeds": against, "negative_prompt_embeds_mask": hides,
    }  # fmt: skip


def _as_long(cond: Cond, length: int) -> tuple:
    """(embeds, mask) with so many hidden tokens behind the others that there are `length`."""
    from torch.nn.functional import pad

    more = length - cond.tensors["mask"].shape[1]
    return pad(cond.tensors["embeds"], (0, 0, 0, 0, 0, more)), pad(cond.tensors["mask"], (0, more))


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** len(configs["vae"]["temperal_downsample"])
    return stride, stride * 2  # the pipeline packs 2 x 2 cells into one token
