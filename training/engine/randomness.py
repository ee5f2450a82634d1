"""Counter-based randomness: each draw is a function of (seed, where it is used), so nothing can disturb it.

Neither resuming, nor a sample picture, nor the number of loader workers changes a training step.
"""

from __future__ import annotations

import hashlib

import torch


def number(*parts: object) -> int:
    """A whole number in [0, 2**63) made from the parts."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def unit(*parts: object) -> float:
    """A number in [0, 1) made from the parts."""
    return number(*parts) / 2**63


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by the parts."""
    return torch.Generator().manual_seed(number(*parts))


def permutation(count: int, *parts: object) -> list[int]:
    """0..count-1 in an order made from the parts."""
    return torch.randperm(count, generator=generator(*parts)).tolist()
