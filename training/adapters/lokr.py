"""LoKr through peft: the Kronecker product of a small matrix and a larger one of low rank (Yeh et al. 2023, LyCORIS)."""

from __future__ import annotations

import math

from ..formats.adapting import inject, off, parameters, restore, settings, shape_of, tensors, times

__all__ = ["BLURB", "KOHYA", "TITLE", "USES", "attach", "count", "off", "parameters", "restore", "settings", "tensors", "times"]

TITLE = "LoKr"
BLURB = "Very small files that reach every weight. peft loads it, ComfyUI for most families, diffusers for some."
USES = ("rank", "alpha", "dropout", "targets", "blocks", "include", "exclude", "rank_patterns", "factor", "text_encoder", "text_learning_rate", "start_from")
KOHYA = "unfused"  # two factors of several layers do not become two factors of one matrix


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Adds a fresh adapter to `module`; gives the names of the wrapped layers.  Raises ValueError when no layer matches."""
    from peft import LoKrConfig

    made = LoKrConfig(**shape_of(module, config, targets), alpha=config.alpha, rank_dropout=config.dropout, decompose_factor=config.factor)
    return inject(module, made, seed)


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights that one layer's adapter has, a convolution taken as a matrix."""
    (in_m, in_n), (out_l, out_k) = _split(inputs, config.factor), _split(outputs, config.factor)
    large = out_k * in_n if rank >= max(out_k, in_n) / 2 else rank * (out_k + in_n)
    return out_l * in_m + large


def _split(size: int, factor: int) -> tuple[int, int]:
    """Two divisors of `size`, the smaller first and at most `factor` (-1: near the square root)."""
    most = math.isqrt(size) if factor < 0 else min(factor, math.isqrt(size))
    small = next(n for n in range(max(most, 1), 0, -1) if size % n == 0)
    return small, size // small
