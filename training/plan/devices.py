"""What each kind of device can do: the one table that presets, Make it fit, the form and the worker ask.  No torch."""

from __future__ import annotations

import platform
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .. import registry
from ..config import DrawingConfig, TrainConfig
from .hardware import Machine

CARDS = ("cuda", "xpu")  # devices with memory of their own; torch calls AMD's cards "cuda" too
TITLES = {"cpu": "a processor", "cuda": "an NVIDIA card", "rocm": "an AMD card", "xpu": "an Intel card", "mps": "an Apple GPU"}

# kind -> setting -> value that it cannot do -> (the nearest that it can, why).
# Optimizers say it themselves: bitsandbytes 0.50 registers the kernels of its own for cuda (AMD's too), xpu and cpu, but none for mps.
# Formats: MPS has no 8-bit floats up to torch 2.13; nf4 there is the library's slow stand-in, which nobody has trained with.
# A GradScaler's inf check is missing on processors; on MPS it came with torch 2.8.
LACKS: dict[str, dict[str, dict[Any, tuple[Any, str]]]] = {
    "cpu": {"model.dtype": {"fp16": ("fp32", "its gradients cannot be scaled there")}},
    "mps": {
        "model.quantise": {"nf4": ("int8", "4-bit weights are not trained on there"), "fp8": ("int8", "it has no 8-bit floats")},
        "model.quantise_text": {"nf4": ("int8", "4-bit weights are not trained on there"), "fp8": ("int8", "it has no 8-bit floats")},
    },
}
PATHS = ("model.dtype", "model.quantise", "model.quantise_text", "model.offload", "optimizer.type")
MACOS_WITH_BF16 = 14  # Metal's bfloat type: "MPS BFloat16 is only supported on MacOS 14 or newer"
AMD_WITH_BF16 = ("gfx908", "gfx90a", "gfx94", "gfx95", "gfx11", "gfx12")  # MI100 and later, RDNA 3 and later have instructions for it
NVIDIA_WITH_BF16 = (8, 0)  # compute capability; older cards emulate it, several times slower


@dataclass(frozen=True)
class Device:
    """A device as far as settings depend on it.  compute, arch: as the card says; macos: major version.  0 and "": not known."""

    kind: str  # a key of TITLES
    compute: tuple[int, int] = (0, 0)
    arch: str = ""
    macos: int = 0

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bf16 itself.  What is not known counts as yes: the worker asks torch."""
        if self.kind == "cuda":
            return self.compute == (0, 0) or self.compute >= NVIDIA_WITH_BF16
        if self.kind == "rocm":
            return not self.arch or self.arch.startswith(AMD_WITH_BF16)
        return self.kind != "mps" or self.macos == 0 or self.macos >= MACOS_WITH_BF16

    @property
    def best_dtype(self) -> str:
        """The number format that trains best: bf16 on a card that has it, fp16 on older ones; fp32 on a processor and on an old macOS."""
        if self.kind == "cpu":
            return "fp32"
        if self.has_bf16 and not (self.kind == "cuda" and self.compute == (0, 0)):
            return "bf16"
        return "fp32" if self.kind == "mps" else "fp16"

    def nearest(self, path: str, value: Any) -> tuple[Any, str]:
        """(the value itself, "") where the device can do it; else the nearest that it can, and why."""
        if path == "model.dtype" and value == "bf16" and not self.has_bf16:
            return self.best_dtype, f"it comes with macOS {MACOS_WITH_BF16}" if self.kind == "mps" else "this one only emulates it, several times slower"
        if path == "model.offload" and value and self.kind == "mps":
            return 0.0, "it shares the computer's memory, so nothing is saved"
        if path == "optimizer.type":
            return _lacks_of_optimizer(value).get(self.kind, (value, ""))
        return LACKS.get(self.kind, {}).get(path, {}).get(value, (value, ""))

    def can(self, path: str, value: Any) -> bool:
        """Whether the device can do what a setting says."""
        return self.nearest(path, value)[0] == value


def _lacks_of_optimizer(id: str) -> dict[str, tuple[str, str]]:
    """{kind of device: (the nearest optimizer that it can do, why not this one)}."""
    try:
        return getattr(registry.get("optimizers", id), "LACKS", {})
    except ValueError:
        return {}  # one that is not there: optimizing.problems() says so, in its place


def of(device: str, machine: Machine) -> Device:
    """The device that a config's `device` means on a machine."""
    kind = "rocm" if device == "cuda" and machine.vendor == "amd" else device
    return Device(kind, machine.compute, machine.arch, macos())


def macos() -> int:
    """Major version of macOS; 0 elsewhere."""
    head = platform.mac_ver()[0].partition(".")[0]
    return int(head) if head.isdigit() else 0


def problems(config: TrainConfig | DrawingConfig, on: Device) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of the settings that the device cannot do, with the nearest that works."""
    found = []
    for path in PATHS if isinstance(config, TrainConfig) else [p for p in PATHS if p.startswith("model.")]:
        value = _at(config, path)  # type: ignore[arg-type]
        nearest, why = on.nearest(path, value)
        if nearest != value:
            found.append((path, f"is {value!r}, which {TITLES[on.kind]} does not do: {why}; choose {nearest!r}"))
    return found


def adapted(config: TrainConfig, on: Device, fixed: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """({dotted path: the nearest that the device can do}, the same in sentences); fixed: paths that stay as they are."""
    changes, said = {}, []
    for path in PATHS:
        value = _at(config, path)
        nearest, why = on.nearest(path, value)
        if nearest != value and path not in fixed:
            changes[path] = nearest
            said.append(_instead(path, nearest, value, TITLES[on.kind], why))
    return changes, said


def _instead(path: str, nearest: Any, value: Any, device: str, why: str) -> str:
    if path == "model.dtype":
        return f"The base model computes in {nearest} instead of {value}: {device} does not do it, {why}"
    if path == "model.quantise":
        return f"The base model's weights are held in {nearest} instead of {value}: {device} does not do it, {why}"
    if path == "model.quantise_text":
        return f"The text encoders' weights are held in {nearest} instead of {value}: {device} does not do it, {why}"
    if path == "model.offload":
        return f"Blocks in RAM: {nearest} instead of {value}: {device} does not do it, {why}"
    return f"Optimizer {nearest} instead of {value}: {device} does not do it, {why}"


def _at(config: TrainConfig, path: str) -> Any:
    part, _, name = path.partition(".")
    return getattr(getattr(config, part), name)
