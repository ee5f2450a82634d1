"""What the endpoints refuse, and ask for twice, without a server in between: money, pictures that leave, folders that others may not name."""

from __future__ import annotations

import base64
import shutil
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

import easel
from tests import places, tiny
from training import jobfile
from training.away import state
from training.config import TrainConfig
from training.data import datasets, importing
from training.runs import origin, supervisor
from training.runs.run import create, list_runs
from ui import shell
from ui.api.endpoints import Api
from ui.server import uploads
from ui.tabs.dataset.imports import Imports


def api_of(home, local=True, folders=()):
    ctx = shell.UiContext(home, local, False, "", tuple(folders), *[SimpleNamespace()] * 5)
    ctx.parts["dataset"] = SimpleNamespace(imports=Imports(uploads.folder(home)))
    return Api(ctx)


@contextmanager
def queue_held(home):
    """What is started meanwhile waits in the queue, and is out of it afterwards."""
    with supervisor.by_itself(home):
        try:
            yield
        finally:
            for thread in [t for t in threading.enumerate() if t.name == "easel-start"]:
                thread.join()
            for run in list_runs(home.outputs):
                if run.status() == "queued":
                    run.command("stop")


@pytest.fixture
def pictures(tmp_path):
    return tiny.pictures(tmp_path / "data" / "cats", 3)


@pytest.fixture
def far(home, pictures, tmp_path):
    """A job for the example of a place, another folder of this computer."""
    return tiny.train_job("builtin", pictures, place=places.next_folder(home, tmp_path / "far"))


def test_a_training_that_leaves_is_asked_for_twice(home, far, pictures):
    api = api_of(home)
    first = api.start(job=far)
    assert not first["done"] and first["would"].startswith("would be started: the training 'tiny'. It is done on another machine") and list_runs(home.outputs) == []
    assert "the pictures are copied to" in first["would"] and "What it costs is not known" in first["would"]
    with pytest.raises(ValueError, match="not given for this"):
        api.start(job=far | {"steps": 7}, word=first["word"])
    word = api.start(job=far)["word"]
    with queue_held(home):
        begun = api.start(job=far, word=word)
    assert begun["done"] and [run.id for run in list_runs(home.outputs)] == [begun["run"]]
    shown = api.start(job=tiny.train_job("builtin", pictures, trackers=[{"name": "wandb"}, {"name": "tensorboard"}]))
    assert "go to your account at Weights & Biases" in shown["would"] and shown["would"].endswith("It is shown in TensorBoard") and len(list_runs(home.outputs)) == 1


def test_what_a_place_costs_is_said_before(home, pictures):
    job = tiny.train_job("builtin", pictures, device="cuda", place={"kind": "modal", "options": {"machine": "L4"}})
    said = api_of(home).start(job=job)["would"]
    assert "another machine: Modal (L4)" in said and "It will most likely cost 0." in said and said.endswith(" USD")


def test_a_run_of_another_computer_is_accepted_only_with_a_second_call(home, pictures, monkeypatch):
    run = create(home.outputs, jobfile.parse(TrainConfig, tiny.train_job("builtin", pictures)))
    run.command("stop")
    shutil.rmtree(home.root / ".easel" / "made")
    api = api_of(home)
    first = api.resume(run.id, accept=True)
    assert not first["done"] and str(pictures) in first["would"] and not origin.made_here(run.path)
    with pytest.raises(ValueError, match="not given for this"):
        api.resume(run.id, accept=True, word="guess")
    assert not origin.made_here(run.path)
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")  # it is let go on, and goes no further than that
    with pytest.raises(ValueError, match="ZeroGPU"):
        api.resume(run.id, accept=True, word=first["word"])
    assert origin.made_here(run.path)


def test_a_run_that_is_trained_elsewhere_is_resumed_only_with_a_second_call(home, far, pictures):
    run = create(home.outputs, jobfile.parse(TrainConfig, far))
    run.command("stop")
    api = api_of(home)
    first = api.resume(run.id)
    assert first["would"].startswith("would be resumed: the training 'tiny'. It is done on another machine") and "the pictures are copied to" in first["would"]
    assert "What it costs is not known" in first["would"] and "goes on after" not in first["would"] and "still be there" not in first["would"]
    state.keep(run.path, state.State("next_folder", {"id": "0"}, "started"))
    (run.path / "checkpoints" / "000004").mkdir(parents=True)
    (run.path / "checkpoints" / "000004" / "MANIFEST.json").write_text("{}")
    for wrong in ({"word": first["word"]}, {"word": "guess"}, {"word": api.resume(run.id)["word"], "accept": True}):
        with pytest.raises(ValueError, match="not given for this"):
            api.resume(run.id, **wrong)
    second = api.resume(run.id)["would"]
    assert "What was sent away may still be there, where it is only watched again. It goes on after step 4 of 6" in second
    shutil.rmtree(pictures)  # so that it is let go on, and comes no further than that
    (run.path / state.FILE).unlink()
    with pytest.raises(ValueError, match="cannot go on here"):
        api.resume(run.id, word=api.resume(run.id)["word"])


