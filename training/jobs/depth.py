"""Control pictures that show depth: near is white, far is black, as a depth ControlNet is shown them.  By Depth Anything V2 (arXiv 2406.09414)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..config import JobConfig

TITLE = "Make depth pictures"
BLURB = "A control picture of how near everything is, for each picture of a dataset that has none: what a depth ControlNet is shown."
TOOL = True
NEEDS_TOKEN = True
MODEL = "depth-anything/Depth-Anything-V2-Small-hf"  # 99 MB, Apache 2.0; the larger ones are for non-commercial use only


class Config(JobConfig):
    """Whose depth is looked for, and by what."""

    kind: Literal["depth"] = Field("depth", description="Job kind.")
    dataset: str = Field(min_length=1, max_length=1000, description="Name of a dataset, or the path of a folder of pictures.")
    model: str = Field(MODEL, min_length=1, max_length=1000, description="The depth model: a Hub id, or a folder with its config.json and model.safetensors.")
    device: Literal["cpu", "cuda", "xpu", "mps"] = Field("cpu", description="Where it runs.")


def run(config: Config, ctx) -> None:
    """Writes name.control.png beside each picture and says how many, or raises Stopped; what was made stays.  Raises ValueError in plain words."""
    from ..tools import seeing

    found = seeing.controls(config.dataset, ctx, lambda: _looker(config, ctx), "looking for depth")
    text = f"{found.made} depth pictures made; {found.had} pictures have a control picture already and kept it" if found.had else f"{found.made} depth pictures made"
    ctx.emit("finished", path="", summary=text)


def _looker(config: Config, ctx):
    """Picture -> its depth, RGB of its size."""
    import numpy as np
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    from ..tools import seeing

    wanted = seeing.Wanted("model", config.model, "depth model", MODEL)
    folder = seeing.folder_of(wanted, ctx)
    seeing.check_device(config.device)
    ctx.phase("loading the depth model")
    model, processor = seeing.load(wanted, folder, config.device, model=AutoModelForDepthEstimation, processor=AutoImageProcessor)

    def look(picture: Image.Image) -> Image.Image:
        inputs = processor(images=picture, return_tensors="pt").to(config.device)
        with torch.inference_mode():
            found = model(**inputs).predicted_depth  # [1,h,w], larger is nearer
        near = torch.nn.functional.interpolate(found[None].float(), size=picture.size[::-1], mode="bicubic", align_corners=False)[0, 0].cpu().numpy()
        span = near.max() - near.min()
        grey = np.zeros_like(near) if not span > 0 else (near - near.min()) / span * 255
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")

    return look
