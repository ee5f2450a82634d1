"""A Chroma of a few thousand weights."""

from pathlib import Path

from . import parts, tokens
from .flux1 import to_pipe  # noqa: F401 part of the toy: the same packing

SIDE, SIZE = 32, (32, 48)
TRIMMED = True


def build(folder: Path) -> Path:
    import torch
    from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

    t5 = tokens.t5(512)
    torch.manual_seed(0)
    transformer = ChromaTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
        axes_dims_rope=[4, 4, 8], approximator_hidden_dim=32, approximator_layers=1, approximator_num_channels=16,
    )  # fmt: skip
    ChromaPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), vae=parts.kl_vae(4), text_encoder=parts.t5_encoder(t5), tokenizer=t5,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def mend(pipe):
    """Makes the pipeline's mask one: as numbers, 0 and 1, it hides nothing (huggingface/diffusers, issue 12116)."""
    prepare = pipe._prepare_attention_mask
    pipe._prepare_attention_mask = lambda attention_mask, **rest: prepare(attention_mask=attention_mask if attention_mask is None else attention_mask.bool(), **rest)
