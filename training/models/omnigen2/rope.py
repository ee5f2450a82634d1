"""Rotary positions in three axes (section 2.3 of the paper): which sequence, row, column."""

from __future__ import annotations

import torch
from torch import Tensor

THETA = 10_000.0


def text_positions(batch: int, length: int, device) -> Tensor:
    """[B,L,3] for L text tokens: all three axes count along the text."""
    return torch.arange(length, device=device)[None, :, None].expand(batch, -1, 3)


def grid_positions(start: Tensor, rows: int, columns: int) -> Tensor:
    """[B, rows*columns, 3] for the patches of pictures of one size; start: [B], the sequence axis of each."""
    device = start.device
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    cells = torch.stack([torch.zeros_like(row), row, column], dim=-1).flatten(0, 1)
    shift = torch.stack([start, torch.zeros_like(start), torch.zeros_like(start)], dim=-1)
    return cells[None] + shift[:, None]


def rotation(positions: Tensor, widths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each [B,L,sum(widths)/2] fp32, of positions [B,L,3]; widths: channels of a head that each axis turns."""
    exact = torch.float32 if positions.device.type in ("mps", "xpu") else torch.float64
    angles = []
    for axis, width in enumerate(widths):
        speeds = THETA ** -(torch.arange(0, width, 2, device=positions.device, dtype=exact) / width)
        angles.append(positions[..., axis, None].to(exact) * speeds)
    whole = torch.cat(angles, dim=-1)
    return whole.cos().float(), whole.sin().float()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """x: [B,L,heads,D] with neighbouring channels as pairs, each pair turned by its angle; the same shape and dtype."""
    cosine, sine = (part[:, :, None] for part in turn)
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cosine - b * sine, a * sine + b * cosine], dim=-1).flatten(-2).to(x.dtype)
