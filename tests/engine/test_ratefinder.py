"""The learning-rate finder on a small model: the bare base on the same noise, a ramp, nothing kept; it finds what really learns fastest."""

import itertools
import json

import pytest

from training import registry
from training.jobs import lr_find
from training.plan.ratefinding import RESULT
from training.runs.context import Context, Stopped
from training.runs.run import create

pytestmark = pytest.mark.slow


def search(lab, stop=False, **changes):
    ramp = {k: changes.pop(k) for k in ("ramp_steps", "low", "high") if k in changes}
    config = lr_find.of_training(lab.make(**changes).config(), **ramp)
    run = create(lab.home.outputs, config)
    ctx = Context(run, lab.home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    if stop:
        ctx.request_stop()
    registry.get("jobs", "lr_find").run(run.config(), ctx)
    return run


def test_it_climbs_in_memory_and_leaves_a_curve_and_no_weights(lab):
    run = search(lab, ramp_steps=50, low=1e-5, high=1.0)
    kept = json.loads((run.path / RESULT).read_text())
    rates, losses, bares = zip(*kept["points"], strict=True)
    assert rates[0] == pytest.approx(1e-5) and all(b > a for a, b in itertools.pairwise(rates))
    assert losses[0] == bares[0], "an adapter that is fresh does nothing, on the very same noise"
    assert losses[-1] != bares[-1] and run.view().summary.lower().startswith(kept["said"][:20].lower())
    assert not run.checkpoints() and not list(run.path.rglob("*.safetensors")) and not (run.path / "samples").exists()
    assert run.view().warnings == () and run.status() == "finished"


def test_what_it_cannot_do_is_said_and_stop_is_heard(lab):
    with pytest.raises(ValueError, match="Prodigy finds the learning rate itself"):
        search(lab, optimizer__type="prodigy")
    with pytest.raises(Stopped):
        search(lab, stop=True, ramp_steps=50)
    with pytest.raises(ValueError, match="the ramp has to rise"):
        search(lab, low=1e-2, high=1e-3)
