"""Pictures as prompts: what a frozen image encoder says of each, encoded once, cached, the encoder freed before the first step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data.datasets import load_pixels
from ..family import Beside
from ..formats.basemodel import fingerprint
from ..formats.beside import on_hub
from ..runs.context import Context
from .cache import Cache, fill, key
from .weights import DTYPES

BATCH = 8


class ImagePrompts:
    """[D] of a picture, or in the plus form [L,D]: the image encoder's own vector, or its last layer but one.  Cached by what the picture is."""

    def __init__(self, config: TrainConfig, ctx: Context, beside: Beside, cache: Cache):
        self.config, self.cache = config, cache
        self.source = source_of(config, beside)
        self.folder = _folder(self.source, ctx)
        self._print = f"{fingerprint(self.folder)}:{config.model.dtype}:{'plus' * config.adapter.plus}"

    @property
    def width(self) -> int:
        """D."""
        return self.nothing().shape[-1]

    def of(self, item, flip: bool) -> Tensor:
        """What the encoder says of an item."""
        return self.cache.get(self._key(item, flip))["picture"]

    def nothing(self) -> Tensor:
        """What stands for no picture: zeros, in the plus form what the encoder says of a picture of zeros, as diffusers' pipelines have it."""
        return self.cache.get(key("picture", self._print, "nothing"))["picture"]

    def encode(self, items: list[tuple], told: Callable[[int, int], None]) -> None:
        """Caches what is missing.  items: (item, mirrored).  The encoder is loaded only if it has something to do."""
        wanted = [(self._key(item, flip), (item, flip)) for item, flip in items] + [(key("picture", self._print, "nothing"), None)]
        if all(name in self.cache for name, _ in wanted):
            return
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        encoder = CLIPVisionModelWithProjection.from_pretrained(self.folder, dtype=DTYPES[self.config.model.dtype], local_files_only=True)
        encoder.requires_grad_(False).eval().to(self.config.device)
        side_px = encoder.config.image_size
        look = CLIPImageProcessor(size=side_px, crop_size=side_px)

        def say(some: list) -> list[dict[str, Tensor]]:
            seen = [torch.zeros(3, side_px, side_px) if one is None else look(_mirrored(*one), return_tensors="pt").pixel_values[0] for one in some]
            said = encoder(torch.stack(seen).to(encoder.device, encoder.dtype), output_hidden_states=True)
            found = said.hidden_states[-2] if self.config.adapter.plus else said.image_embeds
            blank = lambda tensor, one: torch.zeros_like(tensor) if one is None and not self.config.adapter.plus else tensor
            return [{"picture": blank(tensor, one).float()} for tensor, one in zip(found, some, strict=True)]

        fill(self.cache, wanted, say, BATCH, told)

    def _key(self, item, flip: bool) -> str:
        return key("picture", self._print, item.sha256, flip, *item.turned)


def source_of(config: TrainConfig, beside: Beside) -> str:
    """The image encoder that a run takes: its own choice, else the family's."""
    return config.adapter.image_encoder or beside.encoder


def _mirrored(item, flip: bool):
    from PIL import ImageOps

    picture = item.treatment.apply(load_pixels(item.path))
    return ImageOps.mirror(picture) if flip else picture


def _folder(source: str, ctx: Context) -> Path:
    """The image encoder's folder; from the Hub it is downloaded first.  source: a folder, or a Hub id with the folder inside it."""
    place = Path(source).expanduser()
    if not place.is_dir():
        place = _from_hub(source, ctx)
    if not (place / "config.json").is_file() or not any(place.glob("*.safetensors")):
        raise ValueError(f"adapter.image_encoder is {source!r}, but there is no image encoder of CLIP's in it (config.json and .safetensors)")
    return place


def _from_hub(source: str, ctx: Context) -> Path:
    from huggingface_hub import snapshot_download

    named = on_hub(source)
    if named is None:
        raise ValueError(f"adapter.image_encoder is {source!r}, but there is no such folder; give a folder or a Hub id, such as h94/IP-Adapter/models/image_encoder")
    token = ctx.secrets.get("hf_token")
    ctx.phase("downloading the image encoder")
    repo, inside = named
    within = f"{inside}/" if inside else ""
    try:
        found = snapshot_download(repo, allow_patterns=[f"{within}config.json", f"{within}*.safetensors"], token=token.reveal() if token else None)
    except Exception as error:  # noqa: BLE001 the Hub's errors are many; all mean that it is not to be had
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"adapter.image_encoder is {source!r}, which is no folder here, and the Hub did not give it: {said}") from None
    return Path(found) / inside
