"""The whole denoiser: every weight of the base moves, and the result is a denoiser of its own instead of a file beside one."""

from __future__ import annotations

import re

from ..family import NAMED_BLOCKS
from ..formats.adapting import included, refuse_blocks

TITLE = "Whole model"
BLURB = "Trains every weight of the denoiser: the most room to learn, many times the memory, gigabytes of result."
USES = ("blocks", "include", "exclude", "start_from")
KOHYA = "never"
SPLITS = True  # its weights may be split among cards
WHOLE = True  # moves the base model's own weights; the result is a folder in diffusers' layout


def attach(module, config, targets: tuple[str, ...], seed: int) -> list[str]:
    """Lets the weights of `module` learn, in fp32; gives their names.  include and exclude choose among them.

    Raises ValueError when a pattern fits none, or none is left, or the weights are quantised.
    """
    named = dict(module.named_parameters())
    for field, patterns in (("include", config.include), ("exclude", config.exclude)):
        for pattern in patterns:
            if not pattern.startswith(NAMED_BLOCKS) and not any(re.search(pattern, name) for name in named):
                raise ValueError(f"adapter.{field} has {pattern!r}, but no weight's name holds that; one is called for example {next(iter(named))}")
    chosen = [name for name in named if included(config, name)]
    if not chosen:
        refuse_blocks(config, "at all")
        raise ValueError("adapter.include and adapter.exclude together leave no weight; take a pattern out")
    for name in chosen:
        if not named[name].is_floating_point():
            raise ValueError(f"{name} is quantised and cannot learn; choose another adapter than 'full', or a base model that is not quantised")
        named[name].data = named[name].data.float()
        named[name].requires_grad_(True)
    return chosen


def parameters(module) -> list:
    """The weights that learn, in a fixed order."""
    return [p for p in module.parameters() if p.requires_grad]


def tensors(module, prefix: str, keep: bool = True) -> dict:
    """{prefix.name: a copy} of every weight that learns, fp32.  Where they are split among processes, all call this together; keep: whether this one wants them."""
    from ..engine.shards import whole

    return {f"{prefix}.{name}": whole(p, keep) for name, p in module.named_parameters() if p.requires_grad}


def restore(module, saved: dict, prefix: str) -> None:
    """Puts tensors() back.  Raises ValueError when a weight is missing, left over or of another size."""
    import torch

    from ..engine.shards import part

    state = {k.removeprefix(prefix + "."): v for k, v in saved.items() if k.startswith(prefix + ".")}
    mine = {name: p for name, p in module.named_parameters() if p.requires_grad}
    odd = set(state) ^ set(mine) or {k for k in mine if mine[k].shape != state[k].shape}
    if odd:
        raise ValueError(f"the saved weights do not fit this run: {min(odd)!r} is on one side only, or has another size; start a new run")
    with torch.no_grad():
        for name, tensor in state.items():
            mine[name].copy_(part(tensor, mine[name]))


def off(module):
    """Raises ValueError: the base model is not there beside the one that learns."""
    raise ValueError("loss.prior_target is 'base', but the adapter 'full' changes the base model itself, so there is none to ask; set it to 'pictures'")


def settings(module, prefix: str) -> dict:
    """A whole denoiser needs no settings to be used."""
    return {}


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights of one layer that learn: all."""
    return inputs * outputs