def test_a_run_that_left_something_elsewhere_is_not_forgotten_without_a_word(home, far):
    run = create(home.outputs, jobfile.parse(TrainConfig, far))
    run.command("stop")
    api = api_of(home)
    before = api.delete_run(run.id)
    assert "still there" not in before["would"]
    state.keep(run.path, state.State("next_folder", {"id": "0"}, "started"))
    with pytest.raises(ValueError, match="not given for this"):
        api.delete_run(run.id, before["word"])
    with pytest.raises(ValueError, match="may run and cost money; resume it and then stop it first"):
        easel.open_run(run.id, home).delete()
    twice = api.delete_run(run.id)
    assert "what was sent away is still there, may run and cost money, and nobody here will know of it" in twice["would"] and run.path.is_dir()
    assert api.delete_run(run.id, twice["word"])["done"] and not run.path.exists()


def test_a_dataset_is_deleted_only_when_the_runs_that_lose_it_were_said(home, pictures):
    ds = datasets.create(home, "low ends")
    importing.add_folder(ds, pictures)
    job = tiny.train_job("builtin", pictures, concept={"targets": [{"target": "a cat"}], "low": "low ends"})
    api = api_of(home)
    before = api.delete_dataset("low ends")
    run = create(home.outputs, jobfile.parse(TrainConfig, job))
    with pytest.raises(ValueError, match="'tiny' uses it and is queued; stop that first"):
        api.delete_dataset("low ends", before["word"])
    run.command("stop")
    with pytest.raises(ValueError, match="not given for this"):
        api.delete_dataset("low ends", before["word"])
    twice = api.delete_dataset("low ends")
    assert "'tiny' (stopped) cannot be resumed" in twice["would"]
    assert api.delete_dataset("low ends", twice["word"])["done"] and not ds.path.exists()


def test_somebody_elsewhere_uses_the_very_folder_that_was_looked_for(home, pictures, tmp_path, monkeypatch):
    private = tiny.pictures(tmp_path / "started here" / "cats", 2)
    monkeypatch.chdir(private.parent)
    api = api_of(home, local=False, folders=[pictures.parent])
    low = {"targets": [{"target": "a cat"}]}
    with queue_held(home):
        begun = api.start(job=tiny.train_job("builtin", "./cats"))
        one = list_runs(home.outputs)[0]
        assert one.id == begun["run"] and one.config().data.datasets[0].name == str(pictures)
        captioned = api.caption("./cats", "filename")
        assert easel.open_run(captioned["run"], home).config.dataset == str(pictures)
    assert api._training("", "./cats", "builtin-character", "zibbo", "quick", {"data.datasets": [{"name": "./cats"}]}, {}, "")[0].data.datasets[0].name == str(pictures)

    def refusal(**asked):
        with pytest.raises(ValueError) as error:
            api.estimate(**asked)
        return str(error.value)

    for place in (str(private), str(private / "none"), str(private / "picture 0.png")):
        said = f"there is no folder {place!r} in {pictures.parent}"
        for asked in (
            {"dataset": place}, {"job": tiny.train_job("builtin", place)}, {"job": tiny.train_job("builtin", pictures, concept=low | {"low": place})},
            {"dataset": str(pictures), "preset": "builtin-character", "settings": {"concept.low": place}},
            {"dataset": str(pictures), "preset": "builtin-character", "settings": {"data.datasets": [{"name": place}]}},
        ):  # fmt: skip
            assert refusal(**asked).startswith(said)


def test_somebody_elsewhere_draws_from_no_picture_but_their_own(home, pictures, tmp_path):
    private = tiny.pictures(tmp_path / "private", 1) / "picture 0.png"
    shown = pictures / "picture 0.png"
    api = api_of(home, local=False, folders=[pictures.parent])

    def drawn(**settings):
        with queue_held(home):
            made = api.generate(["a cat"], base="builtin", family="sd15", settings=settings)
        return easel.open_run(made["run"], home).config

    sent = f"data:image/png;name=own.png;base64,{base64.b64encode(shown.read_bytes()).decode()}"
    config = drawn(picture="cats/picture 0.png", mask=sent)
    assert config.picture == str(shown) and config.mask.startswith(str(uploads.folder(home))) and config.mask.endswith("own.png")
    for name in ("picture", "mask"):
        for place in (str(private), str(private.with_name("none.png")), "cats/../../private/picture 0.png"):
            with pytest.raises(ValueError, match="was not uploaded to this Easel"):
                api.generate(["a cat"], base="builtin", family="sd15", settings={"picture": str(shown), name: place})
    made_from = drawn(made_from=["cats/picture 0.png", {"picture": "picture 0.png", "dataset": "cats"}]).made_from
    assert [(one.picture, one.dataset) for one in made_from] == [(str(shown), ""), ("picture 0.png", "cats")]
    for one in (str(private), {"picture": str(private)}, {"picture": private.name, "dataset": str(private.parent)}):
        with pytest.raises(ValueError, match="was not uploaded to this Easel|folder"):
            api.generate(["a cat"], base="builtin", family="sd15", settings={"made_from": [one]})
    api = api_of(home)
    assert drawn(picture=str(private)).picture == str(private)


def test_what_a_drawing_is_told_beside_its_settings_is_refused_among_them(home):
    for name in ("base", "family", "home"):
        with pytest.raises(ValueError, match=f"settings cannot hold {name} here"):
            api_of(home).generate(["a cat"], base="builtin", family="sd15", settings={name: "x"})
