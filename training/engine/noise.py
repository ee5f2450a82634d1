"""Noise schedules, what is drawn from them, and targets: pure functions with their source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..config import LossPart
from ..plan.timelaw import EVEN, TimeLaw

WITHOUT_FLOAT64 = ("mps", "xpu")  # Intel's first Arc cards have none in hardware


@dataclass(frozen=True)
class DiscreteSchedule:
    """A diffusion with T whole timesteps, as the checkpoint's own scheduler config gives it (Ho et al. 2020, eq. 4)."""

    alphas_cumprod: Tensor  # [T], float64: share of the signal's variance left at each timestep
    prediction_type: str  # "epsilon" or "v_prediction"
    law: TimeLaw = EVEN  # of t in [0, 1], cut into T equal intervals

    @property
    def steps(self) -> int:
        return len(self.alphas_cumprod)

    def pick(self, generator: torch.Generator, shape: torch.Size) -> int:
        """A timestep, as often as the law says.  shape: of the clean latents, [C,h,w]."""
        return self._whole(_drawn(self.law, generator, shape))

    def at(self, quantile: float) -> int:
        """The timestep at a share (0..1) of the way through those that are trained: fixed points for a validation loss.

        Evenly spread, whatever the law: so runs with different laws can be compared.
        """
        return self._whole(self.law.low + quantile * (self.law.high - self.law.low))

    def _whole(self, t: float) -> int:
        return min(self.steps - 1, int(t * self.steps))

    def signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """t: [B] whole timesteps -> the factors of signal and noise, [B,1,...] shaped for `like`."""
        alpha = self._alphas(t.device)[t].view(-1, *[1] * (like.ndim - 1))
        return alpha.sqrt().to(like.dtype), (1 - alpha).sqrt().to(like.dtype)

    def mix(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """clean, noise: [B,C,h,w]; t: [B].  The noisy latents at t."""
        signal, grain = self.signal_and_noise(t, clean)
        return signal * clean + grain * noise

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the denoiser should say: the noise, or v = signal * noise - grain * clean (Salimans and Ho 2022)."""
        if self.prediction_type == "epsilon":
            return noise
        signal, grain = self.signal_and_noise(t, clean)
        return signal * noise - grain * clean

    def clean(self, noisy: Tensor, said: Tensor, t: Tensor) -> Tensor:
        """The clean latents that `noisy` is made of at t, if `said` is what target() says."""
        signal, grain = self.signal_and_noise(t, noisy)
        return (noisy - grain * said) / signal if self.prediction_type == "epsilon" else signal * noisy - grain * said

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio at t, [B], exact()."""
        alpha = self._alphas(t.device)[t]
        return alpha / (1 - alpha)

    def _alphas(self, device: torch.device) -> Tensor:
        if device not in self._copies:
            self._copies[device] = self.alphas_cumprod.to(exact(device)).to(device)
        return self._copies[device]

    @cached_property
    def _copies(self) -> dict[torch.device, Tensor]:
        return {}  # one a device: a copy at every step would make the device wait


@dataclass(frozen=True)
class FlowSchedule:
    """A straight path from picture to noise, t in [0, 1] (Liu et al. 2023, "Flow Straight and Fast", eq. 1)."""

    prediction_type: str = "flow"
    law: TimeLaw = EVEN

    def pick(self, generator: torch.Generator, shape: torch.Size) -> float:
        """A time, as often as the law says.  shape: of the clean latents, [C,h,w] or [C,f,h,w]."""
        return _drawn(self.law, generator, shape)

    def at(self, quantile: float) -> float:
        """The time at a share (0..1) of the way through those that are trained: fixed points for a validation loss.

        Evenly spread, whatever the law: so runs with different laws can be compared.
        """
        return self.law.low + quantile * (self.law.high - self.law.low)

    def mix(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """clean, noise: [B,C,...]; t: [B].  The noisy latents at t."""
        t = t.view(-1, *[1] * (clean.ndim - 1)).to(clean.dtype)
        return (1 - t) * clean + t * noise

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the denoiser should say: the velocity of the path."""
        return noise - clean

    def clean(self, noisy: Tensor, said: Tensor, t: Tensor) -> Tensor:
        """The clean latents that `noisy` is made of at t, if `said` is what target() says."""
        return noisy - t.view(-1, *[1] * (noisy.ndim - 1)).to(noisy.dtype) * said

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio at t, [B], exact()."""
        t = t.to(exact(t.device)).clamp(min=1e-4)
        return ((1 - t) / t) ** 2


def exact(device: torch.device) -> torch.dtype:
    """float64, or what comes closest on a device that has none."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def _drawn(law: TimeLaw, generator: torch.Generator, shape: torch.Size) -> float:
    return law.at(float(torch.rand(1, generator=generator, dtype=torch.float64)), law.tokens(tuple(shape)))


def read_schedule(config: dict, prediction: str = "scheduler", law: TimeLaw = EVEN) -> DiscreteSchedule | FlowSchedule:
    """The schedule of a family ("scheduler" or "flow", see FamilySpec) with this scheduler config, drawn from by `law`.

    Raises ValueError for a prediction type that is not trained here.
    """
    if prediction == "flow":
        return FlowSchedule(law=law)
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(dict(config))
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"the base model's scheduler predicts {kind!r}; this family trains 'epsilon' and 'v_prediction'")
    return DiscreteSchedule(scheduler.alphas_cumprod.double(), kind, law)


PYRAMID_LEVELS = 6  # of halving; coarser ones would shift whole pictures, which is what an offset is for


def draw_noise(shape: torch.Size, generator: torch.Generator, loss: LossPart) -> Tensor:
    """The training noise of one picture or video, shape [C,h,w] or [C,f,h,w].

    noise_pyramid p: plus p^k times noise at 1 / 2^k of the size, brought back to unit variance (Whitaker 2023, "Multi-Resolution
    Noise for Diffusion Model Training").  noise_offset o: plus o times one number a channel (Guttenberg 2023, "Diffusion With Offset Noise").
    """
    noise = torch.randn(shape, generator=generator)
    if loss.noise_pyramid:
        planes = noise.reshape(1, -1, *shape[-2:])  # frames are blurred one by one, as their pixels are
        for level in range(1, PYRAMID_LEVELS + 1):
            sides = [max(1, side >> level) for side in shape[-2:]]
            coarse = torch.randn(1, planes.shape[1], *sides, generator=generator)
            planes = planes + loss.noise_pyramid**level * torch.nn.functional.interpolate(coarse, shape[-2:], mode="bilinear")
            if sides == [1, 1]:
                break
        noise = (planes / planes.std()).reshape(shape)
    if loss.noise_offset:
        noise = noise + loss.noise_offset * torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator)
    return noise
