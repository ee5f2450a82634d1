"""CAME (Luo et al. 2023): Adafactor's rows and columns, with trust in steps that agree with each other.  Its authors' own package."""

from __future__ import annotations

from pydantic import Field

from ..config import Part

TITLE = "CAME"
BLURB = "Little more than half of AdamW's memory and often as good; wants about half of AdamW's learning rate and a warm-up, its first steps are large."
USES = ("weight_decay", "schedule")
NEEDS = ("came_pytorch",)


class Options(Part):
    """What CAME alone is told."""

    beta1: float = Field(0.9, ge=0, lt=1, description="How long the average of the updates is.")
    beta2: float = Field(0.999, ge=0, lt=1, description="How long the average of squared gradients is.")
    beta3: float = Field(0.9999, ge=0, lt=1, description="How long the average of what updates differ by is.")
    clip_threshold: float = Field(1.0, gt=0, le=100, description="Largest root mean square of a weight's update, before the learning rate.")


def bytes_per_weight(options: Options) -> float:
    """One average, fp32; of squares and of differences a row and a column each."""
    return 4.5


def make(groups: list[dict], config, options: Options):
    from came_pytorch import CAME

    betas = (options.beta1, options.beta2, options.beta3)
    return CAME(groups, lr=config.learning_rate, betas=betas, clip_threshold=options.clip_threshold, weight_decay=config.weight_decay)
