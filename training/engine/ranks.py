"""Several processes that train one run together, over torch.distributed: the same as runs/ranks.py says of one alone.

Every process holds the whole model, its own optimizer and its own averages.  What a step asks of the base model is shared out by
micro-batches, the gradients are summed once, and from then on all do the same: so any number of processes makes the same run.
What is small or may take long (decisions, pictures, waiting) goes over gloo, which waits without a limit; gradients go over what the device has.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..runs.ranks import Alone, Lost

PATIENCE = datetime.timedelta(days=365)  # who dies is seen by whoever started all; who is busy is waited for
BACKENDS = {"cuda": "nccl", "xpu": "xccl"}  # AMD's cards too are "cuda" to torch, and their library goes by NVIDIA's name
PIECE = 32 << 20  # plan.estimate.SUMMED_AT_ONCE; gradients are summed this many at a time, so that no second copy of a large model's lies in memory


class Ranks(Alone):
    """This process among the others of its run."""

    launched = True

    def __init__(self):
        """Takes part, by the variables that the launcher has set; returns when all are here."""
        with _lost():
            dist.init_process_group("gloo", timeout=PATIENCE)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self._gradients: dist.ProcessGroup | None = None  # gloo's own where None

    def on(self, device: str) -> None:
        if device in BACKENDS:
            getattr(torch, device).set_device(int(os.environ["LOCAL_RANK"]))
            with _lost():
                self._gradients = dist.new_group(backend=BACKENDS[device], timeout=PATIENCE)

    def same(self, value: Any) -> Any:
        told = [value]
        with _lost():
            dist.broadcast_object_list(told, src=0)
        return told[0]

    def same_flag(self, flag: bool) -> bool:
        told = torch.tensor([flag], dtype=torch.uint8)
        with _lost():
            dist.broadcast(told, src=0)
        return bool(told.item())

    def gather(self, value: Any) -> list[Any]:
        told: list[Any] | None = [None] * self.world if self.first else None
        with _lost():
            dist.gather_object(value, told, dst=0)
        return told or []

    def total(self, numbers: Sequence[float]) -> list[float]:
        sums = torch.tensor(numbers, dtype=torch.float64)
        with _lost():
            dist.all_reduce(sums)
        return sums.tolist()

    def wait(self) -> None:
        with _lost():
            dist.barrier()

    @torch.no_grad()
    def add(self, weights: Sequence[Tensor], numbers: Sequence[Tensor]) -> list[Tensor]:
        # a weight that nobody used has no gradient alone either: a zero would let weight decay move it
        used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.uint8)
        with _lost():
            dist.all_reduce(used, op=dist.ReduceOp.MAX)
        learning = [weight for weight, one in zip(weights, used.tolist(), strict=True) if one]
        sums = torch.stack([number.detach().float() for number in numbers])
        for piece in _pieces(learning):
            flat = torch.cat([(weight.new_zeros(weight.numel()) if weight.grad is None else weight.grad.reshape(-1)).float() for weight in piece])
            self._sum(flat)
            for weight, total in zip(piece, flat.split([weight.numel() for weight in piece]), strict=True):
                weight.grad = total.view_as(weight).to(weight.dtype, copy=True)
        self._sum(sums)
        return list(sums.unbind())

    def _sum(self, flat: Tensor) -> None:
        with _lost():
            dist.all_reduce(flat, group=self._gradients)

    def mesh(self, device: str) -> Any:
        """All processes as torch's FSDP2 takes them, over what gradients go over."""
        from torch.distributed.device_mesh import DeviceMesh

        return DeviceMesh.from_group(self._gradients or dist.group.WORLD, device)

    def least(self, numbers: Sequence[int]) -> list[int]:
        """The smallest of each over all processes, in every one.  Raises Lost."""
        found = torch.tensor(numbers, dtype=torch.int64)
        with _lost():
            dist.all_reduce(found, op=dist.ReduceOp.MIN)
        return found.tolist()

    def told_by(self, rank: int, value: Any) -> Any:
        """What that one has, in every process.  Raises Lost."""
        told = [value]
        with _lost():
            dist.broadcast_object_list(told, src=rank)
        return told[0]

    @torch.no_grad()
    def level(self, weights: Sequence[Tensor]) -> bool:
        mark = sum(int(weight.detach().float().contiguous().view(torch.int32).sum(dtype=torch.int64)) for weight in weights) % 2**62
        marks = torch.zeros(self.world, dtype=torch.int64)
        marks[self.rank] = mark
        with _lost():
            dist.all_reduce(marks)
            if alike := bool((marks == marks[0]).all()):
                return alike
            for weight in weights:
                dist.broadcast(weight.data, src=0, group=self._gradients)
        return False


def _pieces(weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Weights in their order, as many at a time as make a piece."""
    piece: list[Tensor] = []
    held = 0
    for weight in weights:
        piece.append(weight)
        held += weight.numel()
        if held >= PIECE:
            yield piece
            piece, held = [], 0
    if piece:
        yield piece


@contextmanager
def _lost() -> Iterator[None]:
    """What torch raises where another process is gone is no trouble of this one's; a card's memory is."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # torch.distributed's own errors are of this class
        raise Lost(str(error)) from error
