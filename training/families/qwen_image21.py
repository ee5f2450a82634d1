"""Qwen-Image 2.1: one stream of Qwen3-VL's text, of the pictures that it is shown and of the one that it draws; draws and edits with the same weights."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Original, Placement, References, references_of
from ..models import sizes
from ..outside import read_json

SHOWN_SIDE_PX = 1024  # of a square as large as a reference is encoded: QwenImage21Pipeline's output_resolution
SIDE_PX = 32  # sides of both divide by it: one token of the text encoder's picture stands for 2 x 2 latent cells
CELLS = 4  # of these, latent cells for each
MOST_INDEX_BYTES = 1 << 20

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FF = ("img_mlp.proj", "img_mlp.gate_layer", "img_mlp.out")
_AROUND = ("img_in", "txt_in.in_layer", "txt_in.out_layer", "modulation.1", "time_text_embed.timestep_embedder.linear_1", "time_text_embed.timestep_embedder.linear_2", "norm_out.linear", "proj_out")
_LAYERS = (*(f"transformer_blocks.{{n}}.{x}" for x in (*(f"attn.{a}" for a in _ATTENTION), *_FF)), *_AROUND)  # the first release too names them so

SPEC = FamilySpec(
    id="qwen_image21",
    title="Qwen-Image 2.1",
    default_source="Qwen/Qwen-Image-2.1",
    elsewhere_called=("qwenimage21", "qwenimage2", "qwen21"),
    licence="other",  # the Qwen Research License: not for commercial use
    licence_url="https://huggingface.co/Qwen/Qwen-Image-2.1/blob/main/LICENSE",
    latent=LatentSpec(channels=64, stride=16),
    prediction="flow",
    # scheduler/scheduler_config.json of the released repository
    shift={"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192},
    divisor=SIDE_PX,
    side_px=1024,
    architecture="qwen-image-2.1",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _AROUND},
    parameters=7.12e9,
    other_parameters=(8.77e9, 338e6),  # Qwen3-VL-8B
    notes="Draws, and changes pictures as an instruction says, with the same weights; writes text into pictures. A licence for research and evaluation, not for commercial use: it holds for your LoRA too.",
    terms="It is the Qwen Research License: this LoRA, and what is made with it, is for research and evaluation, **not for commercial use**.",
    tags=("qwen-image", "qwen-image-2.1", "text-to-image", "image-to-image"),
    pipeline="QwenImage21Pipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=tuple(Original(x, (x,)) for x in _LAYERS),
    # ComfyUI keeps both in one matrix, the gate's rows first: diffusers' convert_qwen_image21_transformer_checkpoint_to_diffusers
    known=(Original("transformer_blocks.{n}.img_mlp.gate_up", ("transformer_blocks.{n}.img_mlp.gate_layer", "transformer_blocks.{n}.img_mlp.proj"), (1, 1)),),
    comfyui="diffusers",
    references=References(most=10, read=True, read_tokens=1024),  # most: of the model's card; the call itself has no limit
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKLQwenImage21, QwenImage21Transformer2DModel
    from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from ..engine.weights import load_part, load_scheduler
    from ..models.qwen_image21 import Reader

    m = Modules(place.dtype, scheduler=load_scheduler(folder), index=read_json(folder / "model_index.json", MOST_INDEX_BYTES, linked=True))
    if "transformer" in parts:
        m.denoiser = load_part(QwenImage21Transformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLQwenImage21, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(Qwen3VLForConditionalGeneration, folder / "text_encoder", place)
        tokenizer = AutoTokenizer.from_pretrained(folder / "processor", local_files_only=True)
        m.tokenizers["text_encoder"] = Reader(tokenizer, Qwen2VLImageProcessorPil.from_pretrained(folder / "processor", local_files_only=True))
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """As encode_instruction, of captions without pictures."""
    return [encode_instruction(m, caption, []) for caption in captions]


def encode_instruction(m: Modules, caption: str, shown: list) -> dict:
    """embeds [L,D], mask [L], and seen [L], which is True for the tokens of the pictures: the pictures, the caption and the template's end."""
    pipe = pipeline(m)
    sized = [pipe.image_processor.resize(picture.convert("RGBA"), *reversed(reference_size(*picture.size))) for picture in shown]
    embeds, _, seen = pipe._get_qwen_prompt_embeds([caption], sized or None, m.text_encoders["text_encoder"].device)
    return {"embeds": embeds[0], "mask": seen.new_ones(seen.shape[1]).bool(), "seen": seen[0].bool()}


