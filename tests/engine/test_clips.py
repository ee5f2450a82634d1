"""Runs on clips and on pictures together, with a toy of a family that makes video."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from PIL import Image, ImageChops, ImageStat

from tests import tiny
from tests.data import make
from tests.families import wan21 as toy
from training import registry
from training.data import clips, datasets, frames
from training.engine import idle, sampling
from training.engine.cache import Cache
from training.engine.data import Feed, plan
from training.family import Cond, Placement
from training.plan import estimate
from training.plan.presets import Answers, Wrong, resolve

from .conftest import state_files


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return toy.build(tmp_path_factory.mktemp("base") / "toy video")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make.clip(folder / "a.mp4", 1, size=(64, 64), count=24, fps=24)
    make.clip(folder / "b.mp4", 2, size=(96, 64), count=60, fps=24)
    make.clip(folder / "c.gif", 3, size=(64, 64), count=6, fps=10, codec="gif")
    make.clip(folder / "short.mp4", 4, size=(64, 64), count=2, fps=24)
    make.write(folder / "d.png", 5, size=(64, 64))
    make.write(folder / "e.png", 6, size=(64, 64))
    return folder


def video(base, **changes):
    return {
        "model__family": "wan21", "model__source": str(base), "data__frames": 9, "data__fps": 12.0, "data__segments": 2, "sample__guidance": 3.0,
        "sample__frames": 5, "sample__fps": 8.0, **changes,
    }  # fmt: skip


def far(one, other):
    """The mean distance of two pictures, levels."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


def planned(lab, base, **changes):
    config = lab.make(**video(base, **changes)).config()
    said = []
    return config, plan(config, lab.home, registry.get("families", "wan21").SPEC, 8, said.append), said


def test_each_clip_is_cut_and_no_batch_mixes_lengths(lab, base):
    config, work, said = planned(lab, base, data__batch_size=4)
    pieces = sorted((i.id.rpartition("/")[2], i.segment.start, i.segment.frames) for i in work.items)
    assert pieces == [("a.mp4", 1, 9), ("b.mp4", 0, 9), ("b.mp4", 21, 9), ("c.gif", 1, 5), ("d.png", 0, 1), ("e.png", 0, 1)]
    assert any("1 clip is left out, being shorter than 5 frames at 12 a second: short.mp4" in s for s in said)
    assert any("1 clip is shorter than 9 frames" in s and "c.gif" in s for s in said)
    feed = Feed(config, work, Cache(lab.home.cache), "", str, None, "cpu")
    for numbers in feed._epoch(0):
        assert len({work.items[n].bucket for n in numbers}) == 1
    assert sorted(len(numbers) for numbers in feed._epoch(0)) == [1, 1, 2, 2]


def test_frames_of_a_piece_are_what_the_clip_shows_then(lab, base):
    _, work, _ = planned(lab, base, data__resolutions=[64])
    item = next(i for i in work.items if i.id.endswith("b.mp4") and i.segment.start == 21)
    pixels = item.pixels(False)
    assert tuple(pixels.shape) == (3, 9, item.crop.height, item.crop.width) and -1 <= pixels.min() < pixels.max() <= 1
    shown = [make.number_of(Image.fromarray(((p.permute(1, 2, 0) + 1) * 127.5).byte().numpy()).resize((96, 64)), 60) for p in pixels.unbind(1)]
    assert all(abs(a - b) <= 1 for a, b in zip(shown, range(42, 60, 2), strict=True))
    mirrored = item.pixels(True)
    assert (mirrored.flip(-1) == pixels).all()


def test_latents_are_cached_by_what_the_piece_holds(lab, base):
    _, work, _ = planned(lab, base)
    keys = {i.latent_key("vae", False) for i in work.items}
    assert len(keys) == len(work.items)
    _, other, _ = planned(lab, base, data__fps=10.0)
    moved = {i.latent_key("vae", False) for i in other.items}
    assert {i.latent_key("vae", False) for i in work.items if i.segment.frames == 1} == keys & moved  # stills do not care


@pytest.mark.slow
def test_a_run_on_clips_and_pictures_leaves_samples_that_play(lab, base):
    run = lab.run(**video(base, steps=2, sample__every=2, save__every=2, sample__width=64, sample__height=64))
    assert run.status() == "finished", run.why()
    with Image.open(run.path / "samples/000002_0.webp") as sample:
        sample.load()
        assert sample.n_frames == 5 and sample.info["duration"] == 125 and sample.size == (64, 64)
        assert "zibbo on red" in sample.getexif()[0x010E]
    facts = clips.read_clip((run.path / "samples/000002_0.mp4").read_bytes())[1]
    assert facts.seconds == pytest.approx(5 / 8, abs=0.02)
    record = json.loads((run.path / "pictures.json").read_text())
    assert {(r["id"].rpartition("/")[2], r.get("start"), r.get("frames")) for r in record} >= {("b.mp4", 21, 9), ("d.png", None, None)}


