"""How often each noise level is trained: laws over t in [0, 1], 1 = pure noise, as quantile functions in plain math.

One definition for the engine, which draws from it, and for the page, which shows it: no torch here.  A law is its quantile
function Q: for u drawn evenly from [0, 1], Q(u) follows the law.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from .layers import local_folder

if TYPE_CHECKING:
    from ..config import LossPart, TrainConfig
    from ..family import FamilySpec

EDGE = 1e-12  # keeps a logarithm finite at the ends of a law


@dataclass(frozen=True)
class Shift:
    """A pull towards pure noise: t -> s t / (1 + (s - 1) t), Esser et al. 2024, eq. 23.  s = 1 leaves t as it is.

    Fixed: s = factor.  dynamic: s grows with the number of latent tokens, on a line through (base_tokens, base) and
    (max_tokens, max); s is e to that number, or the number itself where `linear`.
    """

    factor: float = 1.0
    dynamic: bool = False
    base: float = 0.5
    max: float = 1.15
    base_tokens: int = 256
    max_tokens: int = 4096
    linear: bool = False

    def at(self, tokens: int) -> float:
        """s for a picture of so many latent tokens."""
        if not self.dynamic:
            return self.factor
        mu = self.base + (self.max - self.base) * (tokens - self.base_tokens) / (self.max_tokens - self.base_tokens)
        return max(mu, 1e-3) if self.linear else math.exp(mu)


NO_SHIFT = Shift()


def read_shift(scheduler: Mapping[str, Any]) -> Shift:
    """The shift that a flow checkpoint's own scheduler config asks for.

    Both the names of diffusers' FlowMatchEulerDiscreteScheduler (shift, use_dynamic_shifting, base_shift, …) and of the
    multistep solvers (flow_shift) are read; absent numbers are the former's defaults.
    """
    if not scheduler.get("use_dynamic_shifting"):
        return Shift(float(scheduler.get("flow_shift", scheduler.get("shift", 1.0)) or 1.0))
    numbers = {"base": "base_shift", "max": "max_shift", "base_tokens": "base_image_seq_len", "max_tokens": "max_image_seq_len"}
    given = {ours: scheduler[theirs] for ours, theirs in numbers.items() if scheduler.get(theirs) is not None}
    return Shift(dynamic=True, linear=scheduler.get("time_shift_type") == "linear", **given)


@dataclass(frozen=True)
class TimeLaw:
    """Which t are trained how often.  quantile: of the law before shift and limits; patch: latent cells along a token's side."""

    quantile: Callable[[float], float]
    shift: Shift = NO_SHIFT
    low: float = 0.0
    high: float = 1.0
    patch: int = 1
    _ends: dict[int, tuple[float, float]] = field(default_factory=dict, compare=False, repr=False)

    def tokens(self, shape: tuple[int, ...]) -> int:
        """Latent tokens of clean latents [C,h,w] or [C,f,h,w]: what a dynamic shift counts."""
        return math.prod(shape[1:-2]) * (shape[-2] // self.patch) * (shape[-1] // self.patch)

    def at(self, u: float, tokens: int) -> float:
        """The t below which a share u (0..1) of all draws lies.  Limits cut the law off; they do not squeeze it."""
        first, last = self._between(tokens)
        return min(self.high, max(self.low, self._whole(first + (last - first) * u, tokens)))

    def density(self, bins: int, tokens: int) -> list[float]:
        """How often each of `bins` equal intervals of t is drawn, compared to a law that draws all alike: their mean is 1."""
        first, last = self._between(tokens)
        below = [min(last, max(first, self._share_below(n / bins, tokens))) for n in range(bins + 1)]
        return [(b - a) / (last - first) * bins if last > first else 0.0 for a, b in pairwise(below)]

    def within(self, low: float, high: float) -> TimeLaw:
        """The same law, of what lies between these levels alone."""
        return replace(self, low=max(self.low, low), high=min(self.high, high), _ends={})

    def share_above(self, t: float, tokens: int) -> float:
        """Share of the draws above t."""
        first, last = self._between(tokens)
        return min(1.0, max(0.0, (last - self._share_below(t, tokens)) / (last - first))) if last > first else float(self.low >= t)

    def _between(self, tokens: int) -> tuple[float, float]:
        """The part of the unlimited law, as shares, that lies within the limits.  An interval that is hardly ever drawn is 0 wide."""
        if (self.low, self.high) == (0.0, 1.0):
            return 0.0, 1.0
        if tokens not in self._ends:
            self._ends[tokens] = self._share_below(self.low, tokens), self._share_below(self.high, tokens)
        return self._ends[tokens]

    def _whole(self, u: float, tokens: int) -> float:
        t, s = self.quantile(u), self.shift.at(tokens)
        return s * t / (1 + (s - 1) * t)

    def _share_below(self, t: float, tokens: int) -> float:
        """The share of draws below t, without limits: every quantile function rises, so it is found by halving."""
        if t <= 0 or t >= 1:
            return float(t >= 1)
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self._whole(middle, tokens) < t else (low, middle)
        return low


def uniform(u: float) -> float:
    """Every t alike."""
    return u


def logit_normal(mean: float, std: float) -> Callable[[float], float]:
    """t = sigmoid(x), x normal: Esser et al. 2024, section 3.1.  A higher mean is noisier, as t = 1 is pure noise there and here."""
    normal = NormalDist(mean, std)
    return lambda u: 1 / (1 + math.exp(-normal.inv_cdf(min(1 - EDGE, max(EDGE, u)))))


def mode(scale: float) -> Callable[[float], float]:
    """Esser et al. 2024, eq. 20, written so that it rises: scale > 0 favours the middle, scale < 0 both ends; -1 to 2 / (pi - 2)."""
    return lambda u: u - scale * (math.sin(math.pi * u / 2) ** 2 - u)


def cosmap(u: float) -> float:
    """Esser et al. 2024, eq. 21: the noise levels of the cosine schedule."""
    return 1.0 if u >= 1 else 1 - 1 / (math.tan(math.pi * u / 2) + 1)


def content(u: float) -> float:
    """Favours much noise, where composition is decided: t = 1 - (1 - u)^3, the cubic law of Mou et al. 2023 (T2I-Adapter), section 3.4."""
    return 1 - (1 - u) ** 3


def style(u: float) -> float:
    """Favours little noise, where texture and line are decided: t = u^3, the mirror image of `content`."""
    return u**3


MAX_MODE_SCALE = 2 / (math.pi - 2)  # above it, eq. 20 no longer rises


def of_config(loss: LossPart, scheduler: Mapping[str, Any] | None, patch: int) -> TimeLaw:
    """The law of a run.  scheduler: a flow checkpoint's own scheduler config; None for families with whole timesteps."""
    # a fixed shift is the user's; 0 leaves it to the checkpoint
    shift = Shift(loss.timestep_shift) if loss.timestep_shift else read_shift(scheduler) if scheduler is not None else NO_SHIFT
    return _law(loss.timestep_law, loss.timestep_mean, loss.timestep_std, loss.timestep_scale, shift, loss.timestep_min, loss.timestep_max, patch)


@lru_cache(maxsize=64)
def _law(name: str, mean: float, std: float, scale: float, shift: Shift, low: float, high: float, patch: int) -> TimeLaw:
    quantiles = {
        "uniform": uniform, "logit_normal": logit_normal(mean, std), "sigmoid": logit_normal(0.0, 1.0), "mode": mode(scale),
        "cosmap": cosmap, "content": content, "style": style,
    }  # fmt: skip
    return TimeLaw(quantiles[name], shift, low, high, patch)


EVEN = TimeLaw(uniform)  # every level alike


def expected(config: TrainConfig, spec: FamilySpec) -> tuple[TimeLaw, int]:
    """(law, latent tokens of a square training picture) that a run of this config will have, before its base model is loaded.

    The shift comes from the base model's own scheduler config where that is on this disk and says it, else from the family's usual one.
    The picture is the largest of the run.
    """
    scheduler: Mapping[str, Any] = spec.shift
    try:
        folder = local_folder(config.model.source, config.model.revision)
        if folder is not None:
            scheduler = {**spec.shift, **json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        pass  # whether the base model can be used at all is said beside its own setting
    law = of_config(config.loss, scheduler if spec.prediction == "flow" else None, spec.latent.patch)
    cells = max(config.data.all_sides) // spec.latent.stride
    return law, law.tokens((spec.latent.channels, cells, cells))
