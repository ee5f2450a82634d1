"""Weights in and out of modules: parts of a base model, adapters, and the proof that a finished file works."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from ..basemodel import check_folder, local_folder, variant
from ..config import ModelPart
from ..download import DownloadStopped, fetch
from ..family import Modules
from ..runs.context import Context, Stopped

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def base_folder(model: ModelPart, family: ModuleType, ctx: Context) -> Path:
    """The checked folder of the base model; from the Hub it is downloaded first.  Raises ValueError, Stopped."""
    folder = local_folder(model.source)
    if folder is None:
        ctx.phase("downloading the base model")
        token = ctx.secrets.get("hf_token")
        try:
            folder = fetch(
                model.source, model.revision, family.SPEC, model.dtype != "fp32", token.reveal() if token else None,
                lambda done, of: ctx.phase("downloading the base model", done, of, "bytes"), ctx.stop_requested,
            )  # fmt: skip
        except DownloadStopped:
            raise Stopped(0) from None
    check_folder(folder, family.SPEC)
    return folder


def load_part(cls, folder: Path, dtype: torch.dtype, device: str) -> nn.Module:
    """One part through its own from_pretrained: frozen, in eval mode, on `device`, in `dtype`."""
    extra = {"dtype": dtype} if cls.__module__.startswith("transformers") else {"torch_dtype": dtype}
    module = cls.from_pretrained(folder, use_safetensors=True, variant=variant(folder), local_files_only=True, **extra)
    return module.requires_grad_(False).eval().to(device)


def load_scheduler(folder: Path):
    """The checkpoint's own scheduler, of the class that its model_index.json names."""
    import diffusers

    name = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["scheduler"][1]
    return getattr(diffusers, name).from_pretrained(folder / "scheduler", local_files_only=True)


def adapter_layers(module: nn.Module) -> list[str]:
    """Names of the layers that carry an adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [name for name, layer in module.named_modules() if isinstance(layer, BaseTunerLayer)]


def probe(family: ModuleType, m: Modules, latents: Tensor, cond, device: str) -> Tensor:
    """The denoiser's answer to a fixed noisy picture: what two sets of weights are compared by.  latents: [1,C,h,w]."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device, m.denoiser.dtype)
    t = torch.full((1,), 500, device=device)
    cond = type(cond)({k: v.to(device, m.denoiser.dtype) if v.is_floating_point() else v.to(device) for k, v in cond.tensors.items()})
    with torch.no_grad():
        return family.predict(m, noise, t, cond).float().cpu()
