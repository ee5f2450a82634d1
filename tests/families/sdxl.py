"""A Stable Diffusion XL of a few thousand weights."""

from pathlib import Path

from tests import tiny

from . import parts

SIDE, SIZE = 32, (32, 48)


def build(folder: Path, prediction_type: str = "epsilon", zeros: bool = True, large: tuple[int, int] = (48, 10), layers: int = 2) -> Path:
    """large: width and layers of the second encoder; wider than the first, and deep enough to be known as SDXL's in a single file.  layers: of each block."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first, second = tiny.clip_tokenizer(), tiny.clip_tokenizer()
    wide = parts.clip_config(second)
    wide.hidden_size, wide.num_hidden_layers = large
    second.pad_token = "!"  # as in the released checkpoint: the two encoders are padded differently
    torch.manual_seed(3)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=layers, sample_size=16, norm_num_groups=2, cross_attention_dim=32 + large[0],
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4),
        use_linear_projection=True, transformer_layers_per_block=(1, 2), addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1, prediction_type=prediction_type
    )
    StableDiffusionXLPipeline(
        vae=parts.kl_vae(4, 0.13025, None, quant=True, force_upcast=True), unet=unet, scheduler=scheduler, force_zeros_for_empty_prompt=zeros,
        text_encoder=CLIPTextModel(parts.clip_config(first)).eval(), tokenizer=first,
        text_encoder_2=CLIPTextModelWithProjection(wide).eval(), tokenizer_2=second,
    ).save_pretrained(folder)  # fmt: skip
    return folder
