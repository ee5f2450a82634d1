"""What an error costs, against diffusers' own formulas and against what each weighting promises."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_loss_weighting_for_sd3

from training.config import LossPart
from training.engine.data import Batch
from training.engine.losses import (
    cosmap_weight,
    debiased_weight,
    differing,
    error_cost,
    level_weight,
    picture_loss,
    sigma_sqrt_weight,
    weighted_mean,
)
from training.engine.noise import FlowSchedule, draw_noise, read_schedule

BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SCHEDULES = {
    "epsilon": read_schedule(DDPMScheduler(**BETAS).config),
    "v_prediction": read_schedule(DDPMScheduler(**BETAS, prediction_type="v_prediction").config),
    "flow": FlowSchedule(),
}
TO_PURE_NOISE = {kind: read_schedule(DDPMScheduler(**BETAS, prediction_type=kind, rescale_betas_zero_snr=True).config) for kind in ("epsilon", "v_prediction")}
TIMES = {"epsilon": torch.tensor([5, 400, 900]), "v_prediction": torch.tensor([5, 400, 900]), "flow": torch.tensor([0.05, 0.5, 0.95])}


def clean_error(kind: str, t: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Squared error of the clean picture that follows from a prediction off by `error`: solved for, not taken from the formula under test."""
    schedule = SCHEDULES[kind]
    clean, noise = torch.randn(3, 4, 4, 4, dtype=torch.float64), torch.randn(3, 4, 4, 4, dtype=torch.float64)
    noisy, said = schedule.mix(clean, noise, t), schedule.target(clean, noise, t) + error
    if kind == "flow":
        found = noisy - t.view(-1, 1, 1, 1).double() * said
    else:
        signal, grain = schedule.signal_and_noise(t, clean)
        found = (noisy - grain * said) / signal if kind == "epsilon" else signal * noisy - grain * said
    return (found - clean).pow(2).mean(dim=(1, 2, 3))


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize(("settings", "counts"), [({"min_snr_gamma": 5.0}, lambda snr: snr.clamp(max=5)), ({"weighting": "debiased"}, lambda snr: snr.sqrt())])
def test_min_snr_and_debiased_weigh_the_clean_pictures_error_alike_for_every_prediction(kind, settings, counts):
    schedule, t = SCHEDULES[kind], TIMES[kind]
    error = torch.randn(3, 4, 4, 4, dtype=torch.float64) * 0.1
    weighed = error.pow(2).mean(dim=(1, 2, 3)) * level_weight(schedule, t, LossPart(**settings))
    torch.testing.assert_close(weighed, counts(schedule.snr(t)) * clean_error(kind, t, error), rtol=1e-5, atol=1e-9)


def test_debiased_is_one_over_the_root_of_snr_for_epsilon():
    snr = torch.tensor([0.01, 1.0, 25.0], dtype=torch.float64)
    torch.testing.assert_close(debiased_weight(snr, "epsilon"), snr.rsqrt())


def test_flow_weights_are_those_of_diffusers_and_leave_other_families_alone():
    t = torch.tensor([0.01, 0.3, 0.5, 1.0])
    torch.testing.assert_close(sigma_sqrt_weight(t).float(), compute_loss_weighting_for_sd3("sigma_sqrt", t))
    torch.testing.assert_close(cosmap_weight(t).float(), compute_loss_weighting_for_sd3("cosmap", t))
    assert torch.isfinite(sigma_sqrt_weight(torch.zeros(1))).all()
    for weighting in ("sigma_sqrt", "cosmap"):
        assert (level_weight(SCHEDULES["epsilon"], TIMES["epsilon"], LossPart(weighting=weighting)) == 1).all()


@pytest.mark.parametrize("kind", [*SCHEDULES, "epsilon to pure noise", "v_prediction to pure noise"])
@pytest.mark.parametrize("settings", [{}, {"min_snr_gamma": 5.0}, {"weighting": "debiased"}, {"weighting": "sigma_sqrt"}, {"type": "huber", "huber_schedule": "snr"}])
def test_every_loss_is_finite_at_both_ends_of_the_noise(kind, settings):
    name, _, to_pure_noise = kind.partition(" ")
    schedule = (TO_PURE_NOISE if to_pure_noise else SCHEDULES)[name]
    t = torch.tensor([0.0, 1.0]) if kind == "flow" else torch.tensor([0, 999])
    clean, noise = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    batch = Batch(clean, noise, t, None, ["a", "b"], 1.0, torch.ones(2), [], ["", ""])
    said = torch.zeros(2, 4, 4, 4, requires_grad=True)
    losses = picture_loss(said, schedule.target(clean, noise, t), batch, schedule, LossPart(**settings))
    losses.sum().backward()
    assert losses.shape == (2,) and losses.dtype == torch.float32
    assert torch.isfinite(losses).all() and torch.isfinite(said.grad).all()
    if to_pure_noise:
        assert schedule.snr(t)[1] == 0 and losses[1] < 20 * losses[0].clamp(min=1), "a weight that divides by next to nothing drowns every other step"


def test_huber_is_the_square_of_small_errors_and_straight_for_large_ones():
    huber = LossPart(type="huber", huber_delta=0.5)
    cost = lambda e: float(error_cost(torch.tensor([[e]], dtype=torch.float64), SCHEDULES["flow"], torch.tensor([0.5]), huber))
    assert cost(1e-3) == pytest.approx(1e-6, rel=1e-4)
    assert cost(101.0) - cost(100.0) == pytest.approx(2 * 0.5, rel=1e-3)
    assert float(error_cost(torch.tensor([[3.0]]), SCHEDULES["flow"], torch.tensor([0.5]), LossPart())) == 9


