"""A finished ControlNet, T2I-Adapter or IP-Adapter in the Playground's studio: it draws what the training's own samples show."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training import jobfile
from training.engine.studio import Studio
from training.jobs import play
from training.plan.shots import Shot
from training.runs.context import Context
from training.runs.run import create

from .test_beside import controlled, of  # noqa: F401 a fixture
from .test_ip_adapter import encoder  # noqa: F401 a fixture
from .test_ip_adapter import of as of_picture


def studio_of(home, base, family: str = "sd15") -> Studio:
    run = create(home.outputs, jobfile.parse(play.Config, {"kind": "play", "name": "play", "model": {"family": family, "source": str(base)}}))
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    return Studio(run.config(), ctx, keep_text=True)


def drawn(studio: Studio, **changes) -> np.ndarray:
    shot = Shot(**{"number": 0, "prompt": "zibbo on red", "width": 32, "height": 32, "seed": 42, "steps": 2, "guidance": 7.0} | changes)
    studio.read([shot])
    studio.follow(shot.beside)
    studio.wear(shot.loras)
    (picture,) = studio.draw(shot)
    return np.asarray(picture).astype(int)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    return (np.abs(one - other) <= 1).mean() > 0.97


@pytest.mark.slow
def test_it_draws_what_the_samples_show_and_nothing_of_it_stays(lab, base, controlled, encoder):  # noqa: F811
    first = min(p for p in controlled.glob("*.png") if ".control" not in p.name)
    studio = studio_of(lab.home, base)
    alone = drawn(studio)
    for kind, changes in (("controlnet", of("controlnet", controlled)), ("ip_adapter", of_picture(encoder, data__datasets=[{"name": str(controlled)}]))):
        run = lab.run(**{**changes, "steps": 3, "sample__every": 3, "optimizer__learning_rate": 2e-2})
        assert run.status() == "finished", run.why()
        sample = np.asarray(Image.open(run.path / "samples/000003_0.webp")).astype(int)[:, -32:]
        control = first.with_suffix(".control.png") if kind == "controlnet" else first
        with_it = drawn(studio, beside=run.id, shown=str(control))
        assert alike(with_it, sample) and not alike(with_it, alone)
        assert studio.shown.size == (32, 32)
        assert np.array_equal(drawn(studio, beside=run.id, shown=first.name, shown_of=str(controlled)), with_it)
        assert np.array_equal(drawn(studio), alone)


@pytest.mark.slow
def test_what_cannot_be_drawn_is_said(lab, base, controlled, encoder):  # noqa: F811
    studio = studio_of(lab.home, base)
    alone = drawn(studio)
    lora, begun = lab.run(steps=1, sample__every=0), lab.make(**of("t2i_adapter", controlled))
    for run in (lora, begun):
        with pytest.raises(ValueError, match="has no finished network that hangs beside a base model"):
            studio.follow(run.id)
    run = lab.run(**of_picture(encoder, steps=1, sample__every=0))
    with pytest.raises(ValueError, match="has to be shown a picture; drop one"):
        drawn(studio, beside=run.id)
    with pytest.raises(ValueError, match="can wear no LoRA beside it"):
        drawn(studio, beside=run.id, loras=[(str(lora.result()), 1.0)])
    assert np.array_equal(drawn(studio), alone)


@pytest.mark.slow
def test_a_loras_part_on_the_text_encoders_goes_before_a_network_draws(lab, base, dataset, encoder):  # noqa: F811
    worn = lab.run(steps=2, sample__every=0, adapter__text_encoder=True, optimizer__learning_rate=2e-1)
    run, (first, *_) = lab.run(**of_picture(encoder, steps=1, sample__every=0)), sorted(dataset.glob("*.png"))
    alone = drawn(studio_of(lab.home, base), beside=run.id, shown=str(first))
    studio = studio_of(lab.home, base)
    with_lora = drawn(studio, loras=[(str(worn.result()), 1.0)])
    assert np.array_equal(drawn(studio, beside=run.id, shown=str(first)), alone)
    assert np.array_equal(drawn(studio, loras=[(str(worn.result()), 1.0)]), with_lora)
