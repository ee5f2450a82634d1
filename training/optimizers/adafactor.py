"""Adafactor (Shazeer and Stern 2018) with a learning rate of ours, through transformers."""

from __future__ import annotations

from pydantic import Field

from ..config import Part

TITLE = "Adafactor"
BLURB = "Hardly any state: a row and a column for each matrix. For training a whole model where AdamW does not fit."
USES = ("weight_decay", "schedule")


class Options(Part):
    """What Adafactor alone is told."""

    clip_threshold: float = Field(1.0, gt=0, le=100, description="Largest root mean square of a weight's update, before the learning rate.")
    decay_rate: float = Field(-0.8, ge=-1, lt=0, description="Exponent by which the average of squares grows longer with the steps.")
    scale_parameter: bool = Field(False, description="Multiply the learning rate by the size of the weights themselves.")


def bytes_per_weight(options: Options) -> float:
    """A row and a column for each matrix: little of a LoRA, next to nothing of a whole layer."""
    return 0.25


def make(groups: list[dict], config, options: Options):
    from transformers import Adafactor

    return Adafactor(
        groups, lr=config.learning_rate, weight_decay=config.weight_decay, relative_step=False, warmup_init=False,
        clip_threshold=options.clip_threshold, decay_rate=options.decay_rate, scale_parameter=options.scale_parameter,
    )  # fmt: skip
