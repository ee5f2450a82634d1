"""A FLUX.2 dev of a few thousand weights."""

from pathlib import Path

from . import parts, tokens

SIDE, SIZE = 32, (32, 48)


def build(folder: Path) -> Path:
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2Pipeline
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    mistral = tokens.mistral()
    transformer, vae = parts.flux2(guidance_embeds=True)
    text = dict(
        model_type="mistral", vocab_size=len(mistral), hidden_size=16, intermediate_size=24, max_position_embeddings=2048, num_attention_heads=2,
        num_hidden_layers=31, num_key_value_heads=2, head_dim=8, sliding_window=None, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    vision = dict(
        model_type="pixtral", hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=28, patch_size=7, num_channels=3
    )
    config = Mistral3Config(text_config=text, vision_config=vision, image_token_index=mistral.convert_tokens_to_ids("[IMG]"), spatial_merge_size=2)
    Flux2Pipeline(
        transformer=transformer, vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder=Mistral3ForConditionalGeneration(config).eval(), tokenizer=mistral,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def as_answer(m, x):
    return (x.flatten(2).transpose(1, 2),)


def from_pipe(m, latents, shape):
    """Latents [B,C,h,w] of what the pipeline gives back: a row of tokens."""
    return latents.transpose(1, 2).reshape(shape)
