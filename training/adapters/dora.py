"""DoRA through peft: a LoRA that turns each weight's direction, and a length learnt apart from it (Liu et al. 2024)."""

from __future__ import annotations

from ..formats.adapting import inject, off, parameters, restore, settings, tensors
from . import lora

__all__ = ["BLURB", "KOHYA", "TITLE", "USES", "attach", "count", "off", "parameters", "restore", "settings", "tensors"]

TITLE = "DoRA"
BLURB = "A LoRA with lengths of its own: often closer at low rank, slower to train."
# not the text encoder: diffusers' and transformers' loaders drop a text encoder's magnitudes, and the file would act otherwise there
USES = tuple(name for name in lora.USES if name not in ("text_encoder", "text_learning_rate"))
KOHYA = "always"


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Adds a fresh adapter to `module`; gives the names of the wrapped layers.  Raises ValueError when no layer matches."""
    return inject(module, lora.peft_config(module, config, targets, dora=True), seed)


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights that one layer's adapter has."""
    return lora.count(config, rank, inputs, outputs) + outputs
