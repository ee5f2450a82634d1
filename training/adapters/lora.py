"""LoRA through peft: two thin matrices beside each chosen layer (Hu et al. 2021)."""

from __future__ import annotations

from ..formats.adapting import inject, off, parameters, restore, settings, shape_of, tensors, times

__all__ = ["BLURB", "KOHYA", "TITLE", "USES", "attach", "count", "off", "parameters", "restore", "settings", "tensors", "times"]

TITLE = "LoRA"
BLURB = "Small, quick, loads everywhere."
USES = ("rank", "alpha", "rslora", "dropout", "targets", "blocks", "include", "exclude", "rank_patterns", "text_encoder", "text_learning_rate", "start_from")
KOHYA = "always"  # even where that layout holds several layers in one matrix


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Adds a fresh adapter to `module`; gives the names of the wrapped layers.  Raises ValueError when no layer matches."""
    return inject(module, peft_config(module, config, targets), seed)


def peft_config(module, config, targets: tuple[str, ...], dora: bool = False):
    """peft's LoraConfig.  config: AdapterPart; targets: endings of layer names."""
    from peft import LoraConfig

    return LoraConfig(
        **shape_of(module, config, targets), lora_alpha=config.alpha, lora_dropout=config.dropout, use_rslora=config.rslora, use_dora=dora,
        init_lora_weights="gaussian",
    )  # fmt: skip


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights that one layer's adapter has."""
    return rank * (inputs + outputs)
