"""The next step's batches, made in a thread while the present step is computed; the same batches in the same order.

Nothing in a batch depends on when it is made: every draw is a function of the step and the place in it.  Torch's own generator, from which
dropout draws, is seeded by the loop's thread alone.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch


class Ahead:
    """make(step) -> batches in RAM, asked for one step ahead.  last: the step after which there is none."""

    def __init__(self, make: Callable[[int], list], last: int):
        self.make, self.last = make, last
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="easel-ahead")
        self._next: tuple[int, Future] | None = None

    def at(self, step: int) -> list:
        """The batches of `step`.  Raises whatever making them raised."""
        ready, self._next = self._next, None
        made = ready[1].result() if ready and ready[0] == step else self.make(step)
        if step + 1 < self.last:
            self._next = step + 1, self._pool.submit(self.make, step + 1)
        return made

    def drop(self) -> None:
        """What was made ahead is not used: something that it was made of has changed."""
        self._next = None

    def close(self) -> None:
        """The thread ends; what it was making is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def moved(value: Any, device: str) -> Any:
    """A batch with all its tensors on a device, wherever in it they stand; from pinned memory without waiting."""
    return _each(value, lambda tensor: tensor.to(device, non_blocking=True))


def pinned(value: Any) -> Any:
    """The same in memory that a card copies from by itself."""
    return _each(value, torch.Tensor.pin_memory)


def _each(value: Any, act: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return act(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _each(getattr(value, field.name), act) for field in fields(value)})
    if isinstance(value, dict):
        return {key: _each(inner, act) for key, inner in value.items()}
    return [_each(inner, act) for inner in value] if isinstance(value, list) else value
