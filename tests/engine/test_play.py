"""The studio: a real worker on a small model, asked through its run's folder; it goes when something else wants the machine."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from tests import tiny
from training import jobfile, registry
from training.formats import pictureinfo
from training.jobs import play
from training.runs import supervisor
from training.runs.run import create
from training.tools import repair


def request(id: str, *shots: dict, **more) -> str:
    one = {"number": 0, "prompt": "a red cat", "width": 32, "height": 32, "seed": 1, "steps": 2}
    return json.dumps({"id": id, "shots": [one | shot for shot in shots or ({},)]} | more)


def until(look, wait_s: float = 120.0):
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("it takes too long")


@pytest.fixture
def studio(home, base):
    made = []

    def opened(**changes):
        data = {"kind": "play", "name": "play", "model": {"family": "sd15", "source": str(base)}} | changes
        run = create(home.outputs, jobfile.parse(play.Config, data))
        supervisor.start(run, home)
        made.append(run)
        return run

    yield opened
    for run in made:
        if run.status() == "running":
            run.command("stop")
            until(lambda run=run: not run.locked())


def ask(run, text: str) -> dict:
    run.command("draw", request=text)
    return until(lambda: play.told_of(run.path, json.loads(text)["id"]))


@pytest.mark.slow
def test_one_request_after_the_other_and_a_fault_ends_nothing(studio, home):
    run = studio()
    first = ask(run, request("aaaaaaaa"))
    assert first["files"] == ["samples/aaaaaaaa_0.png"] and not first["error"] and first["memory_bytes"] > 1e7
    wrong = ask(run, request("bbbbbbbb", {"sampler": "magic"}))
    assert "sampler is 'magic'" in wrong["error"] and wrong["files"] == []
    assert "no such run" in ask(run, request("cccccccc", {"loras": [["nobody", 1.0]]}))["error"]
    film = ask(run, request("dddddddd", {"seed": 1}, {"seed": 2}, film=True))
    assert len(film["files"]) == 2 and film["film"] == "samples/dddddddd.mp4"
    with Image.open(run.path / "samples/dddddddd.gif") as gif:
        assert gif.n_frames == 2
    again = ask(run, request("eeeeeeee"))
    assert (run.path / again["files"][0]).read_bytes() == (run.path / first["files"][0]).read_bytes()
    assert pictureinfo.read(run.path / first["files"][0])[1]["prompt"] == "a red cat"
    view = run.view()
    assert view.phase == play.READY and view.memory_bytes > 1e7 and len(view.samples) == 4 and run.status() == "running"
    assert supervisor.running(home) is None, "who waits is in nobody's way"
    run.command("draw", request="{")
    until(lambda: run.view().warnings)
    run.command("stop")
    until(lambda: run.status() == "stopped")


@pytest.mark.slow
def test_it_leaves_when_nobody_asks_and_comes_back(studio, home):
    run = studio(idle_minutes=0.002)
    until(lambda: run.status() == "stopped")
    until(lambda: not run.locked())
    assert supervisor.start(run, home) == "started"


@pytest.mark.slow
def test_a_training_sends_it_away_and_it_waits_for_the_training(studio, home, base, dataset):
    run = studio()
    until(lambda: run.view().phase == play.READY)
    training = create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, dataset, steps=100_000)))
    assert supervisor.in_the_way(training, home) is None
    assert supervisor.start(training, home) == "started" and run.status() == "stopped"
    try:
        with pytest.raises(ValueError, match="'tiny' is using the machine; the Playground draws again when it has ended"):
            supervisor.start(run, home)
        late = create(home.outputs, jobfile.parse(play.Config, {"kind": "play", "name": "late", "model": {"family": "sd15", "source": str(base)}}))
        with pytest.raises(ValueError, match="is using the machine"):
            supervisor.start(late, home)
        assert late.status() == "stopped", "it does not begin by itself later"
    finally:
        training.command("stop")
        until(lambda: not training.locked())


@pytest.mark.slow
def test_the_queue_sends_it_away_too(studio, home, base, dataset):
    run = studio()
    until(lambda: run.view().phase == play.READY)
    training = create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, dataset, steps=100_000)))
    until(lambda: supervisor.tick(home) == [training.id])
    assert run.status() == "stopped"
    training.command("stop")
    until(lambda: not training.locked())


@pytest.mark.slow
def test_a_repair_is_drawn_as_the_file_that_is_saved_draws(studio, home, base, tool, tmp_path):
    run = studio()
    weights = load_file(base / "unet/diffusion_pytorch_model.safetensors")
    layers = [k.removesuffix(".weight") for k in weights if k.endswith("to_q.weight")]
    rng, lora = np.random.default_rng(1), {}
    for layer in layers:
        out, inputs = weights[f"{layer}.weight"].shape
        lora |= {f"unet.{layer}.lora_A.weight": rng.normal(size=(2, inputs)).astype("f4"), f"unet.{layer}.lora_B.weight": rng.normal(size=(out, 2)).astype("f4")}
    file = tmp_path / "own.safetensors"
    save_file(lora, file)
    held = repair.blocks_in(file)
    rules = repair.rules(held, {held[0].name: -1.0, held[-1].name: 0.3}, 1)
    told = [{"loras": [[str(file), 0.7]]}, {"loras": [[str(file), 0.7]], "blocks": rules}]
    before, repaired = ask(run, request("aaaaaaaa", *told))["files"]
    saved = tool("scale", adapter=str(file), strength=0.7, blocks=[{"adapter": n, "pattern": p, "strength": f} for n, p, f in rules]).result()
    (again,) = ask(run, request("bbbbbbbb", {"loras": [[str(saved), 1.0]]}))["files"]
    pixels = [np.asarray(Image.open(run.path / f)) for f in (before, repaired, again)]
    assert np.array_equal(pixels[1], pixels[2]) and not np.array_equal(pixels[0], pixels[1])
    assert sum(e.get("name") == "loading the denoiser" for e in run.events()[0]) == 1
