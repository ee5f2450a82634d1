"""LoHa through peft: the product, cell by cell, of two low-rank matrices (Hyeon-Woo et al. 2021, FedPara)."""

from __future__ import annotations

from ..formats.adapting import inject, off, parameters, restore, settings, shape_of, tensors, times

__all__ = ["BLURB", "KOHYA", "TITLE", "USES", "attach", "count", "off", "parameters", "restore", "settings", "tensors", "times"]

TITLE = "LoHa"
BLURB = "Twice the weights of a LoRA, rank squared; good at low ranks. ComfyUI and peft load it."
USES = ("rank", "alpha", "dropout", "targets", "blocks", "include", "exclude", "rank_patterns", "text_encoder", "text_learning_rate", "start_from")
KOHYA = "always"


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Adds a fresh adapter to `module`; gives the names of the wrapped layers.  Raises ValueError when no layer matches."""
    from peft import LoHaConfig

    return inject(module, LoHaConfig(**shape_of(module, config, targets), alpha=config.alpha, rank_dropout=config.dropout), seed)


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights that one layer's adapter has."""
    return 2 * rank * (inputs + outputs)