def reference_size(width: int, height: int) -> tuple[int, int]:
    """The size of about SHOWN_SIDE_PX squared and the same shape."""
    return sizes.of_area(SHOWN_SIDE_PX * SHOWN_SIDE_PX, SIDE_PX, width, height)


def encode_reference(m: Modules, pixels):
    """pixels [1,3,H,W] in [-1,1] -> latents [1,64,h,w], the likeliest ones."""
    return _normalised(m, _posterior(m, pixels).mode())


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,64,h,w] with about unit variance: a film of one frame, and its one frame."""
    return _normalised(m, _posterior(m, pixels).sample(generator))


def _posterior(m: Modules, pixels):
    """The autoencoder's, of pictures that hide nothing: it reads how much each pixel covers, too."""
    from torch import cat, ones_like

    more = m.vae.config.in_channels - pixels.shape[1]
    whole = cat([pixels, ones_like(pixels[:, :more])], dim=1) if more else pixels
    return m.vae.encode(whole.to(m.vae.dtype).unsqueeze(2)).latent_dist


def _normalised(m: Modules, latents):
    from torch import tensor

    c, latents = m.vae.config, latents.squeeze(2).float()
    mean, std = (tensor(v, device=latents.device).view(1, -1, 1, 1) for v in (c.latents_mean, c.latents_std))
    return (latents - mean) / std


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,64,h,w]; t [B] in [0,1] -> noise - clean, [B,64,h,w].  The network counts the places of all rows by the first one's text,
    so rows whose captions differ in length are asked by themselves."""
    from torch import empty_like

    lengths = cond.tensors["mask"].sum(1).tolist()
    if len(set(lengths)) == 1:
        return _predict(m, noisy, t, cond.tensors["embeds"][:, : lengths[0]], cond.tensors["seen"][:, : lengths[0]], references_of(cond))
    said = empty_like(noisy)
    for length in sorted(set(lengths)):
        rows = [n for n, of in enumerate(lengths) if of == length]
        said[rows] = _predict(m, noisy[rows], t[rows], cond.tensors["embeds"][rows, :length], cond.tensors["seen"][rows, :length], [r[rows] for r in references_of(cond)])
    return said


def _predict(m: Modules, noisy, t, embeds, seen, shown: list):
    """As predict, of captions of one length that nothing pads."""
    from torch import cat

    batch, _, h, w = noisy.shape
    latents = [*(reference.to(noisy.dtype) for reference in shown), noisy]
    said = m.denoiser(
        hidden_states=cat([x.flatten(2).transpose(1, 2) for x in latents], dim=1),
        timestep=t,
        encoder_hidden_states=embeds,
        img_shapes=[[(1, *x.shape[2:]) for x in latents]] * batch,
        img_mask=cat([seen, seen.new_ones(batch, h * w // CELLS)], dim=1),
        return_dict=False,
    )[0]
    return said[:, -h * w :].transpose(1, 2).reshape(noisy.shape)


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules, set as the checkpoint says; parts that were freed are None."""
    from ..models.qwen_image21 import CachedPipeline

    return CachedPipeline(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae, sample_sigmas=m.index.get("sample_sigmas"),
        text_encoder=m.text_encoders.get("text_encoder"), processor=m.tokenizers.get("text_encoder"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    args = {
        "prompt_embeds": cond.tensors["embeds"], "prompt_embeds_mask": cond.tensors["mask"], "image_pad_mask": cond.tensors["seen"],
        "true_cfg_scale": guidance, "output_resolution": SHOWN_SIDE_PX,
    }  # fmt: skip
    if guidance > 1:
        args |= {
            "negative_prompt_embeds": negative.tensors["embeds"], "negative_prompt_embeds_mask": negative.tensors["mask"],
            "negative_image_pad_mask": negative.tensors["seen"],
        }  # fmt: skip
    return args


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** len(configs["vae"]["temperal_downsample"])
    return stride, stride * 2  # one token of the text encoder stands for 2 x 2 cells
