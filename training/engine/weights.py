"""Weights in and out of modules: parts of a base model, adapters, and the proof that a finished file works."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from ..basemodel import check_folder, local_folder, single_file, variant
from ..config import ModelPart
from ..download import DownloadStopped, fetch
from ..family import Cond, FamilySpec, Modules, Placement
from ..runs.context import Context, Stopped

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def base_folder(model: ModelPart, family: ModuleType, ctx: Context) -> Path:
    """The checked folder of the base model; from the Hub it is downloaded first.  Raises ValueError, Stopped."""
    spec, file = family.SPEC.without(model.leave_out), single_file(model.source)
    if file:
        from .unpack import unpack

        folder = unpack(file, spec, ctx, lambda repo, parts: download(repo, "", spec, ctx, parts=parts))
    else:
        folder = local_folder(model.source) or download(model.source, model.revision, spec, ctx, half=model.dtype != "fp32")
    check_folder(folder, spec)
    return folder


def download(source: str, revision: str, spec: FamilySpec, ctx: Context, *, half: bool = False, parts: Iterable[str] | None = None) -> Path:
    """The folder of a Hub model, and what of it is missing downloaded; see training.download.fetch.  Raises ValueError, Stopped."""
    ctx.phase("downloading the base model")
    token = ctx.secrets.get("hf_token")
    try:
        return fetch(
            source, revision, spec, half, token.reveal() if token else None,
            lambda done, of: ctx.phase("downloading the base model", done, of, "bytes"), ctx.stop_requested, parts,
        )  # fmt: skip
    except DownloadStopped:
        raise Stopped(0) from None


def placement(model: ModelPart, device: str) -> Placement:
    """How the parts of a base model are loaded for a run."""
    return Placement(DTYPES[model.dtype], device)


def load_part(cls, folder: Path, place: Placement) -> nn.Module:
    """One part through its own from_pretrained: frozen, in eval mode, where and in the format that `place` says."""
    extra = {"dtype": place.dtype} if cls.__module__.startswith("transformers") else {"torch_dtype": place.dtype}
    module = cls.from_pretrained(folder, use_safetensors=True, variant=variant(folder), local_files_only=True, **extra)
    return module.requires_grad_(False).eval().to(place.device)


def load_scheduler(folder: Path):
    """The checkpoint's own scheduler, of the class that its model_index.json names."""
    import diffusers

    name = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["scheduler"][1]
    return getattr(diffusers, name).from_pretrained(folder / "scheduler", local_files_only=True)


def probe(family: ModuleType, m: Modules, latents: Tensor, cond: Cond, schedule, device: str) -> Tensor:
    """The denoiser's answer to pure noise half-way: what two sets of weights are compared by.  latents: [1,C,h,w]."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device, m.dtype)
    t = torch.tensor([schedule.at(0.5)], device=device)
    with torch.no_grad():
        return family.predict(m, noise, t, cond.to(device, m.dtype)).float().cpu()
