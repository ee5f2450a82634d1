"""What hangs beside the denoiser, in use: in the pipeline that draws with it, and as the folder that diffusers loads."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import diffusers
from PIL import Image

from ..config import TrainConfig
from ..family import Beside, FamilySpec, Modules, Side
from .buckets import crop_to
from .data import Item
from .weights import DTYPES

SHARD_SIZE = "5GB"  # of a network's files: what the Hub's own tools use


def of(config: TrainConfig, spec: FamilySpec) -> Beside:
    """What the run trains beside the denoiser."""
    return spec.beside[config.adapter.type]


def pipeline(pipe, beside: Beside, side: Side):
    """diffusers' pipeline that draws with the network: over the same modules and settings as `pipe`, the family's own."""
    cls = getattr(diffusers, beside.pipeline)
    takes = inspect.signature(cls.__init__).parameters
    had = {**pipe.config, **pipe.components}
    return cls(**{name: value for name, value in had.items() if name in takes}, **{beside.part: side.network})


def write(config: TrainConfig, m: Modules, folder: Path) -> None:
    """The network in the run's number format, as diffusers saves it: folder/<kind>."""
    shutil.rmtree(folder, ignore_errors=True)
    m.side.network.to(DTYPES[config.model.dtype]).save_pretrained(folder / config.adapter.type, max_shard_size=SHARD_SIZE)


def load(config: TrainConfig, spec: FamilySpec, side: Side, folder: Path) -> Side:
    """The same from what write() wrote, by diffusers' own from_pretrained."""
    cls = getattr(diffusers, of(config, spec).network)
    network = cls.from_pretrained(folder / config.adapter.type, torch_dtype=DTYPES[config.model.dtype], local_files_only=True)
    return Side(side.adapter, network.requires_grad_(False).eval().to(config.device))


def shown(item: Item, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    """(control picture, picture) of an item, both cut to this size."""
    from ..data.datasets import load_pixels

    crop = crop_to(*item.size, (width, height))
    cut = lambda picture: picture.resize(crop.scaled, Image.Resampling.LANCZOS).crop((crop.left, crop.top, crop.left + width, crop.top + height))
    return cut(item.control.load()), cut(load_pixels(item.path))


def strip(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size side by side."""
    width, height = pictures[0].size
    made = Image.new("RGB", (width * len(pictures), height))
    for at, picture in enumerate(pictures):
        made.paste(picture.convert("RGB"), (at * width, 0))
    return made
