"""A FLUX.2 klein of a few thousand weights, not distilled."""

from pathlib import Path

from . import parts, tokens
from .flux2 import SIDE, SIZE, as_answer  # noqa: F401 part of the toy


def build(folder: Path, is_distilled: bool = False) -> Path:
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline

    qwen = tokens.qwen2()
    transformer, vae = parts.flux2(guidance_embeds=False)
    Flux2KleinPipeline(
        transformer=transformer, vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), is_distilled=is_distilled,
        text_encoder=parts.qwen3(qwen, "Qwen3ForCausalLM", layers=28), tokenizer=qwen,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def from_pipe(m, latents, shape):
    """Latents [B,C,h,w] of what the pipeline gives back: the autoencoder's own, neither normalised nor in patches."""
    from diffusers import Flux2KleinPipeline

    mean, variance = (v.view(1, -1, 1, 1) for v in (m.vae.bn.running_mean, m.vae.bn.running_var))
    return (Flux2KleinPipeline._patchify_latents(latents) - mean) / (variance + m.vae.config.batch_norm_eps).sqrt()
