"""Where tensors live: the device, the number format, and what is in use."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

import psutil
import torch

from ..config import TrainConfig
from .weights import DTYPES


def check_device(config: TrainConfig) -> None:
    """Raises ValueError when the config's device or number format is not to be had here."""
    device, dtype = config.device, config.model.dtype
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but PyTorch finds no usable NVIDIA GPU here; run 'python -m training doctor', or choose 'cpu'")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device is 'mps', but this machine has no Apple GPU; choose 'cpu'")
    for name in ("quantise", "quantise_text"):
        how = getattr(config.model, name)
        if device == "mps" and how in ("nf4", "fp8"):
            raise ValueError(f"model.{name} is {how!r}, which an Apple GPU does not compute; choose 'int8' or 'none'")
    if config.model.offload and config.loss.gradient_checkpointing != "all" and device != "cpu":
        raise ValueError("model.offload keeps no memory free unless every block is recomputed; set loss.gradient_checkpointing to 'all'")
    if device == "cpu" and dtype == "fp16":
        raise ValueError("model.dtype is 'fp16', which does not train on a CPU; choose 'fp32' or 'bf16'")
    if device == "cuda" and dtype == "bf16" and not torch.cuda.is_bf16_supported():
        raise ValueError("model.dtype is 'bf16', but this GPU does not know it; choose 'fp16'")


def describe(device: str) -> str:
    """The device in words."""
    return torch.cuda.get_device_name(0) if device == "cuda" else {"cpu": "CPU", "mps": "Apple GPU"}[device]


def autocast(config: TrainConfig):
    """A context in which half-precision runs compute in their own format; nothing for fp32."""
    if config.model.dtype == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(config.device, DTYPES[config.model.dtype])


def make_scaler(config: TrainConfig) -> torch.amp.GradScaler:
    """Loss scaling, on for fp16 only."""
    return torch.amp.GradScaler(config.device, enabled=config.model.dtype == "fp16")


def in_use_bytes(device: str) -> int:
    """Peak VRAM of this process on a GPU, its RAM on a CPU."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else psutil.Process().memory_info().rss


def release() -> None:
    """Gives back what was freed."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps what an encoder's activations took; other C libraries have no such call
        if trim:
            trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
