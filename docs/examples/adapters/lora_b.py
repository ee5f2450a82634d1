"""LoRA of which only the second matrix learns (Zhang et al. 2023, LoRA-FA): half the optimizer's memory, and an ordinary LoRA file.

The first one stays what it began as, which the seed says; it is in the file all the same, so that any program loads it.
"""

from __future__ import annotations

from training.adapters import lora
from training.formats.adapting import off, parameters, restore, settings, tensors

EASEL_API = 1
__all__ = ["BLURB", "EASEL_API", "KOHYA", "TITLE", "USES", "attach", "count", "off", "parameters", "restore", "settings", "tensors"]

TITLE = "LoRA, one matrix"
BLURB = "Half the optimizer's memory of a LoRA, an ordinary LoRA file; wants about twice the learning rate."
USES = lora.USES
KOHYA = lora.KOHYA


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Adds a fresh adapter to `module`; gives the names of the wrapped layers."""
    names = lora.attach(module, config, targets, seed)
    for name, weight in module.named_parameters():
        if ".lora_A." in name:
            weight.requires_grad_(False)
    return names


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights of one layer's adapter that learn."""
    return rank * outputs
