"""Several optimizers, each for some of the weights, as one."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Together(torch.optim.Optimizer):
    """Steps them all.  Groups and state are the parts' own, so a schedule or a checkpoint that reads or writes them here does so there."""

    def __init__(self, parts: list[torch.optim.Optimizer]):
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        for part in parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        for part in self.parts:
            part.step()
