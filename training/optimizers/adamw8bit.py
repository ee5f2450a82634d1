"""AdamW whose averages are held in 8 bits, in blocks (Dettmers et al. 2022), through bitsandbytes."""

from __future__ import annotations

from ..config import Part

TITLE = "AdamW, 8 bits"
BLURB = "AdamW with a quarter of its memory, and hardly a difference in what is learnt: for large models on small cards."
USES = ("weight_decay", "betas", "eps", "schedule")
NEEDS = ("bitsandbytes",)
LACKS = {"mps": ("adamw", "bitsandbytes has no 8-bit optimizers for it")}


class Options(Part):
    """It has none of its own."""


def bytes_per_weight(options: Options) -> float:
    """Two averages in a byte each; tensors of fewer than 4096 weights keep fp32."""
    return 2.0


def make(groups: list[dict], config, options: Options):
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)
