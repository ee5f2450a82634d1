"""A Lumina-Image 2.0 of a few thousand weights."""

from pathlib import Path

from . import parts, tokens

SIDE, SIZE = 32, (32, 48)


def build(folder: Path) -> Path:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    gemma = tokens.gemma()
    torch.manual_seed(0)
    transformer = Lumina2Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, hidden_size=24, num_layers=2, num_refiner_layers=1, num_attention_heads=3,
        num_kv_heads=1, multiple_of=16, axes_dim_rope=[4, 2, 2], axes_lens=[300, 64, 64], cap_feat_dim=8,
    )  # fmt: skip
    config = Gemma2Config(
        vocab_size=len(gemma), head_dim=4, hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=2,
        num_key_value_heads=2, pad_token_id=gemma.pad_token_id,
    )  # fmt: skip
    Lumina2Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0), vae=parts.kl_vae(4, levels=4),  # its pipeline knows only 8 px a cell
        text_encoder=Gemma2Model(config).eval(), tokenizer=gemma,
    ).save_pretrained(folder)  # fmt: skip
    return folder
