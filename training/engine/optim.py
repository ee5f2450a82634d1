"""Optimizers, learning-rate schedules, and their state as plain tensors and JSON."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import OptimizerPart, RateRule
from ..plan import optimizing, schedule
from .shards import own, part, whole


def make_optimizer(config: OptimizerPart, groups: list[tuple[list[Tensor], float]], plugins: Path | None = None, fused: bool = False) -> torch.optim.Optimizer:
    """The optimizer over groups of (weights, learning rate).  What of the config it cannot use, optimizing.idle() says.

    fused: torch's AdamW moves all weights in one operation; no other optimizer takes notice.
    """
    optimizer = optimizing.of(config, plugins)
    one = optimizing.one_rate(optimizer)
    weights = [{"params": params, "lr": config.learning_rate if one else rate} for params, rate in groups]
    made = optimizer.make(weights, config, optimizing.options_of(config, optimizer))
    if fused and can_fuse(made):
        for group in made.param_groups:
            group["fused"] = True
    return made


def can_fuse(optimizer: torch.optim.Optimizer) -> bool:
    """Whether torch has one operation for the whole of its step."""
    return type(optimizer) is torch.optim.AdamW


def grouped(named: list[tuple[str, Tensor]], rate: float, rules: tuple[RateRule, ...]) -> list[tuple[list[Tensor], float]]:
    """[(weights, learning rate)]: those that no rule names first, then one group for each multiple.  named: (full name, weight)."""
    by_times: dict[float, list[Tensor]] = {1.0: []}
    for name, weight in named:
        times = next((rule.times for rule in rules if re.search(rule.pattern, name)), 1.0)
        by_times.setdefault(times, []).append(weight)
    return [(weights, rate * times) for times, weights in by_times.items() if weights]


def refuse_empty_rules(names: list[str], rules: tuple[RateRule, ...]) -> None:
    """Raises ValueError where a rule names no weight that learns."""
    for rule in rules:
        if not any(re.search(rule.pattern, name) for name in names):
            raise ValueError(f"optimizer.rates has {rule.pattern!r}, but no weight that learns has that in its name; one is called for example {names[0]}")


def make_scheduler(config: OptimizerPart, optimizer: torch.optim.Optimizer, steps: int, plugins: Path | None = None):
    """The schedule over `steps` optimizer steps, warm-up included; warm-up alone for an optimizer that needs no schedule."""
    anew = {} if "schedule" in optimizing.of(config, plugins).USES else {"again_from": 0}
    config = config.model_copy(update={"schedule": optimizing.schedule_in_force(config, plugins), **anew})
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.share(config, step, steps))


@contextlib.contextmanager
def averaged(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, the weights are the average that a schedule-free optimizer keeps; outside as before, to the bit.  Any other does nothing.

    Its own way back would round: there the weights are put back from a copy.
    """
    if not hasattr(optimizer, "eval"):
        yield
        return
    before = [own(weight).detach().clone() for weight in _weights(optimizer)]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():
            for weight, value in zip(_weights(optimizer), before, strict=True):
                own(weight).copy_(value)


def follow(scheduler) -> None:
    """The step size is what the schedule says at its present step: to the bit what it was where the schedule is the same."""
    for group, base, rule in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * rule(scheduler.last_epoch)


def learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """The step size in force; for Prodigy with its own estimate in it."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) * float(group.get("d", 1.0))


def pack(optimizer: torch.optim.Optimizer, keep: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's whole state: ({name: tensor}, JSON-able rest).  Where it is split, all processes call this together; keep: whether this one wants it.

    Read from the optimizer itself: bitsandbytes' own state_dict() nests its tensors for other purposes.
    """
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict] = {}
    for index, weight in enumerate(_weights(optimizer)):
        for name, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = whole(value, keep)
            else:
                rest.setdefault(str(index), {})[name] = _plain(value)
    groups = []
    for number, group in enumerate(optimizer.param_groups):
        plain = {}
        for name, value in group.items():
            if isinstance(value, Tensor):
                tensors[f"group.{number}.{name}"] = whole(value, keep)
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
            # torch keeps its step counters on the CPU, unless one operation moves all; everything else lies beside its weight
            alone = name == "step" and not any(group.get("fused") for group in optimizer.param_groups)
            optimizer.state[weight][name] = value.clone() if alone else _beside(optimizer, weight, value)


def _beside(optimizer: torch.optim.Optimizer, weight: Tensor, value: Tensor) -> Tensor:
    """A copy on the weight's device; where the optimizer pages its state, in a buffer of its own."""
    if getattr(optimizer, "is_paged", False) and value.shape == weight.shape and weight.device.type in ("cuda", "xpu"):
        return optimizer.get_state_buffer(weight, dtype=value.dtype).copy_(value)
    return part(value.clone(), weight) if value.shape == weight.shape else value.clone().to(weight.device)


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


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
