"""Samplers in place of a base model's own, where diffusers says that their settings can be exchanged."""

from __future__ import annotations

from ..plan.samplers import SAMPLERS, Sampler
from .noised import can_end_in_noise, ends_in_noise

_OWN_TITLES = {s.scheduler: s.title for s in reversed(SAMPLERS.values())} | {"FlowMatchEulerDiscreteScheduler": "Euler"}


def offered(scheduler, prediction: str) -> dict[str, Sampler]:
    """{id: sampler} that a base model can draw with besides its own scheduler.

    Those of flow families draw with their own only: their pipelines hand it noise levels of their own, which others do not take.  For a model whose
    noise ends in pure noise there are those that know of it.
    """
    if prediction == "flow":
        return {}
    classes = {cls.__name__ for cls in scheduler.compatibles if can_end_in_noise(cls) or not ends_in_noise(scheduler.config)}
    return {id: sampler for id, sampler in SAMPLERS.items() if sampler.scheduler in classes}


def made(id: str, scheduler, prediction: str):
    """(a scheduler of that sampler with the settings of the base model's own, its title); id "": the base model's own.  Raises ValueError."""
    import diffusers

    if not id:
        name = type(scheduler).__name__
        return scheduler, _OWN_TITLES.get(name, name.removesuffix("Scheduler"))
    can = offered(scheduler, prediction)
    if id not in can:
        there = f"there are: {', '.join(can)}" if can else "this base model draws with its own only, so leave it empty"
        raise ValueError(f"sampler is {id!r}; {there}")
    return getattr(diffusers, can[id].scheduler).from_config(scheduler.config, **can[id].settings), can[id].title
