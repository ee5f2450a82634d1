"""The samplers of diffusers that can stand in for a base model's own scheduler.  No torch."""

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
