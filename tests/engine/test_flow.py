"""Settings of the loss on a flow family: each acts, none is refused for not being about epsilon."""

from __future__ import annotations

import pytest

from tests.families import flux1
from training.plan.timelaw import read_shift


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return flux1.build(tmp_path_factory.mktemp("flow") / "toy")


def test_the_engine_shifts_by_the_checkpoints_own_scheduler_and_the_tokens_of_each_picture(lab, base):
    from training.engine.prepare import prepare
    from training.runs.context import Context

    run = lab.make(model__family="flux1", loss__timestep_law="logit_normal")
    prepared = prepare(run.config(), Context(run, lab.home, 1))
    law, latents = prepared.schedule.law, prepared.feed.at(0)[0].latents
    assert law.shift == read_shift(prepared.m.scheduler.config) and law.shift.dynamic
    assert law.tokens(tuple(latents.shape[1:])) == latents.shape[-2] // 2 * (latents.shape[-1] // 2)


@pytest.mark.slow
def test_every_setting_of_the_loss_acts_on_a_flow_family(lab, base):
    common = dict(model__family="flux1", steps=3, sample__every=0, data__held_out=1, save__validate_every=1)
    changes = [
        {}, {"loss__min_snr_gamma": 1.0}, {"loss__weighting": "debiased"}, {"loss__weighting": "sigma_sqrt"}, {"loss__weighting": "cosmap"},
        {"loss__timestep_law": "style"}, {"loss__timestep_shift": 1.0}, {"loss__timestep_max": 0.4}, {"loss__noise_offset": 0.5},
        {"loss__type": "huber"}, {"loss__type": "huber", "loss__huber_schedule": "snr"},
    ]  # fmt: skip
    runs = [lab.run(**common, **change).view() for change in changes]
    assert len({str([loss for _, loss, _ in view.losses]) for view in runs}) == len(changes)
    assert not any("no effect" in w for view in runs for w in view.warnings)
    # the validation loss is measured at the same levels with the same noise, whatever is drawn while training
    first = [view.validations[0][1] for view in runs]
    plain = {n for n, change in enumerate(changes) if not set(change) & {"loss__min_snr_gamma", "loss__weighting", "loss__type", "loss__timestep_max"}}
    assert all(abs(first[n] - first[0]) < 0.05 * first[0] for n in plain)
