"""What an error costs: its size, where a mask hides it, and how much its noise level counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..config import LossPart
from .noise import DiscreteSchedule, FlowSchedule

Schedule = DiscreteSchedule | FlowSchedule
FLOW_WEIGHTS = ("sigma_sqrt", "cosmap")  # said in terms of a flow's t
LEAST_SNR = 1e-8  # of a noise that ends in pure noise (zero terminal SNR); nothing divides by less
LEAST_SNR_DEBIASED = 4.6e-3  # where the usual noise of Stable Diffusion ends: 1 / sqrt(snr) grows without end beyond it
MOST_DIFFERING = 8.0  # times the mean: a spot that differs a lot is not all that is learnt
LEAST_T = 1e-3  # 1 / t^2 grows without end


def picture_loss(said: Tensor, target: Tensor, batch, schedule: Schedule, config: LossPart, cells: Tensor | None = None) -> Tensor:
    """Loss of each picture, [B] fp32.  said, target: what the denoiser predicts and should, [B,C,...]; batch: engine.data.Batch.

    cells: how much each cell counts beside the mask, [B,1,...], None for all alike.
    """
    errors = error_cost(said.float() - target.float(), schedule, batch.t, config)
    mask = None if batch.mask is None else config.unmasked_weight + (1 - config.unmasked_weight) * batch.mask
    mask = cells if mask is None else mask if cells is None else mask * cells
    return weighted_mean(errors, mask) * level_weight(schedule, batch.t, config).to(errors.dtype)


def error_cost(error: Tensor, schedule: Schedule, t: Tensor, config: LossPart) -> Tensor:
    """error [B,C,...] -> the same shape: its square, or 2 d (sqrt(error^2 + d^2) - d), which is its square where it is small.

    The latter is the pseudo-Huber loss; its schedule by SNR is Khrapov et al. 2024 ("Scheduled Pseudo-Huber Loss"), as in sd-scripts:
    d = delta + (1 - delta) / (1 + noise / signal)^2.
    """
    if config.type == "mse":
        return error.pow(2)
    delta = config.huber_delta
    if config.huber_schedule == "snr":
        share = 1 / (1 + schedule.snr(t).clamp(min=LEAST_SNR).rsqrt()) ** 2
        delta = (delta + (1 - delta) * share).to(error.dtype).view(-1, *[1] * (error.ndim - 1))
    return 2 * delta * ((error.pow(2) + delta**2).sqrt() - delta)


def weighted_mean(errors: Tensor, weight: Tensor | None) -> Tensor:
    """errors [B,C,...] -> [B].  weight: [B,1,...] of each cell, 0..1, None for all alike.

    A mean, not a sum: a picture counts as much as any other, however little of it its mask shows; one that shows nothing counts 0.
    """
    cells = tuple(range(1, errors.ndim))
    if weight is None:
        return errors.mean(dim=cells)
    weight = weight.expand_as(errors)
    return (errors * weight).sum(dim=cells) / weight.sum(dim=cells).clamp(min=1e-6)


def differing(high: Tensor, low: Tensor, focus: float) -> Tensor:
    """How much each cell of a pair counts, [B,1,...] with mean 1; high, low: latents of its ends, [B,C,...]; focus: ConceptPart's.

    (1 - focus) + focus min(d / mean of d, 8), where d is the mean over channels of |high - low|; 1 everywhere where the two are the same.
    """
    d = (high.float() - low.float()).abs().mean(dim=1, keepdim=True)
    cells = tuple(range(1, d.ndim))
    mean = d.mean(dim=cells, keepdim=True)
    share = torch.where(mean > 0, d / mean.clamp(min=1e-12), 1.0).clamp(max=MOST_DIFFERING)
    weight = (1 - focus) + focus * share
    return weight / weight.mean(dim=cells, keepdim=True)


def level_weight(schedule: Schedule, t: Tensor, config: LossPart) -> Tensor:
    """How much the noise level of each sample counts, [B]; 1 where nothing was set."""
    if config.min_snr_gamma:
        return min_snr_weight(schedule.snr(t), config.min_snr_gamma, schedule.prediction_type)
    if config.weighting == "debiased":
        return debiased_weight(schedule.snr(t), schedule.prediction_type)
    if config.weighting in FLOW_WEIGHTS and schedule.prediction_type == "flow":
        return sigma_sqrt_weight(t) if config.weighting == "sigma_sqrt" else cosmap_weight(t)
    return torch.ones(t.shape, device=t.device)


def to_clean(snr: Tensor, prediction_type: str) -> Tensor:
    """Squared error of the clean picture over squared error of the prediction that implies it, [B]; snr: [B].

    noisy = signal * clean + grain * noise.  epsilon: grain^2 / signal^2.  v, where signal^2 + grain^2 = 1: grain^2.
    flow: clean = noisy - t * velocity, so t^2, with t = 1 / (1 + sqrt(snr)).
    """
    if prediction_type == "flow":
        return 1 / (1 + snr.sqrt()) ** 2
    return 1 / (snr + 1) if prediction_type == "v_prediction" else 1 / snr.clamp(min=LEAST_SNR)


def min_snr_weight(snr: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """Min-SNR (Hang et al. 2023, eq. 8): the clean picture's error counts min(snr, gamma), whatever is predicted.  snr: [B] -> [B].

    For epsilon that is min(snr, gamma) / snr, for v the same over snr + 1, for flow min(snr, gamma) t^2.
    """
    return snr.clamp(min=LEAST_SNR, max=gamma) * to_clean(snr, prediction_type)


def debiased_weight(snr: Tensor, prediction_type: str) -> Tensor:
    """Debiased estimation (Yu et al. 2023): the clean picture's error counts sqrt(snr), for epsilon 1 / sqrt(snr), at most 15.  snr: [B] -> [B]."""
    if prediction_type == "epsilon":
        return snr.clamp(min=LEAST_SNR_DEBIASED).rsqrt()
    return snr.sqrt() * to_clean(snr, prediction_type)


