"""The samplers that can stand in for a base model's own, where diffusers says that their settings can be exchanged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampler:
    """One scheduler of diffusers.  title: as A1111 calls it.  settings: what is set otherwise than the base model's own scheduler has it."""

    scheduler: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)


SAMPLERS = {
    "ddim": Sampler("DDIMScheduler", "DDIM"),
    "ddpm": Sampler("DDPMScheduler", "DDPM"),
    "plms": Sampler("PNDMScheduler", "PLMS", {"skip_prk_steps": True}),
    "euler": Sampler("EulerDiscreteScheduler", "Euler"),
    "euler_a": Sampler("EulerAncestralDiscreteScheduler", "Euler a"),
    "heun": Sampler("HeunDiscreteScheduler", "Heun"),
    "dpm2": Sampler("KDPM2DiscreteScheduler", "DPM2"),
    "dpm2_a": Sampler("KDPM2AncestralDiscreteScheduler", "DPM2 a"),
    "dpmpp_2m": Sampler("DPMSolverMultistepScheduler", "DPM++ 2M"),
    "dpmpp_2m_karras": Sampler("DPMSolverMultistepScheduler", "DPM++ 2M Karras", {"use_karras_sigmas": True}),
    "dpmpp_2m_sde": Sampler("DPMSolverMultistepScheduler", "DPM++ 2M SDE", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2s": Sampler("DPMSolverSinglestepScheduler", "DPM++ 2S"),
    "deis": Sampler("DEISMultistepScheduler", "DEIS"),
    "unipc": Sampler("UniPCMultistepScheduler", "UniPC"),
}
_OWN_TITLES = {s.scheduler: s.title for s in reversed(SAMPLERS.values())} | {"FlowMatchEulerDiscreteScheduler": "Euler"}


def offered(scheduler, prediction: str) -> dict[str, Sampler]:
    """{id: sampler} that a base model can draw with besides its own scheduler.

    Those of flow families draw with their own only: their pipelines hand it noise levels of their own, which others do not take.
    """
    if prediction == "flow":
        return {}
    classes = {cls.__name__ for cls in scheduler.compatibles}
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
