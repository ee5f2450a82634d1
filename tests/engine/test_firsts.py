"""Sample clips that begin with a picture, with a toy of a family that may go on from one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image, ImageChops, ImageSequence

from tests.data import make
from tests.families import wan22_5b as toy
from training import registry
from training.data import datasets
from training.engine import firsts
from training.engine.frozen import SpeedAdapter
from training.family import Speed
from training.plan import prompts

from .test_beside import session_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return toy.build(tmp_path_factory.mktemp("base") / "toy 5b")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    make.film(folder / "a.mp4", [(1, 24), (2, 24)], size=(96, 64))
    make.texture(5, (96, 64)).save(folder / "b.png")
    return folder


def wish(base, films, **more):
    return {
        "model__family": "wan22_5b", "model__source": str(base), "data__datasets": [{"name": str(films)}], "data__frames": 5, "data__fps": 12.0, "data__segments": 1, "data__scenes": True, "data__held_out": 0,
        "steps": 1, "save__every": 1, "sample__every": 1, "sample__frames": 5, "sample__steps": 2, "sample__width": 64, "sample__height": 64, "sample__guidance": 3.0, **more,
    }  # fmt: skip


def played(path):
    """The frames of an animation."""
    with Image.open(path) as film:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(film)]


def far(one, other):
    """The mean distance of two pictures, levels."""
    histogram = ImageChops.difference(one.convert("L"), other.convert("L")).histogram()
    return sum(level * count for level, count in enumerate(histogram)) / (one.width * one.height)


def test_samples_begin_with_the_picture_that_is_named_and_go_on_by_their_words_and_seed(lab, base, films):
    asked = ["a cat --d 1 --i b.png", "a dog --d 2 --i b.png", "a dog --d 2 --i a.mp4", "a dog --d 2"]
    run = lab.run(**wish(base, films, sample__prompts=asked))
    assert run.status() == "finished", run.why()
    shown = [played(run.path / f"samples/000001_{n}.webp") for n in range(4)]
    first = [frames[0] for frames in shown]
    assert far(first[0], first[1]) == 0 and min(far(first[1], first[2]), far(first[1], first[3]), far(shown[0][-1], shown[1][-1])) > 0


def test_a_sample_that_begins_with_a_picture_is_drawn_by_the_speed_adapters_scheduler(lab, base, films):
    session = session_of(lab, lab.make(**wish(base, films, sample__first_frame="b.png", sample__every=0)))
    prompt = prompts.of_config(session.config)[0]
    session.with_vae()
    pictures = []
    for settings in ({}, {"shift": 9.0}):
        session.gallery.fast = SpeedAdapter(None, {}, 1.0, Speed(steps=2, guidance=1.0, scheduler="FlowMatchEulerDiscreteScheduler", settings=settings))
        pictures.append(session.gallery._frames(prompt, 1, 0))
    assert far(pictures[0][-1], pictures[1][-1]) > 0


def test_a_picture_is_found_by_its_name_cut_to_the_sample_and_refused_where_it_is_not_there(lab, base, films):
    config = lab.make(**wish(base, films, sample__first_frame="b.png", sample__prompts=["a cat", f"a dog --i {films.name}/a.mp4"])).config()
    spec = registry.get("families", "wan22_5b").SPEC
    firsts.check(config, spec, lab.home)
    assert [p.sample.first_frame for p in prompts.of_config(config)] == ["b.png", f"{films.name}/a.mp4"] and prompts.first_frames(config) == ["b.png", f"{films.name}/a.mp4"]
    assert far(firsts.named(config, lab.home, "b.png", (64, 64)), Image.open(films / "b.png").convert("RGB").crop((16, 0, 80, 64))) < 1
    datasets.resolve(lab.home, str(films)).trim("a.mp4", 1.5, 2.0)
    assert far(firsts.named(config, lab.home, "a.mp4", (96, 64)), make.pan(2, 24, size=(96, 64))[12]) < 6
    for wrong in ("c.png", "../b.png"):
        lost = lab.make(**wish(base, films, sample__first_frame=wrong)).config()
        with pytest.raises(ValueError, match=r"no picture of the run's datasets is called .*; there are: a.mp4, b.png"):
            firsts.check(lost, spec, lab.home)
        firsts.check(lost, replace(spec, may_begin=False), lab.home)
