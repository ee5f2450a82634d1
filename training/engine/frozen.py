"""LoRAs that lie on the base model and do not learn: one that stays on whatever is asked of it, and one that is on in samples alone.

A *context adapter* is part of what the run learns beside: it acts in training, measuring, samples and where the result is checked, and is no part
of the result, which is made to be worn together with it.  A *speed adapter* lets samples be drawn in a few steps; nothing but a sample sees it.
Both are added to what the layers of the base say, as a training adapter is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from torch import nn

from ..config import TrainConfig
from ..family import FamilySpec, Modules, Speed
from ..formats import basehash
from ..hub.download import lora_file
from ..runs.context import Context
from . import training_adapter
from .wardrobe import reaches_text

CONTEXT = "context adapter"  # begins what it is called in a run's record of its base model
Layers = Mapping[str, tuple[nn.Module, nn.Module, float]]  # {layer of the denoiser: (down, up, scale)}


def attach_context(config: TrainConfig, family: ModuleType, m: Modules, ctx: Context) -> list[nn.Module]:
    """The context adapter acts on m.denoiser, which carries no other adapter yet; its small networks.  Raises ValueError."""
    source, strength = config.model.context_adapter, config.model.context_strength
    if not source:
        return []
    ctx.phase("loading the context adapter")
    layers = _read(source, "model.context_adapter", family, m, ctx)
    added = training_adapter.TrainingAdapter({m.denoiser.get_submodule(name): (down, up, scale * strength) for name, (down, up, scale) in layers.items()})
    return added.parts


def context_hash(config: TrainConfig, ctx: Context) -> dict[str, str]:
    """{what it is called in the run's record: sha256} of the context adapter; {} without one."""
    source, strength = config.model.context_adapter, config.model.context_strength
    if not source:
        return {}
    file = _file(source, ctx)
    return {f"{CONTEXT} {file.name} at {strength:g}": basehash.sha256_of(file)}


class SpeedAdapter:
    """Acts on the denoiser's layers while on() is entered, and has no hook there else, which would make training slower."""

    def __init__(self, denoiser: nn.Module | None, layers: Layers, strength: float, speed: Speed | None):
        self.speed = speed
        self._layers = {denoiser.get_submodule(name): (down, up, scale * strength) for name, (down, up, scale) in layers.items()} if denoiser is not None else {}
        for down, up, _ in self._layers.values():
            down.to("cpu"), up.to("cpu")  # the card's memory belongs to the training

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Inside, the denoiser answers with it."""
        added = training_adapter.TrainingAdapter(self._layers)
        try:
            yield
        finally:
            added.remove()
            for part in added.parts:
                part.to("cpu")

    def scheduler(self, own):
        """What samples are drawn by: the base model's own scheduler, or the one that a known speed adapter was made for."""
        return scheduled(own, self.speed)


def attach_speed(config: TrainConfig, family: ModuleType, m: Modules, ctx: Context) -> SpeedAdapter:
    """The speed adapter of m.denoiser, which carries no other adapter yet; without one, one that does nothing.  Raises ValueError."""
    source = config.sample.speed_adapter
    if not source:
        return SpeedAdapter(None, {}, 1.0, None)
    ctx.phase("loading the speed adapter")
    layers = _read(source, "sample.speed_adapter", family, m, ctx)
    return SpeedAdapter(m.denoiser, layers, config.sample.speed_strength, family.SPEC.speed.get(source))


def scheduled(own, speed: Speed | None):
    """A scheduler for a known speed adapter, with the settings of the base model's own otherwise; None: its own."""
    if speed is None or not (speed.scheduler or speed.settings):
        return own
    import diffusers

    cls = getattr(diffusers, speed.scheduler) if speed.scheduler else type(own)
    return cls.from_config(own.config, **speed.settings)


def known_speed(spec: FamilySpec, sources: Sequence[str]) -> Speed | None:
    """The known speed adapter among the sources of what is worn."""
    return next((spec.speed[source] for source in sources if source in spec.speed), None)


def _file(source: str, ctx: Context) -> Path:
    token = ctx.secrets.get("hf_token")
    return lora_file(source, token.reveal() if token else None)


def _read(source: str, setting: str, family: ModuleType, m: Modules, ctx: Context) -> Layers:
    """The layers of a LoRA for the denoiser, in whatever layout, by diffusers' loader or else by our own; what it has for a text encoder is left out."""
    file = _file(source, ctx)
    try:
        training_adapter.refuse_dora(file)
        found = training_adapter.worn(family, m, file, ctx)
    except ValueError as error:
        raise ValueError(f"{setting} is {source!r}, but {error}") from None
    if not found:
        raise ValueError(f"{setting} is {source!r}, but {file.name} holds no LoRA for {family.SPEC.title}; leave it empty, or choose another")
    if reaches_text(file, family.SPEC):
        ctx.warn(f"{file.name} also has a part for the text encoder, which is left out")
        if setting == "model.context_adapter":
            ctx.warn("What is learnt beside the context adapter is learnt without its part for the text encoder; the Playground and other programs draw with that part, so pictures there may differ from the samples")
    return found
