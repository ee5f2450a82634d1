"""T-LoRA: a LoRA of which fewer ranks learn the noisier the picture is (Soboleva et al. 2025, arXiv 2507.05964).

At noise level t of T, the first r(t) = r_min + floor((1 - t/T)^power (r_max - r_min)) ranks act, for each picture of a batch by its own level: much
noise overfits soonest.  The mask is there in training alone.  The paper's own code (ControlGenAI/T-LoRA) also draws with it; what other programs load is
an ordinary LoRA and is drawn whole, so samples, measuring and the proof of the result are drawn whole here too.  Its orthogonal start is left out.
"""

from __future__ import annotations

from ..formats.adapting import inject, off, parameters, restore, settings, tensors, times
from . import lora

__all__ = ["BLURB", "FILE", "KOHYA", "TITLE", "USES", "attach", "count", "heed", "off", "parameters", "restore", "settings", "tensors", "times"]

TITLE = "T-LoRA"
BLURB = "A LoRA that learns less from much noise: for one picture or a few, which it repeats less. The file is an ordinary LoRA."
# not the text encoder, whose words belong to no noise level
USES = tuple(name for name in lora.USES if name not in ("text_encoder", "text_learning_rate")) + ("least_rank", "rank_power")
KOHYA = "always"
FILE = "lora"  # what its file is to every program that reads it


class _Levels:
    """The noise level of each picture that is learnt now, [B] in [0, 1]; None: every rank acts."""

    now = None


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Adds a fresh adapter to `module`; gives the names of the wrapped layers.  Raises ValueError when no layer matches."""
    names = inject(module, lora.peft_config(module, config, targets), seed)
    levels = module.rank_levels = _Levels()
    for name in names:
        module.get_submodule(name).lora_A["default"].register_forward_hook(_masking(levels, config.least_rank, config.rank_power, name))
    return names


def _masking(levels: _Levels, least: int, power: float, name: str):
    def mask(layer, args, thin):
        if levels.now is None:
            return None
        if len(levels.now) > 1 and thin.shape[0] != len(levels.now):
            raise ValueError(
                f"the adapter 'tlora' cannot tell the pictures of a batch apart in {name}; set data.batch_size to 1, or leave that layer out with adapter.exclude"
            )
        return thin * rank_mask(levels.now, thin, -1 if layer.weight.ndim == 2 else 1, least, power)

    return mask


def rank_mask(t, thin, at: int, least: int, power: float):
    """1 for the ranks that act and 0 for the others, to be multiplied with `thin`.  t: [B] in [0, 1], 1 is pure noise; at: the dimension of `thin` that is the ranks."""
    from torch import arange

    ranks = thin.shape[at]
    acting = least + ((1 - t.double()).clamp(0, 1) ** power * max(0, ranks - least)).floor()
    shape = [1] * thin.ndim
    shape[0], shape[at] = len(t), ranks
    return (arange(ranks, device=thin.device) < acting.to(thin.device)[:, None]).to(thin.dtype).view(shape)


def heed(module, t) -> None:
    """From here on only the ranks of its noise level act for each picture, until it is told otherwise, so that recomputed blocks do as before.  t: [B] in [0, 1]; None: all."""
    module.rank_levels.now = t


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights that one layer's adapter has."""
    return lora.count(config, rank, inputs, outputs)