@pytest.mark.slow
def test_stills_alone_are_learnt_too(lab, base, tmp_path):
    own = tiny.pictures(tmp_path / "own", 3)
    run = lab.run(**video(base, steps=25, data__datasets=[{"name": str(own)}], data__frames=1, sample__frames=1, sample__every=25, save__every=25))
    assert run.status() == "finished", run.why()
    losses = [loss for _, loss, _ in run.view().losses]
    assert sum(losses[-6:]) < sum(losses[:6])
    with Image.open(run.path / "samples/000025_0.webp") as sample:
        assert getattr(sample, "n_frames", 1) == 1
    assert not list((run.path / "samples").glob("*.mp4"))


@pytest.mark.slow
def test_settings_without_effect_are_said(lab, base, tmp_path):
    own = tiny.pictures(tmp_path / "own", 2)
    run = lab.run(**video(base, steps=1, data__datasets=[{"name": str(own)}], data__frames=1, sample__frames=1, sample__every=0))
    warnings = " ".join(run.view().warnings)
    for name in ("data.fps", "data.segments", "sample.fps"):
        assert f"{name} has no effect" in warnings


def test_a_number_of_frames_that_does_not_fit_is_refused_before_the_start(lab, home, base):
    from tests.plan.test_presets import CARD

    with pytest.raises(ValueError, match=r"data.frames is 30.*multiple of 4 plus one; try 29 or 33"):
        lab.run(**video(base, data__frames=30))
    with pytest.raises(Wrong, match=r"sample.frames: is 6.*try 5 or 9"):
        resolve("wan21-character", Answers(dataset="x", overrides={"sample.frames": 6}), CARD, 0, home)
    with pytest.raises(Wrong, match=r"data.frames: is 5, but Stable Diffusion 1.5 makes still pictures; set it to 1"):
        resolve("sd15-character", Answers(dataset="x", overrides={"data.frames": 5}), CARD, 0, home)


def test_a_family_of_stills_leaves_clips_out_and_says_so_before_the_start(lab, tmp_path, dataset):
    from tests.plan.test_presets import CARD

    still = tiny.sd15(tmp_path / "still")
    config = lab.make(model__source=str(still)).config()
    datasets.resolve(lab.home, str(dataset)).check()
    found = estimate.estimate(config, CARD, 6, lab.home)
    assert "4 clips are left out: Stable Diffusion 1.5 learns still pictures only" in found.sentences and found.steps_per_epoch == 1
    only = tmp_path / "only"
    make.clip(only / "a.mp4")
    config = lab.make(model__source=str(still), data__datasets=[{"name": str(only)}]).config()
    datasets.resolve(lab.home, str(only)).check()
    found = estimate.estimate(config, CARD, 1, lab.home)
    assert found.problems[0] == "Nothing is left to train on: 1 clip is left out: Stable Diffusion 1.5 learns still pictures only"
    with pytest.raises(ValueError, match="nothing is left to train on: 1 clip is left out"):
        lab.run(model__source=str(still), data__datasets=[{"name": str(only)}])


def test_stop_ends_a_sample_inside_a_denoising_step(base, monkeypatch):
    family = registry.get("families", "wan21")
    m = family.load(base, {"transformer"}, Placement(torch.float32, "cpu"))
    monkeypatch.setattr(sampling, "LOOK_GAP_S", 0.0)
    done = []
    for block in m.denoiser.blocks:
        block.register_forward_hook(lambda *_: done.append(1))
    call = lambda: family.predict(m, torch.zeros(1, 16, 2, 8, 8), torch.ones(1), Cond({"embeds": torch.zeros(1, 3, 32)}))
    with torch.no_grad(), pytest.raises(sampling.Interrupted), sampling.interruptible((m.denoiser,), lambda: bool(done)):
        call()
    assert len(done) == 1 < len(m.denoiser.blocks)
    with torch.no_grad():
        call()  # nothing of it stays behind


@pytest.mark.slow
def test_pieces_stay_inside_of_their_scene_and_are_learnt_with_what_is_said_of_it(lab, base, tmp_path):
    folder = tmp_path / "films"
    film = make.film(folder / "a.mp4", [(1, 24), (2, 36), (3, 24)], size=(64, 64))
    (folder / "a.txt").write_text("a film\n[0:00] it begins\n[0:01] it goes on\n")
    rows = [{"name": str(folder)}]
    _, work, said = planned(lab, base, data__datasets=rows, data__scenes=True, data__shorter=[5], data__segments=1)
    pieces = [(i.segment.start, i.segment.frames, i.captions) for i in work.items]
    first, later = ("zibbo, it begins",), ("zibbo, it goes on",)
    assert pieces == [(1, 9, first), (16, 9, later), (31, 9, later), (3, 5, first), (18, 5, later), (33, 5, later)] and not said
    assert {i.bucket for i in work.items} == {(32, 32, 9), (32, 32, 5)} and len({i.latent_key("vae", False) for i in work.items}) == 6
    steps = [max(far(*pair) for pair in pairwise(clips.frames_at(film, s.start, s.frames, s.fps))) for s in (i.segment for i in work.items[:3])]
    assert max(steps) < far(*clips.on_screen(film, [0.98, 1.02])) / 2
    _, whole, _ = planned(lab, base, data__datasets=rows, data__segments=1)
    assert [(i.segment.start, i.captions) for i in whole.items] == [(16, later)]


