"""Lion (Chen et al. 2023): only the sign of an average counts.  Through bitsandbytes."""

from __future__ import annotations

from pydantic import Field

from ..config import Part

TITLE = "Lion"
BLURB = "Half of AdamW's memory; wants a learning rate three to ten times lower, a weight decay that much higher, and larger batches."
USES = ("weight_decay", "schedule")
NEEDS = ("bitsandbytes",)
LACKS = {"mps": ("adamw", "bitsandbytes has no Lion for it")}
SMALLER = ("lion8bit", "Lion keeps its state in 8 bits")


class Options(Part):
    """What Lion alone is told."""

    beta1: float = Field(0.9, ge=0, lt=1, description="How much the average counts in a step, against the gradient of now.")
    beta2: float = Field(0.99, ge=0, lt=1, description="How long the average of the gradients is.")


def bytes_per_weight(options: Options) -> float:
    """One average, fp32."""
    return 4.0


def make(groups: list[dict], config, options: Options):
    from bitsandbytes.optim import Lion

    return Lion(groups, lr=config.learning_rate, betas=(options.beta1, options.beta2), weight_decay=config.weight_decay)
