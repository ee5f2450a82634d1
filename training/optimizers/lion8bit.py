"""Lion whose average is held in 8 bits, through bitsandbytes."""

from __future__ import annotations

from .lion import LACKS, NEEDS, USES, Options

__all__ = ["BLURB", "LACKS", "NEEDS", "TITLE", "USES", "Options", "bytes_per_weight", "make"]

TITLE = "Lion, 8 bits"
BLURB = "Lion with an eighth of AdamW's memory: the smallest that still averages every weight's gradient. Same settings as Lion."


def bytes_per_weight(options: Options) -> float:
    """One average in a byte; tensors of fewer than 4096 weights keep fp32."""
    return 1.0


def make(groups: list[dict], config, options: Options):
    from bitsandbytes.optim import Lion8bit

    return Lion8bit(groups, lr=config.learning_rate, betas=(options.beta1, options.beta2), weight_decay=config.weight_decay)
