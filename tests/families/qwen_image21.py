"""A Qwen-Image 2.1 of a few thousand weights."""

from pathlib import Path

from . import parts, tokens

SIDE, SIZE = 64, (64, 96)
PROMPTED = {"negative_prompt": " "}  # without one the pipeline does not guide
SHOWN = 64  # px of a side of a reference, in place of 1024
CALL = {"output_resolution": SHOWN}


def build(folder: Path) -> Path:
    import torch
    from diffusers import AutoencoderKLQwenImage21, FlowMatchEulerDiscreteScheduler, QwenImage21Transformer2DModel
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from training.models.qwen_image21 import CachedPipeline, Reader

    qwen = tokens.qwen2()
    torch.manual_seed(0)
    transformer = QwenImage21Transformer2DModel(
        in_channels=8, out_channels=8, num_layers=2, attention_head_dim=16, num_attention_heads=2, context_in_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    parts.stir(transformer)
    vae = AutoencoderKLQwenImage21(
        base_dim=4, decoder_base_dim=4, z_dim=8, dim_mult=[1, 1, 2, 2, 2], num_res_blocks=1,
        latents_mean=[0.1, -0.2, 0.3, 0.0] * 2, latents_std=[1.5, 0.5, 1.0, 2.0] * 2,
    ).eval()  # fmt: skip
    with torch.no_grad():
        vae.quant_conv.bias[8:] = -8.0  # sure of a picture's latents, as a trained one is: bf16 draws other numbers
    images = Qwen2VLImageProcessorPil(patch_size=16, size={"shortest_edge": 1024, "longest_edge": 1 << 24}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192, shift_terminal=0.02,
    )  # fmt: skip
    text = parts.qwen3_vl(qwen, patch=16)
    written = CachedPipeline(scheduler, vae, text, Reader(qwen, images), transformer)
    for name in ("transformer", "vae", "text_encoder", "scheduler"):
        getattr(written, name).save_pretrained(folder / name)
    qwen.save_pretrained(folder / "processor")
    images.save_pretrained(folder / "processor")
    # as the released repository's file has it; what diffusers writes would name our stand-in for the processor
    (folder / "model_index.json").write_text(INDEX, encoding="utf-8")
    return folder


INDEX = """{
  "_class_name": "QwenImage21Pipeline",
  "_diffusers_version": "0.42.0",
  "processor": ["transformers", "Qwen3VLProcessor"],
  "sample_sigmas": null,
  "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
  "text_encoder": ["transformers", "Qwen3VLForConditionalGeneration"],
  "transformer": ["diffusers", "QwenImage21Transformer2DModel"],
  "vae": ["diffusers", "AutoencoderKLQwenImage21"]
}
"""


def opened(cls, folder):
    """diffusers' own pipeline over the folder's parts, one by one: it opens the published processor, which needs torchvision, and takes no other."""
    import torch

    from training.families import qwen_image21 as ours
    from training.family import Placement

    m = ours.load(Path(folder), {"transformer", "vae", "text_encoder"}, Placement(torch.float32, "cpu"))
    return cls(m.scheduler, m.vae, m.text_encoders["text_encoder"], m.tokenizers["text_encoder"], m.denoiser)


def shrink(put) -> None:
    """Small references.  put(module, name, value)."""
    from training.families import qwen_image21 as ours

    put(ours, "SHOWN_SIDE_PX", SHOWN)


def to_pipe(m, x):
    """Latents [B,C,h,w] as the pipeline holds them."""
    return x.flatten(2).transpose(1, 2)
