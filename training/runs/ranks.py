"""The processes that train one run together, as the run sees them: here one alone.  engine/ranks.py is the same for several.

Whoever is first owns the run's folder: events, checkpoints, samples, and what is asked of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Lost(Exception):
    """Another process of this run is gone.  Which one, and why, says whoever started them all."""


class Alone:
    """A run in one process: everything is its own share, and nobody is waited for."""

    rank, world = 0, 1
    launched = False  # whether a launcher started this process as one of several

    @property
    def first(self) -> bool:
        """Whether this process owns the run's folder."""
        return self.rank == 0

    def share(self, things: Sequence[Any]) -> list[Any]:
        """Those of the things that are this process's: every world-th, from its own number on."""
        return list(things[self.rank :: self.world])

    def same(self, value: Any) -> Any:
        """What the first one has, in every process; a value as JSON has it, or bytes.  Raises Lost."""
        return value

    def same_flag(self, flag: bool) -> bool:
        """same() of a truth value, which is asked at every step."""
        return flag

    def gather(self, value: Any) -> list[Any]:
        """In the first one what all have, in their order; [] in the others.  Raises Lost."""
        return [value]

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all processes, in every one.  Raises Lost."""
        return list(numbers)

    def wait(self) -> None:
        """Returns when all are here, however long that takes.  Raises Lost."""

    def on(self, device: str) -> None:
        """The device that gradients will lie on."""

    def add(self, weights: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
        """The gradients of the weights are the sums over all processes; the same sums of the numbers (scalars on the device) come back.  Raises Lost."""
        return list(numbers)

    def level(self, weights: Sequence[Any]) -> bool:
        """Whether all had the same weights, to the bit; where not, they now have the first one's.  Raises Lost."""
        return True

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Inside is the first one, then all others: what it downloads or makes, they find.  Raises Lost."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


ALONE = Alone()
