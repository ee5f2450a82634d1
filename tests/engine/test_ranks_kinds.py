"""Every kind of adapter, what hangs beside the denoiser, and clips, by two processes: the run that one alone makes.  Families and settings are test_ranks.py's."""

from __future__ import annotations

import pytest
from PIL import Image, ImageFilter

from tests import tiny
from tests.families import flux1, wan21
from training import jobfile, registry
from training.runs.run import create

from .test_ip_adapter import encoder  # noqa: F401 a fixture
from .test_ranks import RATE, alike, attempt, forking, together

STOPS = 3  # before the last step: what comes after that one is done by the first process alone
SAME = {
    "steps": STOPS + 1, "optimizer__learning_rate": RATE, "optimizer__accumulation": 3, "data__batch_size": 1, "data__flip": True, "data__caption_dropout": 0.3, "save__every": 0, "sample__every": 0,
}  # fmt: skip
DROPS = {"adapter__dropout": 0.3, "adapter__targets": "all", "loss__ema_decay": 0.9}


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    folder = tiny.pictures(tmp_path_factory.mktemp("controlled") / "with outlines", 4)
    for path in sorted(folder.glob("*.png")):
        Image.open(path).convert("RGB").filter(ImageFilter.FIND_EDGES).save(path.with_suffix(".control.png"))
    return folder


@pytest.fixture(scope="module")
def jobs(base, dataset, controlled, encoder, tmp_path_factory):  # noqa: F811
    """{name: a job}."""
    scratch = tmp_path_factory.mktemp("families")
    shown = {"adapter__control_dropout": 0.3}
    made = {"full": tiny.train_job(base, dataset, **SAME, adapter__type="full", loss__ema_decay=0.9)}
    made |= {kind: tiny.train_job(base, dataset, **SAME | DROPS, adapter__type=kind) for kind in ("dora", "loha")}
    made["oft"] = tiny.train_job(base, dataset, **SAME | DROPS | {"adapter__dropout": 0.5}, adapter__type="oft", adapter__block_size=4)
    made |= {kind: tiny.train_job(base, controlled, **SAME | shown, adapter__type=kind, loss__ema_decay=0.9) for kind in ("controlnet", "t2i_adapter")}
    pictured = {"adapter__type": "ip_adapter", "adapter__image_encoder": str(encoder), "adapter__plus": True, "adapter__picture_dropout": 0.3, "adapter__both_dropout": 0.2}
    made["ip_adapter"] = tiny.train_job(base, dataset, **SAME | pictured)
    drawn = {"adapter__type": "control_lora", "adapter__norms": True, "adapter__dropout": 0.3, "model__family": "flux1", "model__dtype": "fp32"}
    made["control_lora"] = tiny.train_job(flux1.build(scratch / "flow"), controlled, **SAME | shown | drawn)
    video = {"model__family": "wan21", "model__dtype": "fp32", **wan21.JOB}
    (clips := scratch / "clips").mkdir()
    made["clips"] = tiny.train_job(wan21.build(scratch / "video"), wan21.dataset(clips), **SAME | DROPS | video)
    return made


@pytest.mark.slow
@forking
def test_two_processes_make_the_same_run_whatever_learns(home, jobs):
    def make(name):
        return create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, jobs[name]))

    ones, twos = ({name: make(name) for name in jobs} for _ in range(2))
    for run in ones.values():
        attempt(run, home, stop_at=STOPS)
    assert together(2, lambda ranks: [attempt(run, home, ranks, stop_at=STOPS) for run in twos.values()]) == [0, 0]
    for name, run in twos.items():
        alike(run, ones[name], STOPS, "stopped")
