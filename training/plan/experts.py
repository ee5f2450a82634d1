"""Two denoisers that share the noise levels: how often each comes, and which settings go with them.  No torch."""

from __future__ import annotations

from pathlib import Path

from .. import registry
from ..config import LossPart, TrainConfig
from ..family import FamilySpec
from ..formats.adapting import is_whole
from ..formats.basemodel import single_file
from .timelaw import TimeLaw

FIELDS = ("expert", "high_noise_share", "expert_steps")  # of LossPart
MARGIN = 1e-6  # a level so near the boundary may be rounded to the other side of it
TOKENS = 4096  # of the picture at which a shift that grows with pictures is taken


def law_of(law: TimeLaw, boundary: float, called: str) -> TimeLaw:
    """A law over all levels, of those alone that belong to one of the two."""
    return law.within(boundary + MARGIN, 1.0) if called == "high" else law.within(0.0, boundary - MARGIN)


def share_of(law: TimeLaw, boundary: float) -> float:
    """Share of a law's draws that fall to the denoiser for much noise."""
    return law.share_above(boundary, TOKENS)


def problems(config: TrainConfig, spec: FamilySpec, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of settings that a family with two denoisers cannot train with; [] for any other."""
    if not spec.experts:
        return []
    loss, found = config.loss, []
    if is_whole(registry.get("adapters", config.adapter.type, plugins)):
        found.append(("adapter.type", f"is {config.adapter.type!r}, but {spec.title} has two denoisers, which learn by adapters only; choose another kind, such as 'lora'"))
    if config.model.training_adapter:
        found.append(("model.training_adapter", f"is set, but {spec.title} has two denoisers, and a training adapter lies on one; leave it empty"))
    for path, source, what in (("model.context_adapter", config.model.context_adapter, "context"), ("sample.speed_adapter", config.sample.speed_adapter, "speed")):
        if source:
            found.append((path, f"is set, but {spec.title} has two denoisers, and a {what} adapter lies on one; leave it empty"))
    if single_file(config.model.source):
        found.append(("model.source", f"is a single file, but {spec.title} has two denoisers, which lie in two; name its folder in diffusers layout, or its Hub id"))
    return found + outside(loss, spec.boundary)


def outside(loss: LossPart, boundary: float) -> list[tuple[str, str]]:
    """The same, of limits that leave a denoiser nothing to learn.  boundary: the family's; a base model's own folder may say another."""
    found = []
    for called, empty in (("high", loss.timestep_max <= boundary), ("low", loss.timestep_min >= boundary)):
        if empty and loss.expert in ("both", called):
            limit = "timestep_max" if called == "high" else "timestep_min"
            other = "low" if called == "high" else "high"
            found.append((f"loss.{limit}", f"is {getattr(loss, limit):g}, which leaves no level to the denoiser {called!r}, whose levels lie on the other side of {boundary:g}; change it, or set loss.expert to {other!r}"))
    return found


def idle(config: TrainConfig, spec: FamilySpec) -> list[str]:
    """A sentence for each setting of theirs that does nothing in this run."""
    changed = [name for name in FIELDS if getattr(config.loss, name) != LossPart.model_fields[name].default]
    if not spec.experts:
        return [f"loss.{name} has no effect: {spec.title} has one denoiser for all noise levels" for name in changed]
    if config.loss.expert != "both":
        return [f"loss.{name} has no effect: only one of the two denoisers learns" for name in changed if name != "expert"]
    return []
