"""Where tensors live: the device, the number format, and what is in use."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

import psutil
import torch

from ..config import DrawingConfig, TrainConfig
from ..home import COMMAND
from ..plan import devices
from .weights import DTYPES


def check_there(device: str) -> None:
    """Raises ValueError when a device is not to be had here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is 'cuda', but PyTorch finds no usable NVIDIA or AMD card here; run '{COMMAND} doctor', or choose 'cpu'")
    if device == "xpu" and not torch.xpu.is_available():
        raise ValueError(f"device is 'xpu', but PyTorch finds no usable Intel card here; run '{COMMAND} doctor', or choose 'cpu'")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device is 'mps', but this machine has no Apple GPU; choose 'cpu'")


def check_device(config: TrainConfig | DrawingConfig) -> None:
    """Raises ValueError when the config's device or number format is not to be had here."""
    device, dtype = config.device, config.model.dtype
    check_there(device)
    for path, text in devices.problems(config, _present(device)):
        raise ValueError(f"{path} {text}")
    if isinstance(config, TrainConfig) and config.model.offload and config.loss.gradient_checkpointing != "all" and device != "cpu":
        raise ValueError("model.offload keeps no memory free unless every block is recomputed; set loss.gradient_checkpointing to 'all'")
    if device == "cuda" and dtype == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ValueError("model.dtype is 'bf16', which this card only emulates, several times slower; choose 'fp16'")


def _present(device: str) -> devices.Device:
    """The device that torch computes on, as the table of devices knows it."""
    if device != "cuda":
        return devices.Device(device, macos=devices.macos())
    if torch.version.hip:
        return devices.Device("rocm", arch=torch.cuda.get_device_properties(0).gcnArchName.partition(":")[0])
    return devices.Device("cuda", torch.cuda.get_device_capability(0))


def autocast(config: TrainConfig | DrawingConfig):
    """A context in which half-precision runs compute in their own format; nothing for fp32."""
    if config.model.dtype == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(config.device, DTYPES[config.model.dtype])


def make_scaler(config: TrainConfig) -> torch.amp.GradScaler:
    """Loss scaling, on for fp16 only."""
    return torch.amp.GradScaler(config.device, enabled=config.model.dtype == "fp16")


def in_use_bytes(device: str) -> int:
    """Peak VRAM of this process on a GPU, its RAM on a CPU."""
    return getattr(torch, device).max_memory_allocated() if device in devices.CARDS else psutil.Process().memory_info().rss


def release() -> None:
    """Gives back what was freed."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps what an encoder's activations took; other C libraries have no such call
        if trim:
            trim(0)
    for backend in (torch.cuda, torch.xpu, torch.mps):
        if torch.backends.mps.is_available() if backend is torch.mps else backend.is_available():
            backend.empty_cache()
