"""Prodigy (Mishchenko and Defazio 2023), which finds the learning rate, through its authors' own package."""

from __future__ import annotations

from pydantic import Field

from ..config import Part

TITLE = "Prodigy"
BLURB = "Finds the learning rate by itself (set it to 1), with twice AdamW's memory: when you do not know the rate for a model."
USES = ("weight_decay", "betas", "eps", "schedule")
NEEDS = ("prodigyopt",)
ONE_RATE = True  # prodigyopt refuses groups of different rates: its estimate is one for all
RATE = (0.1, 1.0, 2.0, "Prodigy multiplies its own estimate by it, so about 1 is right")


class Options(Part):
    """What Prodigy alone is told."""

    d_coef: float = Field(1.0, gt=0, le=100, description="Factor of its estimate: below 1 is more careful, above 1 bolder.")
    d0: float = Field(1e-6, gt=0, le=1, description="Estimate that it begins with.")
    safeguard_warmup: bool = Field(False, description="Keep steps of a warm-up from counting too much in the estimate.")
    bias_correction: bool = Field(True, description="Adam's correction of the first steps.")


def bytes_per_weight(options: Options) -> float:
    """Two averages, where it began, and the weighted sum of gradients, fp32."""
    return 16.0


def make(groups: list[dict], config, options: Options):
    from prodigyopt import Prodigy

    return Prodigy(
        groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, decouple=True,
        use_bias_correction=options.bias_correction, safeguard_warmup=options.safeguard_warmup, d_coef=options.d_coef, d0=options.d0,
    )  # fmt: skip
