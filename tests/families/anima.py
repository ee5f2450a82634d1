"""An Anima of a few thousand weights, saved by diffusers' blocks as the released repository was."""

from pathlib import Path

from . import parts, tokens

SIDE, SIZE = 32, (32, 48)


def build(folder: Path) -> Path:
    import torch
    from diffusers import (
        AnimaAutoBlocks,
        AnimaTextConditioner,
        AutoencoderKLQwenImage,
        CosmosTransformer3DModel,
        FlowMatchEulerDiscreteScheduler,
    )

    qwen, t5 = tokens.qwen2(), tokens.t5(512)
    torch.manual_seed(0)
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.5, 1.0, 2.0],
    ).eval()  # fmt: skip
    conditioner = AnimaTextConditioner(
        source_dim=16, target_dim=16, model_dim=16, num_layers=1, num_attention_heads=2, target_vocab_size=len(t5), min_sequence_length=512
    )
    transformer = CosmosTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, num_layers=2, mlp_ratio=2.0, text_embed_dim=16,
        adaln_lora_dim=4, max_size=(4, 32, 32), patch_size=(1, 2, 2), rope_scale=(1.0, 4.0, 4.0), concat_padding_mask=True, extra_pos_embed_type=None,
    )  # fmt: skip
    pipe = AnimaAutoBlocks().init_pipeline()
    pipe.update_components(
        text_encoder=parts.qwen3(qwen, layers=2), tokenizer=qwen, t5_tokenizer=t5, text_conditioner=conditioner.eval(), transformer=transformer,
        vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    pipe.save_pretrained(str(folder), overwrite_modular_index=True)
    return folder


def as_answer(m, x):
    """The denoiser's answer: a film of one frame."""
    return (x.unsqueeze(2),)
