"""Schedule-free AdamW (Defazio et al. 2024): an average of the weights takes the place of a schedule.  Its authors' own package."""

from __future__ import annotations

from pydantic import Field

from ..config import Part

TITLE = "AdamW, schedule-free"
BLURB = "Needs no schedule, so it can be stopped at any step or trained longer with nothing lost; wants a learning rate one to ten times AdamW's, and a warm-up."
USES = ("weight_decay", "betas", "eps")
SPLITS = True
NEEDS = ("schedulefree",)
AVERAGES = True


class Options(Part):
    """What schedule-free AdamW alone is told."""

    r: float = Field(0.0, ge=0, le=10, description="Power of the step in the average: above 0, later weights count more.")
    weight_lr_power: float = Field(2.0, ge=0, le=10, description="Power of the learning rate in the average: weights of a warm-up count less; 0 means all alike.")


def bytes_per_weight(options: Options) -> float:
    """Where the steps lead, and an average of squares, fp32."""
    return 8.0


def make(groups: list[dict], config, options: Options):
    from schedulefree import AdamWScheduleFree

    made = AdamWScheduleFree(
        groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, r=options.r, weight_lr_power=options.weight_lr_power
    )
    made.train()
    return made
