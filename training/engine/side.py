"""What hangs beside the denoiser, in use: in the pipeline that draws with it, and as the folder that diffusers loads."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from types import ModuleType

import diffusers
import torch
from PIL import Image

from ..config import TrainConfig
from ..family import Beside, FamilySpec, Modules, Side
from ..formats.beside import on_hub
from .buckets import crop_to
from .data import Item
from .imageprompts import ImagePrompts, source_of
from .weights import DTYPES


def of(config: TrainConfig, spec: FamilySpec) -> Beside:
    """What the run trains beside the denoiser."""
    return spec.beside[config.adapter.type]


def pipeline(pipe, beside: Beside, side: Side):
    """diffusers' pipeline that draws with the network: over the same modules and settings as `pipe`, the family's own."""
    cls = getattr(diffusers, beside.pipeline)
    if type(pipe) is cls:
        return pipe  # the network lies in the denoiser itself
    takes = inspect.signature(cls.__init__).parameters
    had = {**pipe.config, **pipe.components}
    return cls(**{name: value for name, value in had.items() if name in takes}, **({beside.part: side.network} if beside.part else {}))


def write(config: TrainConfig, spec: FamilySpec, m: Modules, folder: Path) -> None:
    """The network in the run's number format, as diffusers loads it: folder/<kind>."""
    shutil.rmtree(folder, ignore_errors=True)
    source = source_of(config, of(config, spec))
    named = source if not source or on_hub(source) else Path(source).name  # a result names no folder of this computer
    m.side.adapter.write(m.side.network.to(DTYPES[config.model.dtype]), folder / config.adapter.type, config.adapter, named)


def load(config: TrainConfig, family: ModuleType, m: Modules, adapter: ModuleType, folder: Path) -> Side:
    """The same from what write() wrote, by diffusers' own loader."""
    pipe = family.pipeline(m)
    network = adapter.load(of(config, family.SPEC), pipe, folder / config.adapter.type, DTYPES[config.model.dtype])
    return Side(adapter, network.requires_grad_(False).eval().to(config.device))


def drawing(config: TrainConfig, beside: Beside, item: Item, prompts: ImagePrompts | None, guidance: float, size: tuple[int, int]) -> tuple[dict, list[Image.Image]]:
    """(keyword arguments of the pipeline's call, the pictures to show before the result) for a sample over an item."""
    if prompts is None:
        before = list(shown(item, *size))
        return {beside.image: before[0]}, before
    told = [prompts.nothing(), prompts.of(item, False)] if guidance > 1 else [prompts.of(item, False)]
    return {beside.image: [torch.stack(told)[:, None].to(config.device, DTYPES[config.model.dtype])]}, [shown(item, *size)[-1]]


def shown(item: Item, width: int, height: int) -> list[Image.Image]:
    """The control picture of an item, where it has one, and the picture, cut to this size."""
    from ..data.datasets import load_pixels

    return [cut(item.treatment.apply(picture), width, height, item.size) for picture in ([item.control.load()] if item.control else []) + [load_pixels(item.path)]]


def cut(picture: Image.Image, width: int, height: int, size: tuple[int, int] | None = None) -> Image.Image:
    """A picture scaled to cover this size, and cut around its middle.  size: of what it belongs to, whose shape it has."""
    crop = crop_to(*(size or picture.size), (width, height))
    return picture.resize(crop.scaled, Image.Resampling.LANCZOS).crop((crop.left, crop.top, crop.left + width, crop.top + height))


def strip(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size side by side."""
    width, height = pictures[0].size
    made = Image.new("RGB", (width * len(pictures), height))
    for at, picture in enumerate(pictures):
        made.paste(picture.convert("RGB"), (at * width, 0))
    return made
