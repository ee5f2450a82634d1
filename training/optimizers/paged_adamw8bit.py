"""AdamW in 8 bits whose state moves to RAM where a card is full (Dettmers et al. 2023), through bitsandbytes."""

from __future__ import annotations

from ..config import Part
from .adamw8bit import LACKS, NEEDS, USES, bytes_per_weight

__all__ = ["BLURB", "LACKS", "NEEDS", "TITLE", "USES", "Options", "bytes_per_weight", "make"]

TITLE = "AdamW, 8 bits, paged"
BLURB = "The 8-bit AdamW whose state moves to RAM when a card is full: where a training only just does not fit."


class Options(Part):
    """It has none of its own."""


def make(groups: list[dict], config, options: Options):
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)
