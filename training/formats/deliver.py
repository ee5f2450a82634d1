"""The adapter that people download: a checkpoint's, alpha baked in, with its metadata, in one of two layouts.  numpy only, no torch.

alpha is baked into the weights (B times alpha / rank) and the header says alpha = rank, because programs that do not read
the header take exactly that: the file means the same everywhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

import numpy as np
from safetensors.numpy import save

from ..family import FamilySpec
from ..files import write_atomic
from . import layouts
from .layouts import KOHYA_HEADER, LORA_HEADER
from .modelspec import stamp_hash

__all__ = ["LAYOUTS", "LAYOUT_TITLES", "LORA_HEADER", "Layout", "adapter_file", "deliver", "has_kohya", "relaid", "write"]

Layout = Literal["diffusers", "kohya"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
LAYOUT_TITLES: dict[Layout, str] = {"diffusers": "diffusers", "kohya": "ComfyUI / kohya"}


def has_kohya(spec: FamilySpec, adapter: ModuleType) -> bool:
    """Whether adapters of this kind and family have a layout of kohya's besides diffusers' own."""
    joined = spec.kohya is not None and any(len(o.parts) > 1 for o in spec.kohya.originals)
    return spec.kohya is not None and (adapter.KOHYA == "always" or (adapter.KOHYA == "unfused" and not joined))


def adapter_file(checkpoint: Path) -> Path:
    """The file of a checkpoint that is meant for use: the averaged weights where there are some."""
    averaged = checkpoint / "ema.safetensors"
    return averaged if averaged.is_file() else checkpoint / "adapter.safetensors"


def deliver(checkpoint: Path, target: Path, metadata: dict[str, str], half: bool, spec: FamilySpec, layout: Layout = "diffusers") -> None:
    """Writes `target`, whole or not at all, mode 0644; equal checkpoints give equal bytes.  half: as fp16 instead of fp32.

    Raises ValueError when a weight does not fit fp16, or the family or kind of adapter has no such layout.
    """
    tensors, said = layouts.read(adapter_file(checkpoint))
    tensors, header = layouts.bake(tensors, json.loads(said.get(LORA_HEADER, "{}")))
    if half:
        tensors = {name: _halved(name, t) for name, t in tensors.items()}
    write(target, tensors, header, metadata, spec, layout)


def write(target: Path, tensors: layouts.Arrays, header: dict, metadata: dict[str, str], spec: FamilySpec, layout: Layout) -> None:
    """Writes a baked adapter in diffusers' layout to `target` in the layout that was asked for.  Raises ValueError where there is none."""
    text = {**metadata, "format": "pt"}
    if layout == "kohya":
        tensors = layouts.to_kohya(tensors, header, spec)
        if not (spec.kohya and spec.kohya.originals):  # where layers were put together, the header would speak of others
            text[KOHYA_HEADER] = json.dumps(header, sort_keys=True)
    else:
        tensors, text[LORA_HEADER] = layouts.with_clip_root(tensors, header, spec), json.dumps(header, sort_keys=True)
    write_atomic(target, stamp_hash(save({k: v if v.flags.c_contiguous else np.ascontiguousarray(v) for k, v in tensors.items()}, text)))


def relaid(source: Path, target: Path, spec: FamilySpec, layout: Layout, names) -> None:
    """An adapter's file written again in another layout; its other metadata stays.  names: see layouts.to_diffusers.  Raises ValueError."""
    tensors, said = layouts.read(source)
    tensors, header = layouts.to_diffusers(tensors, said, spec, names)
    kept = {k: v for k, v in said.items() if k not in (LORA_HEADER, KOHYA_HEADER)}
    write(target, tensors, header, kept, spec, layout)


def _halved(name: str, tensor: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        small = tensor.astype(np.float16)
    if not np.isfinite(small).all():
        raise ValueError(f"{name} holds values that do not fit fp16; train with a lower learning rate, or with model.dtype fp32")
    return small
