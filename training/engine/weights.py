"""Weights in and out of modules: parts of a base model, adapters, and the proof that a finished file works."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from ..config import DrawingConfig, ModelPart, TrainConfig
from ..family import Cond, FamilySpec, Modules, Placement
from ..formats.basemodel import check_folder, local_folder, single_file, variant
from ..hub.download import DownloadStopped, fetch
from ..runs.context import Context, Stopped
from .blocks import hold_in_ram
from .quantise import load_network, load_text, multiply_in_fp8

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
    """The folder of a Hub model, and what of it is missing downloaded; see training.hub.download.fetch.  Raises ValueError, Stopped."""
    ctx.phase("downloading the base model")
    token = ctx.secrets.get("hf_token")
    try:
        return fetch(
            source, revision, spec, half, token.reveal() if token else None,
            lambda done, of: ctx.phase("downloading the base model", done, of, "bytes"), ctx.stop_requested, parts,
        )  # fmt: skip
    except DownloadStopped:
        raise Stopped(0) from None


def placement(model: ModelPart, device: str, quantise: str = "none") -> Placement:
    """How a part of a base model is loaded for a run."""
    return Placement(DTYPES[model.dtype], device, quantise)


def load_denoiser(config: TrainConfig | DrawingConfig, family: ModuleType, folder: Path, device: str = "") -> nn.Module:
    """The denoiser as a run works with it: quantised, and with blocks in RAM, where the config says so.  device: another place than the config's."""
    m = config.model
    takes_turns = bool(family.SPEC.experts) and not m.offload and config.device != "cpu"
    device = "cpu" if m.offload or takes_turns else device or config.device
    denoiser = family.load(folder, {family.SPEC.denoiser}, placement(m, device, m.quantise)).denoiser
    if isinstance(config, TrainConfig) and config.engine.fp8 and m.quantise == "fp8":
        multiply_in_fp8(denoiser)
    if takes_turns:
        from .experts import one_at_a_time

        one_at_a_time(denoiser, config.device)
    if m.offload:
        hold_in_ram(denoiser, config.device, m.offload, isinstance(config, TrainConfig) and config.engine.overlap)
    return denoiser


def load_vae(config: TrainConfig | DrawingConfig, family: ModuleType, folder: Path) -> Modules:
    """The image encoder and decoder, in tiles where the config says so, what looks at first frames beside them, and the scheduler."""
    m = family.load(folder, {*family.SPEC.parts["vae"], *family.SPEC.parts.get("eye", ())}, placement(config.model, config.device))
    if config.model.vae_tiling:
        m.vae.enable_tiling()
    return m


def load_part(cls, folder: Path, place: Placement) -> nn.Module:
    """One part through its own from_pretrained: frozen, in eval mode, where and in the format that `place` says."""
    how = {"use_safetensors": True, "variant": variant(folder), "local_files_only": True}
    text = cls.__module__.startswith("transformers")
    if place.quantise != "none":
        return load_text(cls, folder, place, **how) if text else load_network(cls, folder, place)
    module = cls.from_pretrained(folder, **how, **{"dtype" if text else "torch_dtype": place.dtype})
    return module.requires_grad_(False).eval().to(place.device)


def load_scheduler(folder: Path):
    """The checkpoint's own scheduler, of the class that its model_index.json names."""
    import diffusers

    name = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["scheduler"][1]
    return getattr(diffusers, name).from_pretrained(folder / "scheduler", local_files_only=True)


def probe(family: ModuleType, m: Modules, latents: Tensor, cond: Cond, level: float, device: str) -> Tensor:
    """The denoiser's answer to pure noise at a level of the schedule: what two sets of weights are compared by.  latents: [1,C,h,w]."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device, m.dtype)
    t = torch.tensor([level], device=device)
    with torch.no_grad():
        return family.predict(m, noise, t, cond.to(device, m.dtype)).float().cpu()
