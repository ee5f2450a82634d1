"""The learning-rate finder: a ramp of rates on a training's own settings, in memory; it leaves a curve and a suggestion, and no weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..away.place import is_away
from ..config import Device, JobConfig, TrainConfig

TITLE = "Find the learning rate"
NEEDS_TOKEN = True  # a gated base model is downloaded with the user's own token


class Config(JobConfig):
    """One search, complete."""

    kind: Literal["lr_find"] = Field("lr_find", description="Job kind.")
    training: TrainConfig = Field(description="The training whose learning rate is looked for; nothing of it is trained for good.")
    device: Device = Field("cpu", description="Where it is looked for: where the training runs.")
    ramp_steps: int = Field(150, ge=50, le=1000, description="Optimizer steps of the ramp; more tell more clearly.")
    low: float = Field(1e-6, gt=0, le=1, description="Learning rate that the ramp begins with.")
    high: float = Field(1e-1, gt=0, le=10, description="Learning rate that the ramp ends with, if the loss has not risen far before.")

    @model_validator(mode="after")
    def _holds(self):
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; the ramp has to rise")
        if self.device != self.training.device:
            raise ValueError(f"device is {self.device!r}, but the training's is {self.training.device!r}; a rate is looked for where it is trained")
        if is_away(self.training):
            raise ValueError("the training is for another machine; a rate is looked for on this one, so set where it trains to here")
        return self


def of_training(training: TrainConfig, **more) -> Config:
    """The search for a training's rate.  Raises ValueError."""
    return Config.model_validate({"name": training.name, "training": training.model_dump(mode="json"), "device": training.device, **more})


def run(config: Config, ctx) -> None:
    """Climbs the ramp and emits `finished`, with the curve in the run's folder.  Raises ValueError in plain words, Stopped."""
    from ..plan import ratefinding

    if refused := ratefinding.hindrance(config.training, ctx.home.plugins):
        raise ValueError(refused)
    ctx.phase("loading libraries")
    from ..engine import ratefinder

    ratefinder.find(config.training, ratefinding.rates(config.low, config.high, config.ramp_steps), ctx)
