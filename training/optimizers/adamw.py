"""AdamW (Loshchilov and Hutter 2019), torch's own."""

from __future__ import annotations

from ..config import Part

TITLE = "AdamW"
BLURB = "What most recipes are written for; take it unless you know why not."
USES = ("weight_decay", "betas", "eps", "schedule")
SPLITS = True
SMALLER = ("adamw8bit", "AdamW keeps its state in 8 bits")


class Options(Part):
    """It has none of its own."""


def bytes_per_weight(options: Options) -> float:
    """Two averages, fp32."""
    return 8.0


def make(groups: list[dict], config, options: Options):
    from torch.optim import AdamW

    return AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)
