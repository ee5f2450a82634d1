"""What a base model was trained to predict, and whether its noise ends in pure noise: as its scheduler says, or as it was chosen by hand.

Zero terminal SNR is Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are Flawed" (arXiv 2305.08891): the last timestep shows
nothing of the picture, so drawing has to begin there (trailing timesteps), and guidance is rescaled, which would overexpose else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from ..config import ModelPart
from ..family import FamilySpec

NAMED_SO = re.compile(r"v[-_ ]?pred", re.IGNORECASE)
RESCALE = 0.7  # phi of the paper's section 3.4, which its authors found best
ZERO = "rescale_betas_zero_snr"


def as_chosen(scheduler, model: ModelPart, spec: FamilySpec):
    """The checkpoint's scheduler with what the config sets by hand; one whose noise ends in pure noise begins to draw there.

    Raises ValueError where the two do not go together.
    """
    if spec.prediction == "flow":
        return scheduler
    chosen: dict[str, Any] = {}
    if model.prediction != "auto":
        chosen["prediction_type"] = model.prediction
    if model.zero_terminal_snr != "auto":
        chosen[ZERO] = model.zero_terminal_snr == "on"
    config = dict(scheduler.config) | chosen
    if model.zero_terminal_snr == "on" and config.get("prediction_type") == "epsilon":
        raise ValueError(
            "model.zero_terminal_snr is 'on', but the base model predicts the noise, and pure noise tells nothing of the picture; "
            "set model.prediction to 'v_prediction' if it was trained so, or leave zero_terminal_snr at 'auto'"
        )
    if ends_in_noise(config):
        chosen["timestep_spacing"] = "trailing"
        if not can_end_in_noise(type(scheduler)):
            import diffusers

            return diffusers.DDIMScheduler.from_config(config, **chosen)
    return type(scheduler).from_config(config, **chosen) if chosen else scheduler


def ends_in_noise(config: Mapping[str, Any]) -> bool:
    """Whether the last timestep of a scheduler with this config is pure noise."""
    return bool(config.get(ZERO))


def can_end_in_noise(cls: type) -> bool:
    """Whether a class of scheduler knows of noise that ends in pure noise; the others would pass it over."""
    return ZERO in inspect.signature(cls.__init__).parameters


def rescaled(pipe, scheduler) -> dict[str, float]:
    """What a pipeline's call is told besides, so that guidance does not overexpose: nothing for other models, or where the pipeline cannot."""
    asked = ends_in_noise(scheduler.config) and scheduler.config.get("prediction_type") == "v_prediction"
    return {"guidance_rescale": RESCALE} if asked and "guidance_rescale" in inspect.signature(type(pipe).__call__).parameters else {}


def remarks(model: ModelPart, spec: FamilySpec, scheduler) -> list[str]:
    """Sentences on settings that have no effect, and on a base model whose own two settings do not go together."""
    if spec.prediction == "flow":
        changed = [name for name in ("prediction", "zero_terminal_snr") if getattr(model, name) != "auto"]
        return [f"model.{name} has no effect: {spec.title} is a flow model, which has neither" for name in changed]
    noise = scheduler.config.get("prediction_type") == "epsilon"
    name = re.split(r"[\\/]", model.source)[-1]
    if noise and model.prediction == "auto" and NAMED_SO.search(name):
        return [f"{name} is called after v-prediction, but its files say nothing of it, so it is trained as one that predicts the noise; if samples are all grey or noise, set model.prediction to 'v_prediction'"]
    if ends_in_noise(scheduler.config) and noise:
        return ["The base model's noise ends in pure noise, but it predicts the noise: at its last step there is nothing to learn"]
    return []
