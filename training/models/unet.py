"""What diffusers' UNets share: how one is told what hangs beside it."""

from __future__ import annotations

from ..family import Cond, Modules


def heard(m: Modules, noisy, t, cond: Cond, told: dict) -> dict:
    """`told`, the keyword arguments of a UNet's forward, with what the network beside it adds to them."""
    return told if m.side is None else m.side.adapter.for_unet(m.side.network, noisy, t, cond, told)
