"""OFT through peft: each chosen layer's inputs are rotated in blocks, so that angles between neurons stay (Qiu et al. 2023)."""

from __future__ import annotations

from ..formats.adapting import chosen_layers, inject, off, parameters, restore, settings, target_modules, tensors

__all__ = ["BLURB", "KOHYA", "TITLE", "USES", "attach", "count", "off", "parameters", "restore", "settings", "tensors"]

TITLE = "OFT"
BLURB = "Rotates instead of adding: keeps more of what the base model knows. Only peft loads it."
USES = ("block_size", "dropout", "targets", "blocks", "include", "exclude", "text_encoder", "text_learning_rate", "start_from")
KOHYA = "never"  # peft rotates inputs, the others outputs


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Adds a fresh adapter to `module`; gives the names of the wrapped layers.

    Where a layer's inputs do not divide by block_size, peft takes the nearest size that divides them.  Raises ValueError when
    no layer matches.
    """
    from peft import OFTConfig

    names = chosen_layers(module, config, targets)
    made = OFTConfig(r=0, oft_block_size=config.block_size, module_dropout=config.dropout, target_modules=target_modules(module, names, targets))
    return inject(module, made, seed)


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights that one layer's adapter has."""
    return inputs * (min(config.block_size, inputs) - 1) // 2
