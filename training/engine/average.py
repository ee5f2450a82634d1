"""The average of the weights that a run keeps while it learns (`loss.ema_decay`), and a context in which it is in force."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..config import TrainConfig
from ..plan import optimizing


def of(config: TrainConfig, weights: list[Tensor], plugins: Path | None = None):
    """The average, which begins with the weights as they are; None where there is none, or the optimizer keeps it."""
    if not config.loss.ema_decay or by_optimizer(config, plugins):
        return None
    from diffusers.training_utils import EMAModel

    return EMAModel(weights, decay=config.loss.ema_decay, foreach=True)


def by_optimizer(config: TrainConfig, plugins: Path | None = None) -> bool:
    """Whether the optimizer keeps an average itself; see optim.averaged."""
    return optimizing.averages(optimizing.of(config.optimizer, plugins))


class InForce:
    """Inside: averaged weights where there is an average, dropout off.  Outside: all as before, to the bit."""

    def __init__(self, ema, weights: list[Tensor], modules: list):
        self.ema, self.weights, self.modules = ema, weights, modules

    def __enter__(self):
        self.training = [module.training for module in self.modules]
        for module in self.modules:
            module.eval()
        if self.ema:
            self.ema.store(self.weights)
            self.ema.copy_to(self.weights)

    def __exit__(self, *error):
        if self.ema:
            self.ema.restore(self.weights)
        for module, training in zip(self.modules, self.training, strict=True):
            module.train(training)
