"""Prodigy with schedule-free averaging, by Logan Booker's own package: no learning rate and no schedule to find."""

from __future__ import annotations

from pydantic import Field

from ..config import Part

TITLE = "Prodigy, schedule-free"
BLURB = "Finds the learning rate by itself (set it to 1), needs no schedule, and takes little more than half of AdamW's memory: when nothing about a model is known."
USES = ("weight_decay", "eps")
NEEDS = ("prodigyplus",)
AVERAGES = True
ONE_RATE = True
RATE = (0.1, 1.0, 2.0, "Prodigy multiplies its own estimate by it, so about 1 is right")


class Options(Part):
    """What it alone is told."""

    beta1: float = Field(0.9, gt=0, lt=1, description="How far the weights that are trained lie towards their average; 0.95 to 0.98 is smoother.")
    beta2: float = Field(0.99, ge=0, lt=1, description="How long the average of squared gradients is.")
    d_coef: float = Field(1.0, gt=0, le=100, description="Factor of its estimate: below 1 is more careful, above 1 bolder.")
    d0: float = Field(1e-6, gt=0, le=1, description="Estimate that it begins with; 1e-5 or 1e-4 for short runs.")
    d_limiter: bool = Field(True, description="Let the estimate grow by at most a fifth a step.")
    prodigy_steps: int = Field(0, ge=0, description="Optimizer step from which the estimate stays as it is; 0 means it never does.")
    split_groups: bool = Field(True, description="An estimate of its own for each part that learns, such as a text encoder.")
    schedulefree_c: float = Field(0.0, ge=0, le=1000, description="How quickly the average follows: 6 to 12 for short runs with small batches; 0 is the plain average.")
    factored: bool = Field(True, description="Squares as a row and a column for each matrix, as Adafactor has them; off takes 4 bytes more a weight.")
    stable: bool = Field(True, description="Limit the size of each update (StableAdamW).")


def bytes_per_weight(options: Options) -> float:
    """Where the steps lead, fp32; squares; of every 11th weight where it began and a sum of gradients, bf16."""
    return 4.0 + (0.25 if options.factored else 4.0) + 4 / 11


def make(groups: list[dict], config, options: Options):
    from prodigyplus import ProdigyPlusScheduleFree

    return ProdigyPlusScheduleFree(
        groups, lr=config.learning_rate, betas=(options.beta1, options.beta2), eps=config.eps, weight_decay=config.weight_decay, d0=options.d0,
        d_coef=options.d_coef, d_limiter=options.d_limiter, prodigy_steps=options.prodigy_steps, schedulefree_c=options.schedulefree_c,
        split_groups=options.split_groups and len(groups) > 1, factored=options.factored, use_stableadamw=options.stable,
    )  # fmt: skip