@pytest.mark.slow
def test_each_dataset_has_its_own_length_and_rate_and_the_estimate_knows(lab, base, dataset, tmp_path):
    long = tmp_path / "long"
    make.clip(long / "l.mp4", 7, size=(64, 64), count=96, fps=24)
    datasets.resolve(lab.home, str(dataset)).check()
    rows = [{"name": str(dataset)}, {"name": str(long), "frames": 17, "fps": 6.0}]
    config, work, _ = planned(lab, base, data__datasets=rows)
    assert {(i.segment.frames, i.segment.fps) for i in work.items if i.id.endswith("l.mp4")} == {(17, 6.0)}
    spec = registry.get("families", "wan21").SPEC
    model = estimate.layers.base_model(str(base), "", registry.get("families", "wan21"), ())
    buckets = lambda c: estimate.buckets_of_epoch(c, spec, 7, model.divisor, lab.home)[0]
    assert sorted(buckets(config)) == sorted(i.bucket for i in work.items)
    memory = lambda **changes: estimate.peak_bytes(lab.make(**video(base, **changes)).config(), lab.home)
    assert memory(data__datasets=rows) == memory(data__frames=17) > memory()
    assert memory(data__datasets=rows, data__shorter=[5]) == memory(data__datasets=rows)
    clips_of, stills = [sum((i.segment.frames > 1) == moves for i in work.items) for moves in (True, False)]
    assert estimate._clips(buckets(config)) == f"Training clips in an epoch: {clips_of}, of 17, 9, 5 frames; still pictures beside them: {stills}" and estimate._clips([(64, 64, 1)]) == ""
    assert estimate._lengths(config, buckets(config)) == {n: sum(i.segment.frames == n for i in work.items) / len(work.items) for n in (1, 5, 9, 17)}


@pytest.mark.slow
def test_scenes_are_taken_apart_in_new_runs_of_clips_and_in_no_others(home):
    from tests.plan.test_presets import CARD

    made = lambda preset, **changes: resolve(preset, Answers(dataset="x", overrides=changes), CARD, 0, home).data.scenes
    assert made("wan21-character") and not made("wan21-character", **{"data.scenes": False}) and not made("sd15-character")


def test_clip_settings_that_do_nothing_or_do_not_fit_are_said(lab, base):
    said = lambda **changes: idle._of_clips(lab.make(**video(base, **changes)).config())
    assert said() == [] and said(data__shorter=[5, 9]) == ["data.shorter has no effect at 9 frames: no training clip is longer than 9"]
    still = said(data__frames=1, data__scenes=True, data__shorter=[5], sample__frames=1, data__datasets=[{"name": "x", "fps": 8}])
    assert [s.split(" has ")[0] for s in still] == ["data.fps", "data.segments", "data.scenes", "data.shorter", "sample.fps", "data.datasets"]
    wrong = lambda **changes: frames.problems(lab.make(**video(base, **changes)).config(), registry.get("families", "wan21").SPEC)
    assert wrong(data__shorter=[6]) == [("data.shorter", "asks for 6 frames, but Wan 2.1 text-to-video takes a multiple of 4 plus one; try 5 or 9")]
    assert wrong(data__datasets=[{"name": "x", "frames": 11}]) == [("data.datasets", "asks for 11 frames, but Wan 2.1 text-to-video takes a multiple of 4 plus one; try 9 or 13")]


@pytest.mark.slow
def test_scenes_of_several_lengths_and_a_still_are_resumed_to_the_bit(lab, base, tmp_path):
    folder = tmp_path / "films"
    make.film(folder / "a.mp4", [(1, 24), (2, 24)], size=(64, 64))
    make.write(folder / "b.png", 5, size=(64, 64))
    datasets.resolve(lab.home, str(folder)).trim("a.mp4", 0.25, 2.0)
    changes = video(base, steps=4, data__datasets=[{"name": str(folder)}], data__scenes=True, data__shorter=[5], data__segments=1, sample__every=0, save__every=2, data__held_out=0)
    whole, parts = lab.run(**changes), lab.run(stop_at=2, **changes)
    assert whole.status() == "finished" and parts.status() == "stopped", whole.why()
    lab.go(parts)
    assert parts.status() == "finished" and state_files(whole, 4) == state_files(parts, 4)
    assert {tuple(row.get(k) for k in ("start", "frames")) for row in json.loads((whole.path / "pictures.json").read_text())} == {(3, 9), (13, 9), (5, 5), (15, 5), (None, None)}
