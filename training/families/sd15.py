"""Stable Diffusion 1.x and 2.x (epsilon or v-prediction): a UNet, one CLIP text encoder, a KL autoencoder."""

from __future__ import annotations

from pathlib import Path

from ..family import Beside, Blocks, Cond, FamilySpec, KohyaNames, LatentSpec, Modules, Placement, Speed
from ..models.unet import heard

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FF = ("ff.net.0.proj", "ff.net.2")
_CONV = ("conv1", "conv2", "proj_in", "proj_out")

SPEC = FamilySpec(
    id="sd15",
    title="Stable Diffusion 1.5",
    default_source="stable-diffusion-v1-5/stable-diffusion-v1-5",
    elsewhere_called=("sd1", "sd1x", "sd15", "sd2", "sd2x", "stablediffusion15", "stablediffusion20", "stablediffusion20base", "stablediffusion21", "stablediffusion21base", "stablediffusionv15"),
    licence="creativeml-openrail-m",
    licence_url="https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    latent=LatentSpec(channels=4, stride=8),
    prediction="scheduler",
    divisor=64,
    side_px=512,
    architecture="stable-diffusion-v1",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _CONV},
    parameters=860e6,
    notes="Also 2.x and v-prediction checkpoints: the noise schedule is read from the checkpoint's own scheduler.",
    titles={"builtin": "Easel’s own small model"},
    words={"builtin": "shapes"},
    tags=("stable-diffusion", "stable-diffusion-diffusers"),
    pipeline="StableDiffusionPipeline",
    parts={"denoiser": ("unet",), "text": ("text_encoder",), "vae": ("vae",)},
    trainable_text=("text_encoder",),
    kohya=KohyaNames({"unet": "lora_unet", "text_encoder": "lora_te"}),
    # one transformer block in each place that attends; the larger UNets have up to ten
    marks=r"(?:(?:down|up)_blocks.[0-3]|mid_block).(?:attentions.[0-2].(?:proj_in|proj_out|transformer_blocks.0.(?:attn[12].(?:to_[qkv]|to_out.0)|ff.net.(?:0.proj|2)))"
    r"|resnets.[0-2].(?:conv1|conv2|conv_shortcut|time_emb_proj)|(?:down|up)samplers.0.conv)|conv_in|conv_out|time_embedding.linear_[12]",
    blocks={
        "composition": Blocks("Composition", "The coarse blocks in the middle of the network, which see the picture smallest.", (r"^down_blocks\.[23]\.", r"^mid_block\.", r"^up_blocks\.[01]\.")),
        "detail": Blocks("Detail", "The fine blocks at both ends of the network.", (r"^down_blocks\.[01]\.", r"^up_blocks\.[23]\.")),
        "no_text": Blocks("All but text", "Everything except where the prompt is read.", without=(r"\.attn2\.",)),
    },
    speed={"latent-consistency/lcm-lora-sdv1-5": Speed(6, 1, 1.0, "LCMScheduler")},
    beside={
        "controlnet": Beside("ControlNetModel", "StableDiffusionControlNetPipeline", "controlnet"),
        "t2i_adapter": Beside("T2IAdapter", "StableDiffusionAdapterPipeline", "adapter"),
        "ip_adapter": Beside("", "StableDiffusionPipeline", "", "ip_adapter_image_embeds", "picture", "h94/IP-Adapter/models/image_encoder"),
    },
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "unet" in parts:
        m.denoiser = load_part(UNet2DConditionModel, folder / "unet", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKL, folder / "vae", place)
    if "text_encoder" in parts:
        m.text_encoders["text_encoder"] = load_part(CLIPTextModel, folder / "text_encoder", place)
        m.tokenizers["text_encoder"] = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds: [L,D], padded to the tokenizer's full length as the pipeline does."""
    embeds, _ = pipeline(m).encode_prompt(captions, m.text_encoders["text_encoder"].device, 1, False)
    return [{"embeds": e} for e in embeds]


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,4,h,w] with about unit variance."""
    posterior = m.vae.encode(pixels.to(m.vae.dtype)).latent_dist
    return posterior.sample(generator).float() * m.vae.config.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,4,h,w]; t [B] whole timesteps 0..999 -> epsilon or v, [B,4,h,w]."""
    told = heard(m, noisy, t, cond, {"encoder_hidden_states": cond.tensors["embeds"]})
    return m.denoiser(noisy, t, **told, return_dict=False)[0]


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=m.vae,
        text_encoder=m.text_encoders.get("text_encoder"),
        tokenizer=m.tokenizers.get("text_encoder"),
        unet=m.denoiser,
        scheduler=m.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    return {"prompt_embeds": cond.tensors["embeds"], "negative_prompt_embeds": negative.tensors["embeds"], "guidance_scale": guidance}


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    return stride, stride * 2 ** (len(configs["unet"]["block_out_channels"]) - 1)
