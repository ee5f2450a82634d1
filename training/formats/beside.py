"""What the kinds of adapter share that hang beside the denoiser: a network of its own, every weight of which learns.

Such a kind's file has BESIDE (what it is shown), PASSES and these functions, in place of attach:

    build(beside, denoiser, stride, seed) -> network   fresh, fp32, for a loaded denoiser
    for_unet(network, noisy, t, cond, told)       the UNet's arguments with what the network adds to them
    weights(layers) -> count                      how many weights learn, for estimates
"""

from __future__ import annotations


def is_beside(adapter) -> bool:
    """Whether this kind hangs beside the denoiser, so that its result is a network of its own."""
    return bool(getattr(adapter, "BESIDE", ""))


def needs_control(adapter) -> bool:
    """Whether this kind learns from control pictures."""
    return getattr(adapter, "BESIDE", "") == "control"


def parameters(network) -> list:
    """The weights that learn, in a fixed order: all."""
    return list(network.parameters())


def tensors(network, prefix: str) -> dict:
    """{prefix.name: a copy} of every weight, fp32."""
    return {f"{prefix}.{name}": p.detach().cpu().contiguous().clone() for name, p in network.named_parameters()}


def restore(network, saved: dict, prefix: str) -> None:
    """Puts tensors() back.  Raises ValueError when a weight is missing, left over or of another size."""
    import torch

    state = {k.removeprefix(prefix + "."): v for k, v in saved.items() if k.startswith(prefix + ".")}
    mine = dict(network.named_parameters())
    odd = set(state) ^ set(mine) or {k for k in mine if mine[k].shape != state[k].shape}
    if odd:
        raise ValueError(f"the saved network does not fit this run: {min(odd)!r} is on one side only, or has another size; start a new run")
    with torch.no_grad():
        for name, tensor in state.items():
            mine[name].copy_(tensor)


def off(network):
    """Raises ValueError: nothing holds a base model that stays as it is."""
    raise ValueError("what hangs beside the denoiser leaves the base model as it is; switch keep.on off, and use no dataset that is kept as it is")


def settings(network, prefix: str) -> dict:
    """A network's own config.json says how it is built."""
    return {}


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights of one layer of the denoiser that learn: none."""
    return 0
