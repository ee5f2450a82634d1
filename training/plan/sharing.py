"""How many processes train a run together, and what of its settings lets them share it out.  No torch.

Micro-batch m of a step goes to process m modulo their count, so a step needs as many as there are processes.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from .. import registry
from ..config import HERE, TrainConfig
from ..formats.adapting import is_whole
from ..formats.beside import is_beside
from . import optimizing
from .devices import CARDS
from .hardware import Machine

UNSHARED = 0.1  # of a step's time on one card: the sum of the gradients, the optimizer and what Python does are done by each; a rough figure, not measured on cards


def processes(asked: int, device: str, cards: int) -> int:
    """How many a run takes on this computer.  asked: `gpus`; cards: that it was given.  Raises ValueError where there are not as many."""
    if asked == 0:
        return max(cards, 1) if device in CARDS else 1
    if device == "mps" and asked > 1:
        raise ValueError(f"gpus is {asked}, but an Apple GPU is one; set gpus to 1")
    if device in CARDS and asked > cards:
        here = f"{cards} cards" if cards != 1 else "1 card"
        raise ValueError(f"gpus is {asked}, but this run was given {here}; set gpus to {max(cards, 1)}, or 0 for all; a run that is there resumes so with: python -m training resume RUN --gpus {max(cards, 1)}")
    return asked


def count_on(config: TrainConfig, machine: Machine) -> int:
    """processes() on a machine as the page knows it.  Raises ValueError where it has fewer cards; where nobody knows how many, as elsewhere, there are enough."""
    if config.place.kind != HERE or (machine.cuda_ok and not machine.cards):
        return max(config.gpus, 1)
    return processes(config.gpus, config.device, len(machine.cards) or 1)


def on(config: TrainConfig, machine: Machine, by: Literal["vram_free_bytes", "vram_bytes"] = "vram_free_bytes") -> tuple[TrainConfig, Machine]:
    """(`config` with as many processes as it takes, the machine with the one of their cards that has least, as each must hold the whole model).  Raises as count_on()."""
    count = count_on(config, machine)
    cards = [card for card in machine.cards[:count] if card.vram_bytes]
    if count > 1 and config.place.kind == HERE and config.device in CARDS and cards:
        least = min(cards, key=lambda card: getattr(card, by))
        machine = replace(machine, gpu_name=least.name, vram_bytes=least.vram_bytes, vram_free_bytes=least.vram_free_bytes, compute=least.compute)
    return config.model_copy(update={"gpus": count}), machine


def faults(config: TrainConfig, machine: Machine, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of what keeps a run from this machine's cards; one that is sent elsewhere has that machine's."""
    if config.place.kind != HERE:
        return []
    try:
        return problems(config, count_on(config, machine), plugins)
    except ValueError as error:
        return [("gpus", str(error).removeprefix("gpus "))]


def adapted(config: TrainConfig, machine: Machine, fixed: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """({dotted path: value} by which each card has a micro-batch of its own, the same in a sentence).  fixed: paths that stay as they are."""
    if any(path == "gpus" for path, _ in faults(config, machine)) and not {"data.batch_size", "optimizer.accumulation"} & set(fixed):
        try:
            count = count_on(config, machine)
        except ValueError:
            return {}, []  # faults() says so
        changes = shared_out(config, count)
        batch, times = (changes.get(path, now) for path, now in (("data.batch_size", config.data.batch_size), ("optimizer.accumulation", config.optimizer.accumulation)))
        before = config.data.batch_size * config.optimizer.accumulation
        more = "what is learnt stays the same" if batch * times == before else f"{batch * times} pictures a step instead of {before}"
        if config.device in CARDS:
            return changes, [f"Batches of {batch}, {times} a step, so that {count} cards share them out: {more}"]
        return changes, [f"Batches of {batch}, {times} a step, so that {count} processes share them out: {more}"]
    return {}, []


def share_of_time(config: TrainConfig, count: int) -> float:
    """What a step on `count` cards takes of its time on one.  Processes on a processor have the same cores among them."""
    batches = config.optimizer.accumulation
    return UNSHARED + (1 - UNSHARED) * math.ceil(batches / count) / batches if count > 1 and config.device in CARDS else 1.0


def problems(config: TrainConfig, count: int, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of what keeps `count` processes from sharing out a step, or the model."""
    wrong = split_problems(config, plugins) if count > 1 else []
    batches = config.optimizer.accumulation
    if count <= batches:
        return wrong
    said = " and ".join(f"{path} to {value}" for path, value in shared_out(config, count).items())
    what = "1 micro-batch" if batches == 1 else f"{batches} micro-batches"
    return [("gpus", f"is {config.gpus or f'0, which is {count} here'}: {count} processes share out the micro-batches of a step, but it has {what} (optimizer.accumulation); set {said}"), *wrong]


def split_problems(config: TrainConfig, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of what keeps the base model from being split among the cards, where `shard` asks for it."""
    return [("shard", f"is on, but {why}; set shard to off, or {do}") for why, do in unsplittable(config, plugins)] if config.shard == "on" else []


def unsplittable(config: TrainConfig, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(why, what to do)] of what keeps the base model whole on each card, whatever `shard` says."""
    m, found = config.model, []
    try:
        adapter, optimizer = registry.get("adapters", config.adapter.type, plugins), optimizing.of(config.optimizer, plugins)
    except ValueError:
        return [("the adapter or the optimizer is not known", "choose another")]
    if registry.get("families", m.family, plugins).SPEC.experts:
        found.append(("this base model has two denoisers, of which a card holds one at a time", "choose another base model"))
    if m.quantise != "none":
        found.append((f"model.quantise is {m.quantise!r}, and weights of 8 or 4 bits are not split among cards", "set model.quantise to none"))
    if m.offload:
        found.append((f"model.offload is {m.offload:g}, and what waits in RAM is not split among cards", "set model.offload to 0"))
    if is_beside(adapter):
        found.append((f"the adapter {config.adapter.type!r} hangs beside a base model that each card holds whole", "choose another kind of adapter"))
    if is_whole(adapter) and not getattr(adapter, "SPLITS", False):
        found.append((f"the adapter {config.adapter.type!r} does not say that its weights can be split among cards", "choose another kind of adapter"))
    if is_whole(adapter) and not getattr(optimizer, "SPLITS", False):
        able = ", ".join(id for id, plugin in registry.find("optimizers", plugins).items() if plugin.ok and getattr(plugin.module, "SPLITS", False))
        found.append((f"{optimizer.TITLE} needs every weight whole, and here the weights that learn are split among cards", f"choose an optimizer that does not: {able}"))
    return found


def shared_out(config: TrainConfig, count: int) -> dict[str, Any]:
    """{dotted path: value} by which a step has a micro-batch for each: of as many pictures as before where they divide, else of at least as many."""
    pictures = config.data.batch_size * config.optimizer.accumulation
    times = math.ceil(max(config.optimizer.accumulation, count) / count) * count
    batch = next((b for b in range(config.data.batch_size, 0, -1) if pictures % b == 0 and pictures // b >= count), 0)
    found = {"data.batch_size": batch, "optimizer.accumulation": pictures // batch} if batch else {"data.batch_size": math.ceil(pictures / times), "optimizer.accumulation": times}
    now = {"data.batch_size": config.data.batch_size, "optimizer.accumulation": config.optimizer.accumulation}
    return {path: value for path, value in found.items() if value != now[path]}
