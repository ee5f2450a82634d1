"""Control pictures that show depth: near is white, far is black, as a depth ControlNet is shown them.  By Depth Anything V2 (arXiv 2406.09414)."""

from __future__ import annotations

from pathlib import Path
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
    from ..data import datasets, importing
    from ..runs.context import Stopped

    ds = datasets.resolve(ctx.home, config.dataset)
    pictures = [p for p in ds.pictures() if p.usable and not p.seconds]
    if not pictures:
        raise ValueError(f"the dataset {ds.title!r} has no pictures to look at; add some on the Dataset tab")
    left = sum(p.control is None for p in pictures)
    if left:
        draw = _looker(config, ctx)

        def told(done: int, of: int, name: str) -> None:
            if ctx.stop_requested():
                raise Stopped(step=done)
            ctx.phase("looking for depth", done, of, "pictures")

        left = len(importing.write_controls(ds, draw, told))
    had = len(pictures) - left
    ctx.emit("finished", path="", summary=f"{left} depth pictures made" + (f"; {had} pictures have a control picture already and kept it" if had else ""))


def _looker(config: Config, ctx):
    """Picture -> its depth, RGB of its size."""
    import numpy as np
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    folder = _folder(config.model, ctx)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("this job asks for a graphics card, but torch sees none; choose device 'cpu'")
    ctx.phase("loading the depth model")
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, info = AutoModelForDepthEstimation.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True)
    except Exception as error:  # noqa: BLE001 weights of another model fail in as many ways as there are models
        raise ValueError(f"the depth model in {folder} does not load: {' '.join(str(error).split())[:200]}; use {MODEL}") from None
    if info["missing_keys"]:  # transformers fills them with random numbers and only logs it
        raise ValueError(f"the depth model in {folder} is incomplete: {len(info['missing_keys'])} tensors are missing, such as {min(info['missing_keys'])}; get it again")
    model = model.to(config.device).eval()

    def look(picture: Image.Image) -> Image.Image:
        inputs = processor(images=picture, return_tensors="pt").to(config.device)
        with torch.inference_mode():
            found = model(**inputs).predicted_depth  # [1,h,w], larger is nearer
        near = torch.nn.functional.interpolate(found[None].float(), size=picture.size[::-1], mode="bicubic", align_corners=False)[0, 0].cpu().numpy()
        span = near.max() - near.min()
        grey = np.zeros_like(near) if not span > 0 else (near - near.min()) / span * 255
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")

    return look


def _folder(source: str, ctx) -> str:
    """The model's folder; from the Hub it is downloaded first.  Raises ValueError."""
    place = Path(source).expanduser()
    if place.is_dir():
        if not (place / "config.json").is_file() or not any(place.glob("*.safetensors")):
            raise ValueError(f"model is {source!r}, but that folder has no config.json and .safetensors of a depth model")
        return str(place)
    if source.count("/") != 1 or source.startswith((".", "~", "/")):
        raise ValueError(f"model is {source!r}, but there is no such folder; give a folder or a Hub id, such as {MODEL}")
    from huggingface_hub import snapshot_download

    token = ctx.secrets.get("hf_token")
    ctx.phase("downloading the depth model")
    try:
        return snapshot_download(source, allow_patterns=["*.json", "*.safetensors"], token=token.reveal() if token else None)
    except Exception as error:  # noqa: BLE001 the Hub's errors are many; all mean that it is not to be had
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"model is {source!r}, which is no folder here, and the Hub did not give it: {said}") from None
