"""What of a run's settings a preset of one's own keeps, and what each run that is made with it chooses anew."""

import pytest

from training.plan import own, presets, unseen, validating
from training.plan.hardware import machine
from training.plan.presets import Answers, resolve
from training.runs.run import create

pytestmark = pytest.mark.slow  # each reckons many plans


@pytest.fixture
def made(home):
    """The config of a run with `id`, or with a preset made of a config that stands in its place."""

    def made(of="builtin-character", pictures=100, **answers):
        if not isinstance(of, str):
            of = own.save(create(home.outputs, of), home)
        return resolve(of, Answers(**{"trigger": "zibbo", "dataset": "cats", **answers}), machine(home.root), pictures, home)

    return made


def test_how_often_is_measured_follows_from_the_pictures_of_each_run(made):
    few, many = made(pictures=5), made(pictures=100)
    assert few.data.held_out == 0 and many.data.held_out > 2
    for config in (few, many):
        again = made(config)
        assert (again.data.held_out, again.save.validate_every) == (many.data.held_out, many.save.validate_every)
        quick = made(config, quality="quick")
        assert quick.save.validate_every == validating.every(quick.steps, quick.data.held_out, presets.step_passes(quick.model_dump())) > 1
        assert made(config, pictures=5).data.held_out == 0, "so few are all needed"
    recomputed = made(of=many.model_copy(update={"loss": many.loss.model_copy(update={"gradient_checkpointing": "all"})}), quality="quick")
    assert recomputed.save.validate_every == validating.every(recomputed.steps, recomputed.data.held_out, presets.step_passes(recomputed.model_dump())), "memory asked for it afterwards"
    told = made(made(overrides={"save.validate_every": 40}), quality="quick")
    assert told.save.validate_every == 20, "what somebody chose is scaled with the steps"


def test_sample_prompts_ask_for_what_each_run_learns(made):
    first = made()
    assert sum(map(unseen.is_unseen, first.sample.prompts)) == 1 and made(first).sample.prompts == first.sample.prompts
    without = made(trigger="")
    assert not any("[trigger]" in p for p in without.sample.prompts)
    assert made(without).sample.prompts == first.sample.prompts and made(without, trigger="").sample.prompts == without.sample.prompts
    rows = made(rows=({"name": "cats"}, {"name": "dogs", "trigger": "wuffo"}))
    assert any("wuffo" in p for p in rows.sample.prompts)
    assert made(rows).sample.prompts == first.sample.prompts
    full = made(overrides={"sample.prompts": [f"[trigger] in room {n}" for n in range(16)]})
    assert len(made(full).sample.prompts) == 16 and len(set(made(full).sample.prompts)) == 16


def test_pictures_that_were_weighed_stay_at_home(made, home):
    config = made(overrides={"data.weighed": [{"step": 3, "picture": "ab" * 32, "weight": 0.5}]})
    id = own.save(create(home.outputs, config), home)
    assert b"abab" not in own.exported(home, id)[1] and made(config).data.weighed == ()
