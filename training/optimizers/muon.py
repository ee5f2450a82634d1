"""Muon (Jordan et al. 2024): a matrix moves by the nearest orthogonal one to its averaged gradient.  torch's own; the rest by AdamW.

Its steps are scaled to AdamW's size (Liu et al. 2025, "Muon is scalable for LLM training"), so AdamW's learning rate and decay hold.
"""

from __future__ import annotations

from pydantic import Field

from ..config import Part

TITLE = "Muon"
BLURB = "Half of AdamW's memory, at AdamW's learning rate, and learns in fewer steps where a matrix is large; what is no matrix (convolutions, lengths) goes by AdamW."
USES = ("weight_decay", "betas", "eps", "schedule")
SPLITS = True


class Options(Part):
    """What Muon alone is told; betas and eps are for what goes by AdamW."""

    momentum: float = Field(0.95, ge=0, lt=1, description="How long the average of the gradients is.")
    nesterov: bool = Field(True, description="Look one step ahead with that average.")
    ns_steps: int = Field(5, ge=1, le=20, description="Newton-Schulz iterations, by which the orthogonal matrix is found.")


def bytes_per_weight(options: Options) -> float:
    """One average, fp32; what goes by AdamW has two."""
    return 4.0


def make(groups: list[dict], config, options: Options):
    from torch.optim import AdamW, Muon

    from ..engine.together import Together

    matrices, rest = ([group | {"params": some} for group in groups if (some := [w for w in group["params"] if (w.ndim == 2) == wanted])] for wanted in (True, False))
    common = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    parts = []
    if matrices:
        parts.append(Muon(matrices, **common, momentum=options.momentum, nesterov=options.nesterov, ns_steps=options.ns_steps, adjust_lr_fn="match_rms_adamw"))
    if rest:
        parts.append(AdamW(rest, **common, betas=config.betas, eps=config.eps))
    return Together(parts)


def remarks(config, options: Options, shapes: list[tuple[int, ...]]) -> list[str]:
    """Which weights go by AdamW; shapes: of all that learn."""
    others = sum(len(shape) != 2 for shape in shapes)
    if others == len(shapes):
        return [f"optimizer.type is {config.type!r}, but none of the weights that learn is a matrix, so all go by AdamW; optimizer.options have no effect"]
    if others:
        return [f"Muon moves matrices only: {others} of {len(shapes)} tensors are none and go by AdamW, with optimizer.betas and optimizer.eps"]
    usual = type(config)()
    return [f"optimizer.{name} has no effect: all weights that learn are matrices, which Muon moves" for name in ("betas", "eps") if getattr(config, name) != getattr(usual, name)]
