"""Easel from Python: what the package easel does, in real workers, and docs/api.md's example."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import easel
from easel import jobs
from tests import tiny
from tests.runs.conftest import make, until, workshop  # noqa: F401 a fixture
from training import registry
from training.home import REPO
from training.runs import supervisor

HEAVY = ("torch", "diffusers", "transformers", "peft", "gradio", "numpy", "huggingface_hub")


@pytest.fixture
def here(workshop):  # noqa: F811
    return workshop


def walk(home, **fields):
    """A run of the small job that walks some steps, begun as the API begins one."""
    return jobs.begin(registry.get("jobs", "walk", home.plugins).Config(name="wänder", **fields), home)


def test_importing_it_brings_nothing_heavy_and_asks_for_every_name():
    code = f"import easel, sys; early = 'training.config' in sys.modules; [getattr(easel, n) for n in easel.__all__]; print(early, [m for m in {HEAVY!r} if m in sys.modules], dir(easel) == sorted(easel.__all__))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False [] True"


def test_a_run_tells_its_events_as_they_come_and_is_waited_for(here):
    run = walk(here, steps=4)
    events = list(run.events())
    assert [e["step"] for e in events if e["kind"] == "step"][-1] == 4 and events[-1]["kind"] == "finished" == run.wait().status
    assert list(run.events(follow=False)) == events and (run.view.step, run.why) == (4, "")
    assert [r.id for r in easel.runs("walk", here)] == [run.id] and easel.open_run(run.id, here) == run
    run.delete()
    assert not run.path.exists() and easel.runs(home=here) == []
    with pytest.raises(ValueError, match="there is no run called"):
        easel.open_run(run.id, here)


@pytest.mark.slow
def test_a_worker_that_is_slow_to_say_that_it_lives_is_waited_for(here, monkeypatch, capsys):
    from training.commands.watching import launch

    monkeypatch.setattr(supervisor, "ANNOUNCED_WITHIN_S", 0.0)
    run = easel.open_run(make(here, steps=2).id, here)
    run.stop()
    run.resume()
    assert [e["kind"] for e in run.events()][-1] == "finished" and run.wait().status == "finished"
    launch(registry.get("jobs", "walk", here.plugins).Config(name="x", steps=1), here, detach=True)
    assert "It runs by itself now." in capsys.readouterr().out
    easel.runs(home=here)[0].wait()


@pytest.mark.slow
def test_a_run_is_stopped_resumed_and_one_that_fails_says_why(here):
    run = walk(here, steps=100_000, pause_s=0.01)
    with pytest.raises(TimeoutError, match="goes on by itself"):
        run.wait(timeout_s=0.1)
    assert until(lambda: run.view.step)
    run.stop()
    assert run.wait().status == "stopped"
    assert run.resume().status == "running"
    run.stop()
    assert run.wait().status == "stopped" and run.view.attempt == 2
    with pytest.raises(ValueError, match="is not running"):
        run.stop()
    failed = jobs.begin(registry.get("jobs", "trouble", here.plugins).Config(name="x", how="value"), here)
    with pytest.raises(easel.RunFailed, match="The picture 'a.png' is broken; remove it") as error:
        failed.wait()
    assert error.value.run == failed


def test_without_the_app_who_waits_moves_the_queue(here):
    first = make(here, steps=1_000_000)
    supervisor.start(first, here)
    second = walk(here, steps=2)
    assert second.status == "queued"
    first.command("stop")
    assert second.wait().status == "finished"


def test_datasets_are_made_added_to_and_deleted(here, tmp_path):
    pictures = tiny.pictures(tmp_path / "pictures", 3)
    made = easel.datasets.make("my cat", [pictures / "picture 0.png", pictures / "picture 0.txt"], here)
    assert (made.name, made.said, made.dataset.counts().captioned) == ("my cat", "1 picture added, 1 caption paired", 1)
    assert easel.datasets.add("my cat", pictures, here).said == "2 pictures added, 3 captions paired, 1 already there"
    assert [ds.name for ds in easel.datasets.all(here)] == ["my cat"] and easel.datasets.open(str(pictures), here).in_place
    (tmp_path / "not.png").write_text("no picture", encoding="utf-8")
    for sources, said in (([tmp_path / "nowhere"], "there is no file or folder"), ([tmp_path / "not.png"], "nothing could be made a dataset of")):
        with pytest.raises(ValueError, match=said):
            easel.datasets.make("other", sources, here)
    easel.datasets.delete("my cat", here)
    assert easel.datasets.all(here) == []


def test_a_job_is_made_of_a_preset_and_what_is_wrong_is_said_before_anything_is_made(here, tmp_path):
    pictures = tiny.pictures(tmp_path / "pictures", 3)
    config = easel.presets.config("builtin-character", dataset=str(pictures), trigger="zibbo", quality="quick", settings={"steps": 7}, home=here)
    assert (config.steps, config.trigger, config.preset, config.device) == (7, "zibbo", "builtin-character", config.device)
    guess = easel.estimate(config, home=here)
    assert guess.steps == 7 and guess.fits and guess == easel.estimate(config.model_dump(mode="json"), home=here)
    nine_steps = easel.estimate(config.model_dump(mode="json") | {"steps": 9}, home=here)
    assert nine_steps.steps == 9
    with pytest.raises(easel.presets.Wrong, match="did you mean 'adapter.rank'") as error:
        easel.presets.config("builtin-character", dataset=str(pictures), settings={"adapter.rnak": 4}, home=here)
    assert error.value.problems[0][0] == "adapter.rnak"
    slider = config.model_dump(mode="json") | {"loss": config.loss.model_dump(mode="json") | {"objective": "slider"}}
    huge = config.model_dump(mode="json") | {"data": config.data.model_dump(mode="json") | {"batch_size": 256, "resolutions": [4096]}}
    for job, said in (
        (slider, "concept.targets"), ({"name": "x"}, "steps|model: is missing"), (huge, "does not fit this computer.*anyway"),
        (config.model_copy(update={"data": config.data.model_copy(update={"datasets": ()})}), "data.datasets"), (tmp_path / "none.yaml", "none.yaml"),
    ):  # fmt: skip
        with pytest.raises((ValueError, OSError), match=said):
            easel.train(job, home=here)
    with pytest.raises(ValueError, match="there is no captioning plugin called 'nobody'"):
        easel.caption(str(pictures), "nobody", home=here)
    with pytest.raises(ValueError, match="say which base model draws"):
        easel.generate("a cat", home=here)
    with pytest.raises(ValueError, match="there is no run called"):
        easel.publish("none", "me/none", home=here)
    assert easel.runs(home=here) == []


def test_presets_are_those_of_the_page(here):
    found = {p.id: p for p in easel.presets.all(here)}
    assert easel.presets.recommended(here).id in found and easel.presets.hindrance(found["builtin-character"], here) == ""


@pytest.mark.slow
def test_the_example_of_the_docs_trains_and_draws(here, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EASEL_HOME", str(here.root))
    code = re.search(r"^## Python$.*?^```python$(.*?)^```$", (REPO / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]
    small = {"steps": 2, "data.resolutions": [64], "data.batch_size": 1, "sample.every": 0, "keep.on": False}
    for there, it in (("/home/me/pictures/cat", str(tiny.pictures(tmp_path / "cat", 3))), ('{"steps": 400}', repr(small)), ("steps=10", "steps=1, sizes=[[64, 64]]")):
        assert there in code
        code = code.replace(there, it)
    made: dict = {}
    exec(compile(code, "docs/api.md", "exec"), made)  # noqa: S102 an example of our own page
    assert made["run"].result.name == "zibbo.safetensors" and len(made["pictures"].samples) == 1
    said = capsys.readouterr().out
    assert "3 pictures added, 3 captions paired" in said and "\n2 " in said and "zibbo.safetensors" in said
