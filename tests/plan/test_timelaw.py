"""How often each noise level is trained, against what diffusers draws and what its pipelines shift by."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.training_utils import compute_density_for_timestep_sampling

from training.config import LossPart
from training.engine.noise import FlowSchedule, read_schedule
from training.plan import timelaw
from training.plan.timelaw import NO_SHIFT, Shift, TimeLaw, of_config, read_shift

LAWS = ("uniform", "logit_normal", "sigmoid", "mode", "cosmap", "content", "style")
QUANTILES = torch.linspace(0.02, 0.98, 25)


def law(**loss) -> TimeLaw:
    return of_config(LossPart(**loss), {}, 1)


def drawn(of: TimeLaw, count: int = 20_000, shape=(4, 8, 8)) -> torch.Tensor:
    schedule, generator = FlowSchedule(law=of), torch.Generator().manual_seed(0)
    return torch.tensor([schedule.pick(generator, torch.Size(shape)) for _ in range(count)])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"timestep_law": "logit_normal", "timestep_mean": 0.7, "timestep_std": 0.6}, {"weighting_scheme": "logit_normal", "logit_mean": 0.7, "logit_std": 0.6}),
        ({"timestep_law": "sigmoid"}, {"weighting_scheme": "logit_normal", "logit_mean": 0.0, "logit_std": 1.0}),
        ({"timestep_law": "mode"}, {"weighting_scheme": "mode", "mode_scale": 1.29}),
        ({"timestep_law": "mode", "timestep_scale": -0.5}, {"weighting_scheme": "mode", "mode_scale": -0.5}),
        ({}, {"weighting_scheme": "none"}),
    ],
)
def test_draws_follow_the_law_that_diffusers_draws_from(ours, theirs):
    reference = compute_density_for_timestep_sampling(batch_size=400_000, generator=torch.Generator().manual_seed(1), **theirs)
    expected = reference.quantile(QUANTILES)
    torch.testing.assert_close(torch.tensor([law(**ours).at(float(q), 1) for q in QUANTILES], dtype=torch.float32), expected, atol=4e-3, rtol=0)
    torch.testing.assert_close(drawn(law(**ours)).float().quantile(QUANTILES), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("name", "share_below"),
    [
        ("cosmap", lambda t: 2 / math.pi * math.atan(t / (1 - t))),  # the integral of eq. 21
        ("content", lambda t: 1 - (1 - t) ** (1 / 3)),
        ("style", lambda t: t ** (1 / 3)),
    ],
)
def test_the_laws_that_diffusers_lacks_have_their_analytic_distribution(name, share_below):
    draws = drawn(law(timestep_law=name))
    for t in (0.05, 0.2, 0.5, 0.8, 0.95):
        assert float((draws < t).float().mean()) == pytest.approx(share_below(t), abs=0.015)
    bins = law(timestep_law=name).density(40, 1)
    assert bins == pytest.approx([40 * (share_below(min((n + 1) / 40, 1 - 1e-15)) - share_below(n / 40)) for n in range(40)], rel=1e-4)


def test_content_trains_noise_and_style_trains_detail():
    content, style = law(timestep_law="content").density(10, 1), law(timestep_law="style").density(10, 1)
    assert content == pytest.approx(style[::-1]) and content[-1] > 4 and content[0] < 0.5


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("shift", [0.0, 3.0])
@pytest.mark.parametrize("limits", [(0.0, 1.0), (0.0, 0.875), (0.3, 0.6)])
def test_every_law_rises_stays_within_its_limits_and_is_drawn_as_it_is_shown(name, shift, limits):
    of = law(timestep_law=name, timestep_shift=shift, timestep_min=limits[0], timestep_max=limits[1])
    points = [of.at(n / 200, 1) for n in range(201)]
    assert points == sorted(points) and points[0] >= limits[0] and points[-1] <= limits[1]
    density = of.density(10, 1)
    assert sum(density) == pytest.approx(10)
    histogram = torch.histc(drawn(of, 8000).float(), 10, 0, 1) / 800
    assert histogram.tolist() == pytest.approx(density, abs=0.25)


def test_limits_cut_the_law_off_and_leave_its_shape():
    whole, part = law(timestep_law="logit_normal").density(20, 1), law(timestep_law="logit_normal", timestep_max=0.5).density(20, 1)
    assert part[10:] == pytest.approx([0] * 10, abs=1e-9)
    assert [p / w for p, w in zip(part[:10], whole[:10], strict=True)] == pytest.approx([2] * 10)


@pytest.mark.parametrize("tokens", [256, 1024, 4096, 7000])
def test_a_dynamic_shift_is_that_of_the_flux_pipeline_and_its_scheduler(tokens):
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_shift=0.9, max_image_seq_len=8192)
    shift = read_shift(scheduler.config)
    mu = calculate_shift(tokens, 256, 8192, 0.5, 0.9)
    assert shift.at(tokens) == pytest.approx(math.exp(mu))
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    ours = [TimeLaw(timelaw.uniform, shift).at(float(x), tokens) for x in t]
    torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), scheduler.time_shift(mu, 1.0, t))


def test_a_fixed_shift_is_that_of_the_scheduler_and_other_names_of_it_are_read():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    of = TimeLaw(timelaw.uniform, read_shift(scheduler.config))
    ours = torch.tensor([of.at(n / 1000, 1) for n in range(1000, 0, -1)])
    torch.testing.assert_close(ours, scheduler.sigmas[:1000], atol=1e-6, rtol=1e-5)
    assert read_shift({"flow_shift": 5.0}) == Shift(5.0) and read_shift({}) == NO_SHIFT
    assert read_shift({"use_dynamic_shifting": True, "time_shift_type": "linear"}).at(256) == pytest.approx(0.5)


def test_the_shift_counts_the_tokens_of_each_pictures_own_size():
    of = of_config(LossPart(), FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).config, patch=2)
    assert of.tokens((16, 128, 128)) == 4096 and of.tokens((16, 5, 32, 64)) == 5 * 512
    small, large = drawn(of, 3000, (16, 32, 32)), drawn(of, 3000, (16, 128, 128))
    assert float(small.median()) == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.02)
    assert float(large.median()) == pytest.approx(1 / (1 + math.exp(-1.15)), abs=0.02)


def test_the_users_shift_wins_over_the_checkpoints_and_whole_timesteps_have_none_of_their_own():
    config = {"shift": 3.0}
    assert of_config(LossPart(), config, 1).shift == Shift(3.0)
    assert of_config(LossPart(timestep_shift=1.0), config, 1).shift == NO_SHIFT
    assert of_config(LossPart(), None, 1).shift == NO_SHIFT
    assert of_config(LossPart(timestep_shift=2.0), None, 1).shift == Shift(2.0)


def test_whole_timesteps_follow_the_same_law():
    from diffusers import DDPMScheduler

    schedule = read_schedule(DDPMScheduler().config, law=law(timestep_law="style", timestep_max=0.5))
    generator = torch.Generator().manual_seed(0)
    picks = torch.tensor([schedule.pick(generator, torch.Size((4, 8, 8))) for _ in range(5000)])
    assert picks.dtype == torch.int64 and 0 <= int(picks.min()) and 450 < int(picks.max()) < 500
    assert float((picks < 50).float().mean()) == pytest.approx((50 / 500) ** (1 / 3), abs=0.02)


def test_validation_points_are_even_within_the_limits_whatever_the_law():
    schedule = FlowSchedule(law=law(timestep_law="content", timestep_shift=3.0, timestep_min=0.5))
    assert [schedule.at((n + 0.5) / 4) for n in range(4)] == pytest.approx([0.5625, 0.6875, 0.8125, 0.9375])


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"loss.timestep_min is 0.6, but loss.timestep_max is 0.5"):
        LossPart(timestep_min=0.6, timestep_max=0.5)
    with pytest.raises(ValueError, match=r"loss.weighting is 'debiased' and loss.min_snr_gamma is 5; choose one"):
        LossPart(weighting="debiased", min_snr_gamma=5)
    assert LossPart.model_fields["timestep_scale"].metadata[1].le < timelaw.MAX_MODE_SCALE


