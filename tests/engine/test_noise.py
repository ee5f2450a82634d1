"""Schedules, targets and weights against diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.training_utils import compute_snr

from training.engine import noise
from training.engine.losses import min_snr_weight
from training.engine.noise import read_schedule

CONFIG = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_mixing_and_target_are_those_of_the_checkpoints_own_scheduler(kind, zero_snr):
    config = DDIMScheduler(**CONFIG, prediction_type=kind, rescale_betas_zero_snr=zero_snr).config
    ours, theirs = read_schedule(config), DDPMScheduler.from_config(config)
    clean, noise, t = torch.randn(5, 4, 6, 8), torch.randn(5, 4, 6, 8), torch.tensor([0, 1, 500, 900, 999])
    torch.testing.assert_close(ours.mix(clean, noise, t), theirs.add_noise(clean, noise, t), atol=2e-6, rtol=1e-5)
    target = noise if kind == "epsilon" else theirs.get_velocity(clean, noise, t)
    torch.testing.assert_close(ours.target(clean, noise, t), target, atol=2e-6, rtol=1e-5)


def test_min_snr_weighs_as_diffusers_example_does():
    schedule = read_schedule(DDPMScheduler(**CONFIG).config)
    t = torch.arange(0, 1000, 37)
    snr = compute_snr(DDPMScheduler(**CONFIG), t)
    clipped = torch.stack([snr, 5 * torch.ones_like(t)], dim=1).min(dim=1)[0]
    torch.testing.assert_close(min_snr_weight(schedule.snr(t), 5.0, "epsilon").float(), clipped / snr, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(min_snr_weight(schedule.snr(t), 5.0, "v_prediction").float(), clipped / (snr + 1), rtol=1e-4, atol=1e-5)


def test_a_prediction_type_that_is_not_trained_is_refused():
    with pytest.raises(ValueError, match="predicts 'sample'"):
        read_schedule(DDPMScheduler(**CONFIG, prediction_type="sample").config)


def test_a_device_without_float64_is_never_given_any(monkeypatch):
    """Apple's GPUs have none.  The meta device stands in: it keeps shapes and number formats."""
    monkeypatch.setattr(noise, "WITHOUT_FLOAT64", (*noise.WITHOUT_FLOAT64, "meta"))
    clean = torch.zeros(2, 4, 6, 8, device="meta")
    for schedule, t in ((read_schedule(DDIMScheduler(**CONFIG).config), torch.zeros(2, dtype=torch.long)), (read_schedule({}, "flow"), torch.zeros(2))):
        t = t.to("meta")
        assert schedule.snr(t).dtype == torch.float32
        assert schedule.mix(clean, clean, t).dtype == schedule.target(clean, clean, t).dtype == torch.float32
    assert noise.exact(torch.device("mps")) == torch.float32 and noise.exact(torch.device("cpu")) == torch.float64
