"""Stable Diffusion XL (epsilon or v-prediction): a UNet, two CLIP text encoders side by side, told about size and crop."""

from __future__ import annotations

import json
from pathlib import Path

from ..family import GEOMETRY, Beside, Blocks, Cond, FamilySpec, KohyaNames, LatentSpec, Modules, Original, Placement, Speed
from ..models.unet import heard

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FF = ("ff.net.0.proj", "ff.net.2")
_CONV = ("conv1", "conv2", "conv_shortcut", "proj_in", "proj_out")

# Stability's own names, which kohya's scripts use: a block of theirs is a resnet (.0) and, where there is one, what attends (.1)
_BLOCKS = {
    **{f"down_blocks.{b}.{{}}.{n}": f"input_blocks.{1 + 3 * b + n}" for b in range(3) for n in range(2)},
    **{f"up_blocks.{b}.{{}}.{n}": f"output_blocks.{3 * b + n}" for b in range(3) for n in range(3)},
}
_RESNETS = {ours.format("resnets"): f"{theirs}.0" for ours, theirs in _BLOCKS.items()} | {
    "mid_block.resnets.0": "middle_block.0", "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
_ATTENTIONS = {ours.format("attentions"): f"{theirs}.1" for ours, theirs in _BLOCKS.items()} | {"mid_block.attentions.0": "middle_block.1"}
_INSIDE = ("proj_in", "proj_out", *(f"transformer_blocks.{{n}}.{x}" for x in (*(f"attn{i}.{y}" for i in (1, 2) for y in _ATTENTION), *_FF)))
_ORIGINALS = (
    *(Original(f"{t}.{y}", (f"{o}.{x}",)) for o, t in _RESNETS.items() for x, y in (("conv1", "in_layers.2"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection"))),
    *(Original(f"{t}.{x}", (f"{o}.{x}",)) for o, t in _ATTENTIONS.items() for x in _INSIDE),
)

ILLUSTRIOUS, NOOBAI, NOOBAI_V, PONY = (
    "OnomaAIResearch/Illustrious-xl-early-release-v0", "Laxhar/noobai-XL-1.1", "Laxhar/noobai-XL-Vpred-1.0", "kitty7779/ponyDiffusionV6XL",
)  # fmt: skip
_OFFSPRING = (ILLUSTRIOUS, NOOBAI, NOOBAI_V, PONY)

SPEC = FamilySpec(
    id="sdxl",
    title="Stable Diffusion XL",
    default_source="stabilityai/stable-diffusion-xl-base-1.0",
    elsewhere_called=("xl", "sdxl", "stablediffusionxl", "stablediffusionxl10base"),
    licence="openrail++",
    licence_url="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
    latent=LatentSpec(channels=4, stride=8),
    prediction="scheduler",
    divisor=32,
    side_px=1024,
    architecture="stable-diffusion-xl-v1-base",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _CONV},
    parameters=2.57e9,
    other_parameters=(0.82e9, 84e6),
    notes="Also its many finetunes, v-prediction ones too: the noise schedule is read from the checkpoint's own scheduler.",
    titles={ILLUSTRIOUS: "Illustrious XL", NOOBAI: "NoobAI-XL", NOOBAI_V: "NoobAI-XL V-Pred", PONY: "Pony Diffusion V6 XL"},
    # as their model cards say; NoobAI adds terms of its own, among them no commercial use, and so does Pony's author on the page of the release
    licences={
        ILLUSTRIOUS: ("other", "https://freedevproject.org/faipl-1.0-sd/"), PONY: ("other", "https://civitai.com/models/257749"),
        **{id: ("other", f"https://huggingface.co/{id}") for id in (NOOBAI, NOOBAI_V)},
    },
    licence_names={id: "fair-ai-public-license-1.0-sd" for id in _OFFSPRING},
    words={id: "booru" for id in _OFFSPRING},
    tags=("stable-diffusion-xl", "stable-diffusion-xl-diffusers", "text-to-image"),
    pipeline="StableDiffusionXLPipeline",
    parts={"denoiser": ("unet",), "text": ("text_encoder", "text_encoder_2"), "vae": ("vae",)},
    trainable_text=("text_encoder", "text_encoder_2"),
    kohya=KohyaNames({"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}, _ORIGINALS),
    originals=_ORIGINALS,
    blocks={
        # Frenkel et al. 2024, "Implicit Style-Content Separation using B-LoRA", arXiv 2403.14572
        "content": Blocks("Content", "The block that B-LoRA found to hold what is in the picture.", (r"^up_blocks\.0\.attentions\.0\.",)),
        "style": Blocks("Style", "The block that B-LoRA found to hold its style and colours.", (r"^up_blocks\.0\.attentions\.1\.",)),
        "content_and_style": Blocks("Content and style", "Both of B-LoRA's blocks: small, and can be parted later.", (r"^up_blocks\.0\.attentions\.[01]\.",)),
        "composition": Blocks("Composition", "The coarse blocks in the middle of the network, which see the picture smallest.", (r"^down_blocks\.2\.", r"^mid_block\.", r"^up_blocks\.0\.")),
        "detail": Blocks("Detail", "The fine blocks at both ends of the network.", (r"^down_blocks\.[01]\.", r"^up_blocks\.[12]\.")),
        "no_text": Blocks("All but text", "Everything except where the prompt is read.", without=(r"\.attn2\.",)),
    },
    # as their model cards draw with them; those of one and two steps want timesteps of their own (DMD2's are within ten of LCM's)
    speed={
        "ByteDance/SDXL-Lightning/sdxl_lightning_4step_lora.safetensors": Speed(4, 0, 1.0, "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
        "ByteDance/Hyper-SD/Hyper-SDXL-8steps-lora.safetensors": Speed(8, 0, 1.0, "DDIMScheduler", {"timestep_spacing": "trailing"}),
        "latent-consistency/lcm-lora-sdxl": Speed(6, 1, 1.0, "LCMScheduler"),
        "tianweiy/DMD2/dmd2_sdxl_4step_lora_fp16.safetensors": Speed(4, 0, 1.0, "LCMScheduler"),
    },
    beside={
        "controlnet": Beside("ControlNetModel", "StableDiffusionXLControlNetPipeline", "controlnet"),
        "t2i_adapter": Beside("T2IAdapter", "StableDiffusionXLAdapterPipeline", "adapter"),
        "ip_adapter": Beside("", "StableDiffusionXLPipeline", "", "ip_adapter_image_embeds", "picture", "h94/IP-Adapter/models/image_encoder"),
    },
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder), index=json.loads((folder / "model_index.json").read_text(encoding="utf-8")))
    if "unet" in parts:
        m.denoiser = load_part(UNet2DConditionModel, folder / "unet", place)
    if "vae" in parts:
        m.vae = _load_vae(AutoencoderKL, folder / "vae", place)
    for name, cls, tokenizer in (("text_encoder", CLIPTextModel, "tokenizer"), ("text_encoder_2", CLIPTextModelWithProjection, "tokenizer_2")):
        if name in parts:
            m.text_encoders[name] = load_part(cls, folder / name, place)
            m.tokenizers[name] = CLIPTokenizer.from_pretrained(folder / tokenizer)
    return m


def _load_vae(cls, folder: Path, place: Placement):
    """The VAE; in fp32 where its config asks for it (force_upcast): the original overflows in fp16."""
    from torch import autocast, float32

    from ..engine.weights import load_part

    upcast = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("force_upcast", True)
    vae = load_part(cls, folder, Placement(float32, place.device) if upcast else place)
    if upcast:
        decode = vae.decode

        def decode_in_fp32(z, *args, **kwargs):  # the pipeline hands over latents in the denoiser's format, under autocast
            with autocast(z.device.type, enabled=False):
                return decode(z.to(vae.dtype), *args, **kwargs)

        vae.decode = decode_in_fp32
    return vae


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """From the first encoder: embeds_1 [L,D]; from the second: embeds_2 [L,D], pooled [P], and whether the caption is empty."""
    from torch import tensor

    rows = [{} for _ in captions]
    for name, encoder in m.text_encoders.items():
        tokenizer, number = m.tokenizers[name], {"text_encoder": 1, "text_encoder_2": 2}[name]
        tokens = tokenizer(captions, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
        said = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True)
        for row, embeds in zip(rows, said.hidden_states[-2], strict=True):
            row[f"embeds_{number}"] = embeds
        if name == "text_encoder_2":
            for row, pooled, caption in zip(rows, said.text_embeds, captions, strict=True):
                row |= {"pooled": pooled, "empty": tensor(not caption.strip())}
    return rows


def _embeds(cond: Cond):
    """What both encoders said, side by side: [B,L,D1+D2]."""
    from torch import cat

    return cat([cond.tensors["embeds_1"], cond.tensors["embeds_2"]], dim=-1)


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,4,h,w] with about unit variance."""
    posterior = m.vae.encode(pixels.to(m.vae.dtype)).latent_dist
    return posterior.sample(generator).float() * m.vae.config.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,4,h,w]; t [B] whole timesteps 0..999 -> epsilon or v, [B,4,h,w].  GEOMETRY goes in as SDXL's time ids."""
    added = {"text_embeds": cond.tensors["pooled"], "time_ids": cond.tensors[GEOMETRY].float()}  # px above 256 are not whole in bf16
    told = heard(m, noisy, t, cond, {"encoder_hidden_states": _embeds(cond), "added_cond_kwargs": added})
    return m.denoiser(noisy, t, **told, return_dict=False)[0]


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=m.vae, unet=m.denoiser, scheduler=m.scheduler, add_watermarker=False,
        text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"),
        text_encoder_2=m.text_encoders.get("text_encoder_2"), tokenizer_2=m.tokenizers.get("text_encoder_2"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call.

    An empty negative prompt is all zeros where the checkpoint says so (force_zeros_for_empty_prompt), as in the public pipeline.
    """
    embeds, pooled = _embeds(negative), negative.tensors["pooled"]
    if m.index.get("force_zeros_for_empty_prompt", True) and negative.tensors["empty"].all():
        embeds, pooled = embeds.new_zeros(embeds.shape), pooled.new_zeros(pooled.shape)
    return {
        "prompt_embeds": _embeds(cond), "pooled_prompt_embeds": cond.tensors["pooled"],
        "negative_prompt_embeds": embeds, "negative_pooled_prompt_embeds": pooled, "guidance_scale": guidance,
    }  # fmt: skip


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    return stride, stride * 2 ** (len(configs["unet"]["block_out_channels"]) - 1)