def sigma_sqrt_weight(t: Tensor) -> Tensor:
    """1 / t^2, [B] fp32 (diffusers calls it sigma_sqrt); t: [B] in [0,1], at least a thousandth."""
    return t.float().clamp(min=LEAST_T) ** -2


def cosmap_weight(t: Tensor) -> Tensor:
    """2 / (pi (1 - 2t + 2t^2)), [B] fp32: Esser et al. 2024, eq. 21, as a weight."""
    t = t.float()
    return 2 / (math.pi * (1 - 2 * t + 2 * t**2))


def warnings_for(config: LossPart, prediction: str) -> list[str]:
    """A sentence for each setting that has no effect beside the others.  prediction: FamilySpec's."""
    law, cost = f"loss.timestep_law is {config.timestep_law!r}", f"loss.type is {config.type!r}"
    needs = {  # what acts only beside another setting -> (whether that is so, why not)
        "timestep_mean": (config.timestep_law == "logit_normal", f"{law}, not 'logit_normal'"),
        "timestep_std": (config.timestep_law == "logit_normal", f"{law}, not 'logit_normal'"),
        "timestep_scale": (config.timestep_law == "mode", f"{law}, not 'mode'"),
        "huber_delta": (config.type == "huber", f"{cost}, not 'huber'"),
        "huber_schedule": (config.type == "huber", f"{cost}, not 'huber'"),
        "weighting": (config.weighting not in FLOW_WEIGHTS or prediction == "flow", f"{config.weighting!r} is for flow models, and this base model is none"),
        "unmasked_weight": (config.masked, "loss.masked is off"),
    }
    usual = LossPart()
    said = [f"loss.{name} has no effect: {why}" for name, (acts, why) in needs.items() if not acts and getattr(config, name) != getattr(usual, name)]
    if config.type == "huber" and config.huber_schedule == "snr" and config.huber_delta == 1:
        said.append("loss.huber_schedule has no effect: loss.huber_delta is 1, which is what the schedule starts from")
    if config.masked and config.unmasked_weight == 1:
        said.append("loss.masked has no effect: loss.unmasked_weight is 1, so what a mask hides counts like the rest")
    return said
