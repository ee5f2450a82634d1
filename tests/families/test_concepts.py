"""Objectives on every family: what is changed by words or by pairs of pictures trains, and its result is loaded again and acts the same.

One family of each kind meets all of them, the others one by turns: what differs between families, the call of their network, is proven elsewhere.
"""

from __future__ import annotations

import pytest

from tests.engine.conftest import lab  # noqa: F401 a fixture
from training.data import concepts

from .test_every_family import FAMILIES, OF_EACH_KIND, base, dataset, job, kit, learns_as_another, pictures  # noqa: F401 fixtures

pytestmark = pytest.mark.slow
TARGET = {"target": "a cat", "positive": "a very old wooden castle near a river", "negative": "a red cat"}
WORDS = dict(
    data__datasets=[], trigger="", concept__targets=[TARGET], concept__drawn=2, concept__contexts=["a photo of {}"], concept__anchors=["a dog"], data__frames=1, sample__frames=1,
)  # fmt: skip


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("pairs")
    for n in range(2):
        for end, colour in (("low", "red"), ("high", "blue")):
            Image.new("RGB", (64, 64), colour).save(folder / f"{n}.{end}.png")
        (folder / f"{n}.high.txt").write_text("a cat", encoding="utf-8")
    return folder


OBJECTIVES = ("slider", "erase", "replace", "picture_slider")
MET = [(family, OBJECTIVES[(at + n) % 4]) for at, family in enumerate(FAMILIES) for n in range(4 if family in OF_EACH_KIND else 1)]


@pytest.mark.parametrize(("kit", "objective"), MET, indirect=["kit"])
def test_it_trains(kit, lab, pairs, objective):  # noqa: F811
    if objective != "slider" or kit.spec.first_frame:
        learns_as_another(kit)
    changes = job(kit, pairs, steps=2, sample__every=0, adapter__targets="attention", optimizer__learning_rate=2e-2, loss__objective=objective, keep__on=True, keep__prompts=["a green square"])
    if objective == "picture_slider":
        changes |= {"data__frames": 1, "sample__frames": 1}
    else:
        changes |= WORDS
    if objective == "erase":  # one falls back on another sentence, one on what is left of its own
        changes["concept__targets"] = [TARGET, {"target": "a cat", "strength": 1.0}]
    if kit.shown:
        with pytest.raises(ValueError, match=f"loss.objective is '{objective}', but {kit.spec.title} draws nothing without a picture that it is made from"):
            lab.run(**changes)
        return
    run = lab.run(**changes)
    assert run.status() == "finished", run.why()
    losses = [e["loss"] for e in run.events()[0] if e["kind"] == "step"]
    assert len(losses) == 2 and min(losses) > 0
    assert concepts.work(run.config())[1] == {"slider": 4, "erase": 2, "replace": 2, "picture_slider": 2}[objective]
