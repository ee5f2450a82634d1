"""Optimizers, learning-rate schedules, and their state as plain tensors and JSON."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..config import OptimizerPart

NO_BETAS = {"adafactor"}


def make_optimizer(config: OptimizerPart, weights: list[Tensor]) -> torch.optim.Optimizer:
    """The optimizer over `weights`, every field of the config used.  See warnings_for() for those that cannot be."""
    decay, lr = config.weight_decay, config.learning_rate
    if config.type == "adamw":
        return torch.optim.AdamW(weights, lr=lr, betas=config.betas, eps=config.eps, weight_decay=decay)
    if config.type == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(weights, lr=lr, betas=config.betas, eps=config.eps, weight_decay=decay)
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


def learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """The step size in force; for Prodigy with its own estimate in it."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) * float(group.get("d", 1.0))


def pack(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's whole state: ({name: tensor}, JSON-able rest)."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict] = {}
    for index, slots in state["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous().clone()
            else:
                rest.setdefault(str(index), {})[name] = _plain(value)
    groups = []
    for number, group in enumerate(state["param_groups"]):
        plain = {}
        for name, value in group.items():
            if isinstance(value, Tensor):
                tensors[f"group.{number}.{name}"] = value.detach().cpu().contiguous().clone()
            else:
                plain[name] = _plain(value)
        groups.append(plain)
    return tensors, {"slots": rest, "groups": groups}


def unpack(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
    """Puts pack() back.  Shapes, dtypes and numbers come back as they were, to the bit."""
    slots: dict[int, dict] = {int(i): dict(values) for i, values in rest["slots"].items()}
    groups = [dict(g) for g in rest["groups"]]
    for full, value in tensors.items():
        kind, _, tail = full.partition(".")
        index, _, name = tail.partition(".")
        if kind == "optimizer":
            slots.setdefault(int(index), {})[name] = value
        elif kind == "group":
            groups[int(index)][name] = value
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    # load_state_dict casts floating state to the weight's dtype and turns nothing back into tuples
    weights = [w for g in optimizer.param_groups for w in g["params"]]
    for index, weight in enumerate(weights):
        for name, value in slots.get(index, {}).items():
            if isinstance(value, Tensor) and name != "step":
                optimizer.state[weight][name] = value.clone().to(weight.device)
    for group in optimizer.param_groups:
        if isinstance(group.get("betas"), list):
            group["betas"] = tuple(group["betas"])


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str | list):
        return value
    raise TypeError(f"optimizer state of type {type(value).__name__} cannot be saved")
