"""What to change so that a training fits the memory: the mildest changes first, each told in a sentence.  No torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from .. import registry
from ..config import TrainConfig
from ..formats.adapting import is_whole
from ..home import Home
from . import optimizing
from .devices import CARDS, Device
from .estimate import peak_bytes

SMALLEST_PX = 256  # below it a full-size model learns little


@dataclass(frozen=True)
class Change:
    """Settings by dotted path, and what they mean."""

    settings: dict[str, Any]
    said: str


@dataclass(frozen=True)
class Fitted:
    """The config with the changes that helped.  fits: whether they are enough."""

    config: TrainConfig
    changes: list[Change]
    fits: bool


def make_it_fit(config: TrainConfig, vram_bytes: float, ram_bytes: float, home: Home, on: Device, fixed: Collection[str] = ()) -> Fitted:
    """`config` changed until its estimate is within the bytes given, or nothing helps any more.

    A change is kept only where it lowers what is too much, and where it fits with all that are kept, those that it fits without
    are taken back, and none that the device `on` cannot do is tried.  fixed: dotted paths that are not touched.
    Raises ValueError as estimate() does.
    """

    def excess(of: TrainConfig) -> float:
        vram, ram = peak_bytes(of, home, vram_bytes)
        return max(0.0, vram - vram_bytes) + max(0.0, ram - ram_bytes)

    asked = config
    made: list[Change] = []
    over = excess(config)
    helped = True
    while over and helped:
        helped = False
        for step in (half(on.best_dtype), *STEPS):
            for change in step(config):
                if not set(change.settings).isdisjoint(fixed) or not all(on.can(path, value) for path, value in change.settings.items()):
                    continue
                tried = all_with(config, change.settings)
                now = excess(tried)
                if now < over:
                    config, over, helped = tried, now, True
                    made = [c for c in made if set(c.settings) != set(change.settings)] + [change]
                if not over:
                    return _needed(asked, made, excess)
    return Fitted(config, made, not over)


def _needed(asked: TrainConfig, made: list[Change], excess: Callable[[TrainConfig], float]) -> Fitted:
    """Without the changes that a later one has made needless, the harshest taken back first."""
    for change in reversed(made):
        others = [c for c in made if c is not change]
        if not excess(_all(asked, others)):
            made = others
    return Fitted(_all(asked, made), made, True)


def _all(config: TrainConfig, changes: list[Change]) -> TrainConfig:
    return all_with(config, {path: value for change in changes for path, value in change.settings.items()})


def whole(config: TrainConfig) -> bool:
    """Whether the base model's own weights learn, which must lie on the device in full."""
    return is_whole(registry.get("adapters", config.adapter.type))


def half(dtype: str) -> Callable[[TrainConfig], Iterator[Change]]:
    def step(config: TrainConfig) -> Iterator[Change]:
        if config.model.dtype == "fp32" and dtype != "fp32":
            yield Change({"model.dtype": dtype}, f"The base model computes in {dtype}, as is usual on this device")

    return step


def _smaller_batch(config: TrainConfig) -> Iterator[Change]:
    batch, times = config.data.batch_size, config.optimizer.accumulation
    while batch > 1 and batch % 2 == 0 and times <= 128:
        batch, times = batch // 2, times * 2
        yield Change({"data.batch_size": batch, "optimizer.accumulation": times}, f"Batches of {batch}, added up {times} at a time: what is learnt stays the same")


def recompute(config: TrainConfig) -> Iterator[Change]:
    levels = ("off", "third", "half", "all")
    said = {
        "third": "Gradient checkpointing: every third block is computed twice, up to a third slower",
        "half": "Gradient checkpointing: every second block is computed twice, up to a third slower",
        "all": "Gradient checkpointing: all blocks are computed twice, up to a third slower",
    }
    for level in levels[levels.index(config.loss.gradient_checkpointing) + 1 :]:
        yield Change({"loss.gradient_checkpointing": level}, said[level])


def small_optimizer(config: TrainConfig) -> Iterator[Change]:
    if smaller := getattr(optimizing.of(config.optimizer), "SMALLER", None):
        id, said = smaller
        yield Change({"optimizer.type": id}, said)


def quantise(how: str) -> Callable[[TrainConfig], Iterator[Change]]:
    bits = {"int8": "8", "nf4": "4"}[how]
    before = {"int8": ("none",), "nf4": ("none", "int8", "fp8")}[how]

    def step(config: TrainConfig) -> Iterator[Change]:
        if config.model.quantise in before and not whole(config):
            yield Change({"model.quantise": how}, f"The base model's weights are held in {bits} bits ({how}), a little less exact")
        if config.model.quantise_text in before:
            yield Change({"model.quantise_text": how}, f"The text encoders' weights are held in {bits} bits ({how})")

    return step


def tile(config: TrainConfig) -> Iterator[Change]:
    if not config.model.vae_tiling:
        yield Change({"model.vae_tiling": True}, "Pictures are encoded and decoded in tiles")


def offload(config: TrainConfig) -> Iterator[Change]:
    if config.device in CARDS and config.loss.gradient_checkpointing == "all" and not whole(config):
        for share in (0.25, 0.5, 0.75, 1.0):
            if share > config.model.offload:
                yield Change({"model.offload": share}, f"{share:.0%} of the denoiser's blocks wait in RAM, much slower")


def copied_in_time(config: TrainConfig) -> Iterator[Change]:
    if config.engine.overlap and config.model.offload:
        yield Change({"engine.overlap": False}, "Blocks that wait in RAM are copied when their turn comes, not ahead")


def _smaller_pictures(config: TrainConfig) -> Iterator[Change]:
    largest = max(config.data.all_sides)
    side = largest
    own = any(use.resolutions for use in config.data.datasets)
    while (side := side * 3 // 4 // 64 * 64) >= SMALLEST_PX:
        capped = lambda sides, most=side: tuple(sorted({min(r, most) for r in sides}))
        uses = [use.model_copy(update={"resolutions": capped(use.resolutions)}).model_dump(mode="json") for use in config.data.datasets] if own else []
        yield Change({"data.resolutions": capped(config.data.resolutions)} | ({"data.datasets": uses} if own else {}), f"Pictures of {side} px instead of {largest}: finer detail is lost")


STEPS = (copied_in_time, _smaller_batch, recompute, small_optimizer, tile, quantise("int8"), quantise("nf4"), offload, _smaller_pictures)  # the mildest first


def all_with(config: TrainConfig, settings: dict[str, Any]) -> TrainConfig:
    """`config` with the settings at those dotted paths."""
    data = config.model_dump(mode="json")
    for path, value in settings.items():
        *parents, last = path.split(".")
        part = data
        for name in parents:
            part = part[name]
        part[last] = value
    return TrainConfig.model_validate(data)