@pytest.mark.parametrize("kind", SCHEDULES)
def test_scheduled_huber_forgives_more_the_more_noise_there_is(kind):
    scheduled, error = LossPart(type="huber", huber_delta=0.1, huber_schedule="snr"), torch.full((3, 1), 10.0, dtype=torch.float64)
    costs = error_cost(error, SCHEDULES[kind], TIMES[kind], scheduled)[:, 0].tolist()
    assert costs == sorted(costs, reverse=True)
    # sd-scripts: (1 - c) / (1 + sigma)^2 + c with sigma = noise / signal
    sigma = SCHEDULES[kind].snr(TIMES[kind]) ** -0.5
    delta = 0.9 / (1 + sigma) ** 2 + 0.1
    assert costs == pytest.approx((2 * delta * ((100 + delta**2).sqrt() - delta)).tolist())


def test_a_mask_leaves_nothing_of_what_it_hides_in_the_gradient():
    schedule, t = FlowSchedule(), torch.tensor([0.4, 0.6])
    mask = torch.zeros(2, 1, 6, 8)
    mask[..., :3, :] = 1
    said = torch.randn(2, 4, 6, 8)

    def gradient(target, **settings):
        guess = said.clone().requires_grad_()
        batch = Batch(target, target, t, None, ["a", "b"], 1.0, torch.ones(2), [], ["", ""], mask=mask)
        losses = picture_loss(guess, target, batch, schedule, LossPart(masked=True, **settings))
        return torch.autograd.grad(losses.sum(), guess)[0], losses.detach()

    target = torch.randn(2, 4, 6, 8)
    changed = target.clone()
    changed[..., 3:, :] += 5
    (before, loss), (after, same) = gradient(target), gradient(changed)
    assert torch.equal(before, after) and torch.equal(loss, same)
    assert (before[..., 3:, :] == 0).all() and (before[..., :3, :] != 0).all()
    torch.testing.assert_close(loss, (said - target)[..., :3, :].pow(2).mean(dim=(1, 2, 3)))  # a mean over what is shown
    faint, _ = gradient(changed, unmasked_weight=0.1)
    assert (faint[..., 3:, :] != 0).all()
    all_of_it, _ = gradient(changed, unmasked_weight=1.0)
    torch.testing.assert_close(all_of_it, 2 * (said - changed) / said[0].numel())


def test_a_mask_that_shows_nothing_costs_nothing_and_one_of_a_video_holds_for_every_frame():
    errors = torch.rand(1, 4, 3, 6, 8)
    assert float(weighted_mean(errors, torch.zeros(1, 1, 1, 6, 8))) == 0
    mask = torch.zeros(1, 1, 1, 6, 8)
    mask[..., 2] = 1
    torch.testing.assert_close(weighted_mean(errors, mask), errors[..., 2].mean(dim=(1, 2, 3)))


def test_where_a_pair_differs_counts_most_and_at_most_eight_times_the_mean_and_one_that_does_not_differ_counts_alike():
    high = torch.zeros(2, 3, 10, 10)
    low = high.clone()
    low[0, :, 4, 4] = torch.tensor([1.0, -2.0, 3.0])  # one cell of a hundred, so 100 times the mean
    whole, half, none = (differing(high, low, focus) for focus in (1.0, 0.5, 0.0))
    assert torch.equal(none, torch.ones(2, 1, 10, 10)) and torch.equal(whole[1], torch.ones(1, 10, 10))
    assert float(whole[0].sum()) == pytest.approx(100) and float(whole[0, 0, 4, 4]) == pytest.approx(100)  # the mean over all cells is 1
    torch.testing.assert_close(half[0, 0, 4, 4] / half[0, 0, 0, 0], torch.tensor((0.5 + 0.5 * 8) / 0.5))
    torch.testing.assert_close(half.mean(dim=(1, 2, 3)), torch.ones(2))
    assert differing(torch.rand(1, 4, 3, 5, 5), torch.rand(1, 4, 3, 5, 5), 1.0).shape == (1, 1, 3, 5, 5), "a clip's cells"


def test_noise_offset_moves_whole_channels_and_pyramid_noise_keeps_its_variance():
    shape, many = torch.Size((4, 32, 32)), [torch.Generator().manual_seed(n) for n in range(200)]
    drawn = lambda loss, shape=shape: torch.stack([draw_noise(shape, torch.Generator().manual_seed(g.initial_seed()), loss) for g in many])
    plain, offset, pyramid = drawn(LossPart()), drawn(LossPart(noise_offset=0.5)), drawn(LossPart(noise_pyramid=0.6))
    means = lambda noise: float(noise.mean(dim=(2, 3)).std())
    assert means(plain) == pytest.approx(1 / 32, rel=0.15) and means(offset) == pytest.approx(0.5, rel=0.15)
    torch.testing.assert_close((offset - plain).std(dim=(2, 3)), torch.zeros(200, 4), atol=1e-6, rtol=0)  # one value a channel
    assert float(pyramid.std()) == pytest.approx(1, abs=0.02)
    neighbours = lambda noise: float((noise[..., 1:] * noise[..., :-1]).mean())
    assert abs(neighbours(plain)) < 0.01 and neighbours(pyramid) > 0.15
    video = draw_noise(torch.Size((4, 3, 8, 10)), many[0], LossPart(noise_offset=0.1, noise_pyramid=0.3))
    assert video.shape == (4, 3, 8, 10)
