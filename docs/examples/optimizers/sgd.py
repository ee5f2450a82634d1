"""Plain gradient descent with momentum, torch's own: to see what AdamW's scaling of each weight is good for."""

from __future__ import annotations

from pydantic import Field

from training.config import Part

EASEL_API = 1
TITLE = "SGD"
BLURB = "Plain gradient descent with momentum; wants a learning rate thousands of times AdamW's, and much patience."
USES = ("weight_decay", "schedule")


class Options(Part):
    """What SGD alone is told."""

    momentum: float = Field(0.9, ge=0, lt=1, description="How much of the last step goes on in this one.")


def bytes_per_weight(options: Options) -> float:
    """The last step, fp32; nothing without momentum."""
    return 4.0 if options.momentum else 0.0


def make(groups: list[dict], config, options: Options):
    """groups: [{"params": weights, "lr": their learning rate}]; config: OptimizerPart."""
    from torch.optim import SGD

    return SGD(groups, lr=config.learning_rate, momentum=options.momentum, weight_decay=config.weight_decay)
