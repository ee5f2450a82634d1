"""Optimizers, learning-rate schedules, and their state as plain tensors and JSON."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..config import OptimizerPart

NO_BETAS = {"adafactor"}
ONE_RATE = {"prodigy"}  # prodigyopt refuses groups of different rates: its estimate is one for all


def make_optimizer(config: OptimizerPart, groups: list[tuple[list[Tensor], float]]) -> torch.optim.Optimizer:
    """The optimizer over groups of (weights, learning rate), every field of the config used.  See warnings_for() for those that cannot be."""
    decay, lr = config.weight_decay, config.learning_rate
    weights = [{"params": params, "lr": lr if config.type in ONE_RATE else rate} for params, rate in groups]
    if config.type == "adamw":
        return torch.optim.AdamW(weights, lr=lr, betas=config.betas, eps=config.eps, weight_decay=decay)
    if config.type in ("adamw8bit", "paged_adamw8bit"):
        from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit

        return (AdamW8bit if config.type == "adamw8bit" else PagedAdamW8bit)(weights, lr=lr, betas=config.betas, eps=config.eps, weight_decay=decay)
    if config.type == "prodigy":
        from prodigyopt import Prodigy

        return Prodigy(weights, lr=lr, betas=config.betas, eps=config.eps, weight_decay=decay, decouple=True, use_bias_correction=True)
    from transformers import Adafactor

    return Adafactor(weights, lr=lr, weight_decay=decay, relative_step=False, scale_parameter=False, warmup_init=False)


def warnings_for(config: OptimizerPart) -> list[str]:
    """A sentence for each setting that this optimizer has no use for."""
    said = []
    defaults = OptimizerPart()
    if config.type in NO_BETAS and config.betas != defaults.betas:
        said.append("optimizer.betas has no effect: Adafactor does not use it")
    if config.type in NO_BETAS and config.eps != defaults.eps:
        said.append("optimizer.eps has no effect: Adafactor has its own")
    if config.type == "prodigy" and not 0.1 <= config.learning_rate <= 2:
        said.append(f"optimizer.learning_rate is {config.learning_rate:g}, but Prodigy multiplies its own estimate by it: 1 is right")
    return said


def make_scheduler(config: OptimizerPart, optimizer: torch.optim.Optimizer, steps: int):
    """diffusers' schedule of this name over `steps` optimizer steps, warm-up included."""
    from diffusers.optimization import get_scheduler

    name = "constant_with_warmup" if config.schedule == "constant" and config.warmup_steps else config.schedule
    return get_scheduler(name, optimizer, num_warmup_steps=config.warmup_steps, num_training_steps=steps)


def follow(scheduler) -> None:
    """The step size is what the schedule says at its present step: to the bit what it was where the schedule is the same."""
    for group, base, rule in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * rule(scheduler.last_epoch)


def learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """The step size in force; for Prodigy with its own estimate in it."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) * float(group.get("d", 1.0))


def pack(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's whole state: ({name: tensor}, JSON-able rest).

    Read from the optimizer itself: bitsandbytes' own state_dict() nests its tensors for other purposes.
    """
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict] = {}
    for index, weight in enumerate(_weights(optimizer)):
        for name, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = _copied(value)
            else:
                rest.setdefault(str(index), {})[name] = _plain(value)
    groups = []
    for number, group in enumerate(optimizer.param_groups):
        plain = {}
        for name, value in group.items():
            if isinstance(value, Tensor):
                tensors[f"group.{number}.{name}"] = _copied(value)
            elif name != "params":
                plain[name] = _plain(value)
        groups.append(plain)
    return tensors, {"slots": rest, "groups": groups}


def unpack(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
    """Puts pack() back.  Shapes, dtypes and numbers come back as they were, to the bit."""
    weights = _weights(optimizer)
    optimizer.state.clear()
    for index, values in rest["slots"].items():
        optimizer.state[weights[int(index)]].update({name: _unplain(value) for name, value in values.items()})
    for group, values in zip(optimizer.param_groups, rest["groups"], strict=True):
        group.update({name: _unplain(value) for name, value in values.items()})
    for full, value in tensors.items():
        kind, index, name = full.split(".", 2)
        if kind == "group":
            optimizer.param_groups[int(index)][name] = value.clone()
        else:
            weight = weights[int(index)]
            # torch keeps its step counters on the CPU; everything else lies beside its weight
            optimizer.state[weight][name] = value.clone() if name == "step" else _beside(optimizer, weight, value)


def _beside(optimizer: torch.optim.Optimizer, weight: Tensor, value: Tensor) -> Tensor:
    """A copy on the weight's device; where the optimizer pages its state, in a buffer of its own."""
    if getattr(optimizer, "is_paged", False) and value.shape == weight.shape and weight.device.type in ("cuda", "xpu"):
        return optimizer.get_state_buffer(weight, dtype=value.dtype).copy_(value)
    return value.clone().to(weight.device)


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _copied(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous().clone()


def _plain(value: Any) -> Any:
    """A value as JSON has it; tuples and numbers that are not finite carry a mark."""
    if isinstance(value, tuple):
        return {"tuple": [_plain(v) for v in value]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"optimizer state of type {type(value).__name__} cannot be saved")


def _unplain(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["float"]) if "float" in value else tuple(_unplain(v) for v in value["tuple"])
    return value
