"""What is changed by words, as losses; and the switch by which an objective sets how much the adapter acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn

from ..config import LossPart
from ..data.concepts import Lesson
from ..family import Cond
from .losses import Schedule, picture_loss


@dataclass(frozen=True)
class Asked:
    """The lessons of a micro-batch.  conds: what the base model is asked, one for each sentence; signs, said: of each aim; shares: [aims, sentences, B]; weights: [aims, B]."""

    conds: list[Cond]
    signs: list[int]
    said: list[int]
    shares: Tensor
    weights: Tensor

    @classmethod
    def of(cls, lessons: list[Lesson], conds: list[Cond], device: str) -> Asked:
        """Of one lesson a picture, all of one objective and so of one shape."""
        aims = list(zip(*(lesson.aims for lesson in lessons), strict=True))  # [aim][row]
        shares = torch.tensor([[aim.shares for aim in rows] for rows in aims]).transpose(1, 2)
        weights = torch.tensor([[aim.weight for aim in rows] for rows in aims])
        return cls(conds, [rows[0].sign for rows in aims], [rows[0].said for rows in aims], shares.to(device), weights.to(device))


class Switch:
    """How much the adapter acts on the modules that learn."""

    def __init__(self, adapter: ModuleType, modules: dict[str, nn.Module]):
        self.adapter, self.modules = adapter, modules

    @contextmanager
    def base(self) -> Iterator[None]:
        """Inside: the base model, and no gradient."""
        with torch.no_grad(), ExitStack() as stack:
            for module in self.modules.values():
                stack.enter_context(self.adapter.off(module))
            yield

    @contextmanager
    def levels(self) -> Iterator[Callable[[Tensor], None]]:
        """What is given is told the noise level of each picture that is learnt next, [B] in [0, 1]: some kinds of adapter act otherwise at each.  Outside: the whole adapter.

        Blocks that are recomputed act as at the last level, so what was computed has to go backward before the next is told.
        """
        heed = getattr(self.adapter, "heed", None)

        def tell(t: Tensor | None) -> None:
            for module in self.modules.values() if heed else ():
                heed(module, t)

        try:
            yield tell
        finally:
            tell(None)

    @contextmanager
    def times(self, strength: float) -> Iterator[None]:
        """Inside: the adapter's effect times `strength`.  What was computed inside must go backward inside: recomputed blocks act as they do at that moment."""
        with ExitStack() as stack:
            for module in self.modules.values() if strength != 1 else ():
                stack.enter_context(self.adapter.times(module, strength))
            yield


def parts(family: ModuleType, m, batch, schedule: Schedule, config: LossPart, switch: Switch) -> Iterator[Tensor]:
    """The losses of a batch that has lessons, [B] fp32 each, lazily: whoever asks goes backward through one before asking for the next."""
    asked: Asked = batch.asked
    noisy = schedule.mix(batch.latents, batch.noise, batch.t).to(m.dtype)
    with switch.base():
        answers = torch.stack([family.predict(m, noisy, batch.t, cond).float() for cond in asked.conds])  # [sentences, B, ...]
    for sign, said, shares, weight in zip(asked.signs, asked.said, asked.shares, asked.weights, strict=True):
        target = (answers * shares.view(*shares.shape, *[1] * (answers.ndim - 2))).sum(dim=0)
        with switch.times(sign):
            yield weight * picture_loss(family.predict(m, noisy, batch.t, asked.conds[said]), target, batch, schedule, config)
