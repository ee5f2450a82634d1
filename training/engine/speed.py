"""EnginePart put to work: what of it acts on this device, what is set in torch while a run lasts, and a sentence for what does nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator

import torch
from torch import nn

from ..config import EnginePart, TrainConfig
from ..home import Home
from ..plan import pays
from . import blocks, fused, optim

WHOLE = ("fused_lora", "fused_optimizer")  # auto: on a processor, where they were measured
FLASH_PACKAGE = "flash_attn"


def acts(config: TrainConfig, name: str) -> bool:
    """Whether one of WHOLE is in force."""
    return getattr(config.engine, name) == "on" or (getattr(config.engine, name) == "auto" and config.device == "cpu")


def _card(config: TrainConfig) -> str:
    return torch.cuda.get_device_name(0) if config.device == "cuda" and torch.cuda.is_available() else ""


def check(config: TrainConfig) -> None:
    """Raises ValueError, before any work, for what this machine cannot do."""
    e = config.engine
    if e.attention == "flash_package":
        if importlib.util.find_spec(FLASH_PACKAGE) is None:
            raise ValueError("engine.attention is 'flash_package', but FlashAttention's package (flash-attn) is not installed here; choose 'auto', or 'flash' for PyTorch's own")
        if config.device != "cuda" or config.model.dtype == "fp32":
            raise ValueError("engine.attention is 'flash_package', which computes in bf16 or fp16 on an NVIDIA or AMD card only; choose 'auto'")
    if e.compile == "on" and config.device == "cpu" and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "cl")))):
        raise ValueError("engine.compile is 'on', but there is no C++ compiler here, which PyTorch needs for it on a processor; install g++, or set it to 'off'")
    if e.compile == "on" and config.model.offload:
        raise ValueError("engine.compile is 'on', but blocks that wait in RAM are swapped while they run, which compiled code does not see; set model.offload to 0, or engine.compile to 'off'")
    if e.fp8 and config.device == "cuda" and torch.cuda.is_available() and torch.version.hip is None and torch.cuda.get_device_capability() < pays.FP8_SINCE:
        raise ValueError("engine.fp8 is on, but this card has no fp8 units (they came with Ada and Hopper); switch it off")


def idle(config: TrainConfig) -> list[str]:
    """A sentence for each setting of the engine that does nothing in this run."""
    e, usual, card = config.engine, EnginePart(), config.device == "cuda"
    why = {
        "fused_lora": (config.adapter.type == "lora", f"the adapter is {config.adapter.type!r}, not 'lora'"),
        "compile": pays.compiles(config, _card(config)) if e.compile == "auto" else (True, ""),
        "fp8": (config.model.quantise == "fp8", f"model.quantise is {config.model.quantise!r}, not 'fp8'"),
        "attention": (card or e.attention in ("math", "flash"), "this kernel is for NVIDIA and AMD cards"),
        "cudnn_benchmark": (card, "cuDNN is for NVIDIA cards"),
        "tf32": (card and config.model.dtype == "fp32", "it is for fp32 on an NVIDIA card"),
        "prefetch": (not config.adapter.text_encoder, "a text encoder learns, so captions are read in the step"),
        "overlap": (card and config.model.offload > 0, "no block waits in RAM" if card else "nothing is copied to a card here"),
    }
    return [f"engine.{name} has no effect: {because}" for name, (does, because) in why.items() if not does and getattr(e, name) != getattr(usual, name)]


def said_of(config: TrainConfig, optimizer: torch.optim.Optimizer, denoiser: nn.Module, lora_layers: int, split: bool) -> list[str]:
    """The same for what only the loaded model tells.  split: among processes, as torch lays its blocks down then."""
    e, said = config.engine, []
    if split:
        asked = {"fused_lora": e.fused_lora == "on", "compile": e.compile == "on", "channels_last": e.channels_last}
        return [f"engine.{name} has no effect: the model is split among the cards" for name, on in asked.items() if on]
    if e.fused_optimizer == "on" and not optim.can_fuse(optimizer):
        said.append(f"engine.fused_optimizer has no effect: the optimizer is {config.optimizer.type!r}, not 'adamw'")
    if e.fused_lora == "on" and config.adapter.type == "lora" and not lora_layers:
        said.append("engine.fused_lora has no effect: no layer with an adapter is a plain Linear")
    if e.channels_last and not has_convolutions(denoiser):
        said.append("engine.channels_last has no effect: the denoiser has no convolutions to speak of")
    return said


def has_convolutions(denoiser: nn.Module) -> bool:
    """Whether convolutions are what the network is made of, as a UNet is; a transformer has one, to cut the picture up."""
    return sum(isinstance(layer, nn.Conv2d) for layer in denoiser.modules()) > 8


def furnish(config: TrainConfig, modules: dict[str, nn.Module], denoiser: nn.Module, split: bool) -> int:
    """What is done to the networks once the adapter is in; how many LoRA layers are computed in fewer operations.  split: among processes."""
    if config.engine.attention == "flash_package":
        denoiser.set_attention_backend("flash")
    if split:
        return 0
    if config.engine.channels_last and has_convolutions(denoiser):
        denoiser.to(memory_format=torch.channels_last)
    count = sum(map(fused.fuse, modules.values())) if acts(config, "fused_lora") and config.adapter.type == "lora" else 0
    if pays.compiles(config, _card(config))[0]:
        compile_blocks(denoiser)
    return count


def compile_blocks(denoiser: nn.Module) -> int:
    """Compiles each block by itself, so that blocks of one kind share their code; gives how many.  Names and weights stay as they are."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)  # sizes of pictures, with the adapter and without
    chosen = blocks.innermost(denoiser)
    for block in chosen:
        block.compile()
    return len(chosen)


@contextlib.contextmanager
def in_force(config: TrainConfig, home: Home) -> Iterator[None]:
    """Inside, torch computes as the config says; outside, as before."""
    e = config.engine
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = torch.backends.cudnn.benchmark, matmul.fp32_precision, conv.fp32_precision
    cached = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    try:
        if e.cudnn_benchmark:
            torch.backends.cudnn.benchmark = True
        if e.tf32:
            matmul.fp32_precision = conv.fp32_precision = "tf32"
        if pays.compiles(config, _card(config))[0] and cached is None:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(home.cache / "compiled")
        with _attention(e.attention):
            yield
    finally:
        torch.backends.cudnn.benchmark, matmul.fp32_precision, conv.fp32_precision = before
        if cached is None:
            os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)


def _attention(name: str):
    """Inside, PyTorch tries this kernel first, and takes another one where that cannot compute what it is asked."""
    from torch.nn.attention import SDPBackend as Kernel
    from torch.nn.attention import sdpa_kernel

    first = {"cudnn": Kernel.CUDNN_ATTENTION, "flash": Kernel.FLASH_ATTENTION, "efficient": Kernel.EFFICIENT_ATTENTION}.get(name)
    if name == "math":
        return sdpa_kernel([Kernel.MATH])
    if first is None:
        return contextlib.nullcontext()
    others = [k for k in (Kernel.FLASH_ATTENTION, Kernel.EFFICIENT_ATTENTION, Kernel.MATH) if k != first]
    return sdpa_kernel([first, *others], set_priority=True)
