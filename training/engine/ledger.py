"""What each picture cost at which noise level, told in few events; and, now and then, what the bare base model would have paid for the very same.

Losses of single steps are noise: level, picture and grain are drawn anew each time.  Two things make them comparable.  The level goes with
each, so that pictures are held against others at that level; and one micro-batch of every PAIRED_EVERY-th step is asked of the base model
too, same picture, grain, level and caption, so that the two losses differ by nothing but the adapter.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ..family import Cond
from ..runs.context import Context
from .data import Batch

TOLD_EVERY = 50  # steps
MOST_A_STEP = 32  # pictures of one step that are told, so that large batches write no more than small ones
PAIRED_EVERY = 20  # steps: one pass forward is a third of a step at most, so this takes 1.7 percent at most
LEVELS = 100  # a noise level is told as a whole number of hundredths


class Ledger:
    """The losses since the last telling, which stay on the device until then."""

    def __init__(self, ctx: Context, levels: float):
        """levels: what stands for pure noise: the schedule's count of timesteps, 1 for flows."""
        self.ctx, self.levels = ctx, levels
        self._noted: list[tuple[list[str], list[Tensor]]] = []  # (pictures, their [level, loss] or [level, loss, the base's])

    def note(self, batch: Batch, losses: Tensor, paired: Tensor | None) -> None:
        """Losses of a micro-batch, [B], before any weight; paired: the base model's of those rows that learn(batch) names, where it was asked."""
        rows = learn(batch)[:MOST_A_STEP]
        if not rows:
            return
        at = torch.tensor(rows, device=losses.device)
        told = [batch.t[at].float() / self.levels, losses.detach()[at].float()]
        self._noted.append(([batch.ids[row] for row in rows], [*told, *([] if paired is None else [paired[: len(rows)].float()])]))

    def tell(self, step: int) -> None:
        """All that was noted is on record.  Of several processes all call it at the same step."""
        mine: dict[str, list[list[float]]] = {}
        for ids, columns in self._noted:
            for id, row in zip(ids, torch.stack(columns, dim=1).tolist(), strict=True):
                mine.setdefault(id, []).append([min(LEVELS, round(row[0] * LEVELS)), *(float(f"{loss:.4g}") for loss in row[1:])])
        self._noted.clear()
        seen: dict[str, list[list[float]]] = {}
        for part in self.ctx.ranks.gather(mine):
            for id, rows in part.items():
                seen.setdefault(id, []).extend(rows)
        if seen:
            self.ctx.emit("pictures", step=step, seen=seen)


def learn(batch: Batch) -> list[int]:
    """The rows of a micro-batch that learn their own picture: neither kept as it is, nor there to keep what the base model knows."""
    aside = {*batch.prior, *batch.keeps}
    return [row for row in range(len(batch.ids)) if row not in aside]


def only(batch: Batch, rows: list[int]) -> Batch:
    """The micro-batch of some of its rows, as pictures that are learnt."""
    at = torch.tensor(rows, device=batch.latents.device)

    def of(value: Any) -> Any:
        return value[at] if isinstance(value, Tensor) else value

    return dataclasses.replace(
        batch, latents=of(batch.latents), noise=of(batch.noise), t=of(batch.t), cond=Cond({name: of(tensor) for name, tensor in batch.cond.tensors.items()}),
        ids=[batch.ids[row] for row in rows], weights=of(batch.weights), captions=[batch.captions[row] for row in rows], mask=of(batch.mask), low=of(batch.low), cells=of(batch.cells),
        prior=[], keeps=[], base=None,
    )  # fmt: skip
