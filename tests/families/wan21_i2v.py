"""A Wan 2.1 image-to-video of a few thousand weights, with an image encoder of four patches."""

from functools import partial
from pathlib import Path

from PIL import Image

from . import wan21
from .wan21 import FIRST_T, FRAMES, JOB, SIDE, SIZE, dataset

__all__ = ["ALIKE", "FIRST_T", "FRAMES", "JOB", "SIDE", "SIZE", "build", "dataset", "mend", "shown"]

ALIKE = "wan21"
TAKEN = 16 + 4 + 16  # latents, a mask of four frames, latents of the first frame


def shown() -> Image.Image:
    """A first frame of SIZE."""
    return Image.radial_gradient("L").resize((SIZE[1], SIZE[0])).convert("RGB")


def mend(pipe) -> None:
    """Its pipeline cleans prompts by a package that need not be there (ftfy), where the one for text-to-video does without."""
    from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v

    pipeline_wan_i2v.prompt_clean = pipeline_wan.prompt_clean


def build(folder: Path) -> Path:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    network = partial(wan21.transformer, taken=TAKEN, layers=1, image_dim=32, added_kv_proj_dim=24)
    eye = CLIPVisionModel(CLIPVisionConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8)).eval()
    processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return wan21.pipeline(folder, 16, wan21.vae(), network, "WanImageToVideoPipeline", image_encoder=eye, image_processor=processor)
