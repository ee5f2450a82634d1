"""Whether a training is as fast as it should be, looked at now and then while it learns; what slows it down is said once."""

from __future__ import annotations

from statistics import median

import torch

from ..config import TrainConfig
from ..plan import pace
from ..plan.devices import CARDS
from ..runs.context import Context
from ..runs.slow import Gauges, Measured, reasons
from .cache import Cache

LOOK_S = 30.0  # of training between two looks
FEWEST_STEPS = 3


class Watch:
    """Of one attempt.  cache: what the steps read from."""

    def __init__(self, config: TrainConfig, ctx: Context, cache: Cache, per_step: int):
        self.config, self.ctx, self.cache, self.per_step = config, ctx, cache, per_step
        self._said: set[str] = set()
        self._gauges: Gauges | None = None
        self._expected_s = 0.0
        self._own: list[float] = []  # seconds a step at each look
        self._passed_s, self._pictures, self._read_s = 0.0, 0, 0.0

    def learnt(self, passed_s: float, pictures: int) -> None:
        """That many pictures were learnt in that time, samples and checkpoints not counted."""
        if self._gauges is None:  # the first moments are slow by themselves
            self._begin()
            return
        self._passed_s += passed_s
        self._pictures += pictures
        if self._passed_s >= LOOK_S and self._pictures >= FEWEST_STEPS * self.per_step:
            self.say(self.measured())

    def measured(self) -> Measured:
        """Since the last look."""
        step_s = self._passed_s * self.per_step / self._pictures
        read_s = self.cache.read_s - self._read_s
        by_itself = not self._expected_s and len(self._own) >= 2
        expected_s = self._expected_s or (median(sorted(self._own)[: max(2, len(self._own) // 2)]) if by_itself else 0.0)
        self._own.append(step_s)
        gauges = self._gauges.look() if self._gauges else {}
        if self.ctx.ranks.world > 1:
            gauges["others"] = 0.0  # they are this run's own
        found = Measured(
            step_s, expected_s, by_itself, waiting=min(1.0, read_s / self._passed_s), on_processor=self.config.device not in CARDS,
            **gauges, **_card(self.config.device),
        )  # fmt: skip
        self._passed_s, self._pictures, self._read_s = 0.0, 0, self.cache.read_s
        return found

    def say(self, measured: Measured) -> None:
        """Each kind once."""
        for kind, text in reasons(measured).items():
            if kind not in self._said:
                self._said.add(kind)
                self.ctx.warn(text)

    def _begin(self) -> None:
        uuid = str(getattr(torch.cuda.get_device_properties(0), "uuid", "")) if self.config.device == "cuda" and not torch.version.hip else ""
        self._gauges, self._read_s = Gauges(f"GPU-{uuid}" if uuid else ""), self.cache.read_s
        before = pace.measured(self.config, self.ctx.home.outputs, self.ctx.run.card())
        self._expected_s = before.seconds_per_picture * self.per_step if before else 0.0


def _card(device: str) -> dict[str, int]:
    if device not in CARDS:
        return {}
    backend = getattr(torch, device)
    free, total = backend.mem_get_info()
    return {"vram_used": total - free, "vram_total": total, "vram_held": backend.memory_reserved()}
