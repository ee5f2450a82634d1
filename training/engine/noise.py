"""Noise schedules, targets and weights: pure functions with their source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiscreteSchedule:
    """A diffusion with T whole timesteps, as the checkpoint's own scheduler config gives it (Ho et al. 2020, eq. 4)."""

    alphas_cumprod: Tensor  # [T], float64: share of the signal's variance left at each timestep
    prediction_type: str  # "epsilon" or "v_prediction"

    @property
    def steps(self) -> int:
        return len(self.alphas_cumprod)

    def pick(self, generator: torch.Generator, shape: torch.Size) -> int:
        """A timestep, each equally likely.  shape: of the clean latents, [C,h,w]."""
        return int(torch.randint(0, self.steps, (1,), generator=generator))

    def at(self, quantile: float) -> int:
        """The timestep below which `quantile` (0..1) of them lie: fixed points for a validation loss."""
        return min(self.steps - 1, int(quantile * self.steps))

    def signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """t: [B] whole timesteps -> the factors of signal and noise, [B,1,...] shaped for `like`."""
        alpha = self.alphas_cumprod.to(t.device)[t].view(-1, *[1] * (like.ndim - 1))
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

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio at t, [B] float64."""
        alpha = self.alphas_cumprod.to(t.device)[t]
        return alpha / (1 - alpha)


@dataclass(frozen=True)
class FlowSchedule:
    """A straight path from picture to noise, t in [0, 1] (Liu et al. 2023, "Flow Straight and Fast", eq. 1)."""

    prediction_type: str = "flow"

    def pick(self, generator: torch.Generator, shape: torch.Size) -> float:
        """A time, each equally likely.  shape: of the clean latents, [C,h,w] or [C,f,h,w]."""
        return float(torch.rand(1, generator=generator))

    def at(self, quantile: float) -> float:
        """The time below which `quantile` (0..1) of them lie: fixed points for a validation loss."""
        return quantile

    def mix(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """clean, noise: [B,C,...]; t: [B].  The noisy latents at t."""
        t = t.view(-1, *[1] * (clean.ndim - 1)).to(clean.dtype)
        return (1 - t) * clean + t * noise

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the denoiser should say: the velocity of the path."""
        return noise - clean

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio at t, [B] float64."""
        t = t.double().clamp(min=1e-4)
        return ((1 - t) / t) ** 2


def read_schedule(config: dict, prediction: str = "scheduler") -> DiscreteSchedule | FlowSchedule:
    """The schedule of a family ("scheduler" or "flow", see FamilySpec) with this scheduler config.

    Raises ValueError for a prediction type that is not trained here.
    """
    if prediction == "flow":
        return FlowSchedule()
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(dict(config))
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"the base model's scheduler predicts {kind!r}; this family trains 'epsilon' and 'v_prediction'")
    return DiscreteSchedule(scheduler.alphas_cumprod.double(), kind)


def min_snr_weight(snr: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """Weight of each sample's squared error (Hang et al. 2023, eq. 8).  snr: [B] -> [B].

    For epsilon min(snr, gamma) / snr, for v the same over snr + 1, so that both weigh the clean picture alike.
    """
    clipped = snr.clamp(max=gamma)
    return clipped / (snr + 1) if prediction_type == "v_prediction" else clipped / snr.clamp(min=1e-8)
