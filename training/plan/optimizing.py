"""What the chosen optimizer says of itself, and what of its settings is wrong or does nothing.  No torch."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel, ValidationError

from .. import jobfile, registry
from ..config import OptimizerPart, TrainConfig
from ..home import TO_REPAIR
from . import schedule

OWN = ("weight_decay", "betas", "eps", "schedule")  # fields of OptimizerPart that not every optimizer acts on


def of(config: OptimizerPart, plugins: Path | None = None) -> ModuleType:
    """The optimizer's file.  Raises ValueError that names the choices."""
    return registry.get("optimizers", config.type, plugins)


def options_of(config: OptimizerPart, optimizer: ModuleType) -> BaseModel:
    """The optimizer's own options, checked.  Raises ValueError."""
    return jobfile.parse(optimizer.Options, config.options, "optimizer.options")


def state_bytes(config: OptimizerPart) -> float:
    """Bytes of state that it keeps for each weight that learns.  Raises ValueError."""
    optimizer = of(config)
    return optimizer.bytes_per_weight(options_of(config, optimizer))


def kept_bytes(config: TrainConfig) -> float:
    """Bytes beside each weight that learns: the optimizer's state, and an average, or what stands aside while samples are drawn of one.  Raises ValueError."""
    return state_bytes(config.optimizer) + (4 if config.loss.ema_decay or averages(of(config.optimizer)) else 0)


def schedule_in_force(config: OptimizerPart, plugins: Path | None = None) -> str:
    """The schedule that the learning rate follows: constant where the optimizer needs none; what the config says where it is not there to be asked."""
    try:
        return config.schedule if "schedule" in of(config, plugins).USES else "constant"  # then it does not begin anew either
    except ValueError:
        return config.schedule


def averages(optimizer: ModuleType) -> bool:
    """Whether it averages the weights itself: samples and the result are made of that average."""
    return getattr(optimizer, "AVERAGES", False)


def one_rate(optimizer: ModuleType) -> bool:
    """Whether it finds the learning rates itself, so that no part can have another."""
    return getattr(optimizer, "ONE_RATE", False)


def problems(config: TrainConfig, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of what keeps the optimizer from training."""
    try:
        optimizer = of(config.optimizer, plugins)
    except ValueError as error:
        return [("optimizer.type", str(error))]
    found = [
        ("optimizer.type", f"is {config.optimizer.type!r}, which needs the Python package {name!r}, and that is not installed; {TO_REPAIR}, which installs it, or choose another")
        for name in getattr(optimizer, "NEEDS", ())
        if not _installed(name)
    ]  # fmt: skip
    try:
        optimizer.Options.model_validate(config.optimizer.options)
    except ValidationError as error:
        has = ", ".join(optimizer.Options.model_fields) or "none"
        found += [("optimizer.options", f"{path!r} {text} ({optimizer.TITLE} has: {has})") for path, text in jobfile.problems(optimizer.Options, error)]
    return found


def _installed(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _idle_anew(config: TrainConfig, optimizer: ModuleType) -> list[str]:
    o, usual = config.optimizer, OptimizerPart()
    changed = [name for name in schedule.ANEW if getattr(o, name) != getattr(usual, name)]
    if "schedule" not in optimizer.USES:
        return [f"optimizer.{name} has no effect: {optimizer.TITLE} has no schedule" for name in changed]
    if o.again_from >= config.steps:
        return [f"optimizer.again_from has no effect: training ends at step {config.steps}"]
    return [] if o.again_from else [f"optimizer.{name} has no effect: optimizer.again_from is 0" for name in changed]


def idle(config: TrainConfig, optimizer: ModuleType) -> list[str]:
    """A sentence for each setting that was changed and does nothing, or hardly what was meant."""
    o, usual, title = config.optimizer, OptimizerPart(), optimizer.TITLE
    said = [f"optimizer.{name} has no effect: {title} does not use it" for name in unused(optimizer) if getattr(o, name) != getattr(usual, name) and (name, o.schedule) != ("schedule", "constant")]
    flat = "schedule" not in optimizer.USES or (o.schedule == "constant" and not (o.again_from and o.again_schedule == "cosine"))
    for name in ("schedule_end", *schedule.ONLY):
        if getattr(o, name) == getattr(usual, name):
            continue
        if "schedule" not in optimizer.USES:
            said.append(f"optimizer.{name} has no effect: {title} has no schedule")
        elif flat or o.schedule != schedule.ONLY.get(name, o.schedule):
            said.append(f"optimizer.{name} has no effect: optimizer.schedule is {o.schedule!r}")
    said += _idle_anew(config, optimizer)
    if o.rates and one_rate(optimizer):
        said.append(f"optimizer.rates has no effect: {title} finds the rates itself")
    if not sensible_rate(o, optimizer):
        said.append(f"optimizer.learning_rate is {o.learning_rate:g}, but {optimizer.RATE[3]}")
    if averages(optimizer) and config.loss.ema_decay:
        said.append(f"loss.ema_decay has no effect: {title} averages the weights itself")
    return said


def sensible_rate(config: OptimizerPart, optimizer: ModuleType) -> bool:
    """Whether the learning rate is one that this optimizer makes sense with, as far as it says."""
    low, _, high, _ = getattr(optimizer, "RATE", (0, 0, float("inf"), ""))
    return low <= config.learning_rate <= high


def adapted(config: TrainConfig, plugins: Path | None, fixed: Collection[str]) -> tuple[dict[str, float], list[str]]:
    """({dotted path: value}, the same in sentences): a preset's learning rate belongs to the preset's optimizer.  fixed: paths that stay as they are."""
    try:
        optimizer = of(config.optimizer, plugins)
    except ValueError:
        return {}, []  # problems() says so
    if "optimizer.learning_rate" in fixed or sensible_rate(config.optimizer, optimizer):
        return {}, []
    _, usual, _, why = optimizer.RATE
    return {"optimizer.learning_rate": usual}, [f"Learning rate {usual:g} instead of {config.optimizer.learning_rate:g}: {why}"]


def unused(optimizer: ModuleType) -> list[str]:
    """Fields of OptimizerPart that it does not act on."""
    return [name for name in OWN if name not in optimizer.USES]
