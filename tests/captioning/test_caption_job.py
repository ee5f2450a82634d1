"""The captioning job: what it writes, what it leaves alone, and how it ends."""

from __future__ import annotations

import shutil
import time

import pytest
from PIL import Image

from tests.data.make import film, filmed, write
from training import jobfile
from training.data import datasets
from training.home import find_home
from training.jobs import caption
from training.runs import supervisor
from training.runs.context import Context, Stopped
from training.runs.run import create

# a captioner as a user would drop it into <home>/plugins/captioning
SIZES = '''
from pydantic import BaseModel
TITLE, BLURB, NEEDS_PIXELS = "Sizes", "Says the size.", True
class Options(BaseModel):
    model_config = {"extra": "forbid"}
    batch_size: int = 2
    slow_s: float = 0.0
def needs(options): return ""
def load(options, device): return options
def caption(state, pictures, names):
    import time
    time.sleep(state.slow_s)
    if any("angry" in name for name in names):
        raise RuntimeError("I do not like this one")
    return ["" if "mute" in name else f"{p.mode} {p.width}x{p.height}" for p, name in zip(pictures, names)]
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three pictures, one with a caption, that have been through the gate."""
    folder = tmp_path_factory.mktemp("made")
    ds = datasets.create(find_home(folder), "Ünï '& 日本")
    for i, name in enumerate(("red fox", "blue cat", "IMG_0001")):
        write(ds.path / f"{name}.png", i, size=(100 + i, 80))
    (ds.path / "blue cat.txt").write_text("a cat")
    ds.check()
    return ds


@pytest.fixture
def ds(home, made):
    """A copy of them, and a captioner of the user's own."""
    (home.plugins / "captioning").mkdir(parents=True)
    (home.plugins / "captioning" / "sizes.py").write_text(SIZES)
    shutil.copytree(made.path, home.datasets / made.name)  # keeps the times, so that nothing needs to be checked again
    return datasets.open_dataset(home, made.name)


def captioned(home, ds, attempt=1, run=None, **fields):
    """The run, after the job went through in this process."""
    run = run or create(home.outputs, caption.Config(name="words", dataset=ds.name, **fields))
    caption.run(run.config(), Context(run, home, attempt))
    return run


def items(run):
    return {id: (status, text) for id, status, text in run.view().items}


def test_only_the_missing_ones_and_never_an_empty_one(home, ds):
    run = captioned(home, ds, captioner="filename", trigger="zibbo")
    assert {p.id: p.caption for p in ds.pictures()} == {"blue cat.png": "a cat", "IMG_0001.png": "", "red fox.png": "zibbo, red fox"}
    assert items(run) == {
        "blue cat.png": ("skipped", "a cat"), "IMG_0001.png": ("failed", "no words in this name"), "red fox.png": ("done", "zibbo, red fox"),
    }  # fmt: skip
    assert not (ds.path / "IMG_0001.txt").exists()
    assert run.view().summary == "1 captioned, 1 had one already, 1 failed"
    assert ds.get("red fox.png").caption_source == "filename"


def test_a_caption_typed_while_it_runs_is_kept(home, ds, monkeypatch):
    answers = caption._answers

    def typing(*given):
        ds.set_caption("red fox.png", "my own words")
        return answers(*given)

    monkeypatch.setattr(caption, "_answers", typing)
    run = captioned(home, ds, captioner="template", options={"text": "a picture"})
    assert {p.id: p.caption for p in ds.pictures()} == {"blue cat.png": "a cat", "IMG_0001.png": "a picture", "red fox.png": "my own words"}
    assert items(run)["red fox.png"] == ("skipped", "my own words") and run.view().summary == "1 captioned, 2 had one already"


def test_append_and_overwrite(home, ds):
    captioned(home, ds, captioner="filename", mode="append")
    assert ds.caption("blue cat.png") == "a cat, blue cat"
    captioned(home, ds, captioner="template", mode="overwrite", trigger="zibbo", options={"text": "[trigger] {index}"})
    assert [p.caption for p in ds.pictures()] == ["zibbo 1", "zibbo 2", "zibbo 3"]
    assert ds.undo() == "3 captions put back" and ds.undo() == "2 captions put back"
    assert [p.caption for p in ds.pictures()] == ["a cat", "", ""]


def test_a_trial_writes_nothing_and_shows_what_it_would(home, ds):
    run = captioned(home, ds, captioner="filename", mode="append", place="front", trial=True, pictures=("blue cat.png", "red fox.png"), trigger="zibbo")
    assert items(run) == {"blue cat.png": ("tried", "zibbo, blue cat, a cat"), "red fox.png": ("tried", "zibbo, red fox")}
    assert run.view().summary == "2 tried, nothing written"
    assert {p.id: p.caption for p in ds.pictures()} == {"blue cat.png": "a cat", "IMG_0001.png": "", "red fox.png": ""} and ds.can_undo() == ""


def test_only_the_named_pictures_and_each_way_of_adding(home, ds):
    ds.set_caption("red fox.png", "1girl, solo")
    captioned(home, ds, captioner="template", mode="append", options={"text": "A fox sits. It looks up."}, pictures=("red fox.png", "gone.png"))
    assert ds.caption("red fox.png") == "||| 1girl, solo ||| A fox sits. It looks up." and ds.caption("blue cat.png") == "a cat"
    captioned(home, ds, captioner="filename", mode="append", place="line", pictures=("red fox.png",), trigger="zibbo")
    assert ds.get("red fox.png").captions[1] == "zibbo, red fox"
    assert ds.undo() == ds.undo() == "1 caption put back" and ds.caption("red fox.png") == "1girl, solo"
    run = captioned(home, ds, captioner="filename", mode="overwrite", place="front", apart=False, pictures=("red fox.png",))
    assert list(run.view().warnings) == ["place has no effect: mode is 'overwrite'", "apart has no effect: mode is 'overwrite'"]
    for fields, reason in (({"pictures": ("gone.png",)}, "none of the 1 named pictures"), ({"mode": "append", "place": "line"}, "read as one caption")):
        ds.set_lines("one")
        with pytest.raises(ValueError, match=reason):
            captioned(home, ds, captioner="filename", **fields)


def test_pictures_reach_a_captioner_upright_and_a_bad_one_costs_only_itself(home, ds):
    for name in ("angry", "mute"):
        write(ds.path / f"{name}.png", hash(name) % 1000, size=(99, 80))
    (ds.path / "torn.png").write_bytes((ds.path / "red fox.png").read_bytes()[:400])
    run = captioned(home, ds, captioner="sizes", mode="overwrite")
    found = items(run)
    assert found["red fox.png"] == ("done", "RGB 100x80") and found["blue cat.png"][0] == "done"
    assert found["angry.png"] == ("failed", "RuntimeError: I do not like this one")
    assert found["mute.png"] == ("failed", "the captioner said nothing")
    assert found["torn.png"][0] == "failed" and "cut off" in found["torn.png"][1]
    assert run.view().summary == "3 captioned, 3 failed"


def test_a_captioner_that_fails_at_everything_is_the_jobs_failure(home, nasty, ds):
    ds.remove([p.id for p in ds.pictures()])
    for i in range(7):
        write(ds.path / f"angry {i}.png", i + 50)
    with pytest.raises(RuntimeError, match="do not like"):
        captioned(home, ds, captioner="sizes")


def test_what_cannot_work_is_refused_before_anything_changes(home, ds):
    before = [p.caption for p in ds.pictures()]
    for fields, reason in (
        ({"dataset": "nope"}, "no dataset called 'nope'"),
        ({"captioner": "florense2"}, "no captioning plugin called 'florense2'; did you mean 'florence2'. There are: .*florence2"),
        ({"captioner": "filename", "options": {"lowr": True}}, "did you mean 'lower'"),
        ({"captioner": "template", "options": {"text": "{color}"}}, "only {name} and {index}"),
        ({"captioner": "template"}, "type a trigger word"),
        ({"captioner": "florence2"}, "No caption was changed"),
    ):
        run = create(home.outputs, caption.Config(**{"name": "words", "dataset": ds.name, "mode": "overwrite", **fields}))
        with pytest.raises(ValueError, match=reason):
            caption.run(run.config(), Context(run, home, 1))
        assert [p.caption for p in ds.pictures()] == before and not [i for i in run.view().items if i[1] == "done"]


def test_a_dataset_without_pictures_is_refused(home, ds):
    empty = datasets.create(home, "empty")
    with pytest.raises(ValueError, match="no picture that can be captioned"):
        captioned(home, empty, captioner="filename")


def test_the_config_refuses_what_makes_no_sense():
    for fields, reason in (({"mode": "overwritee"}, "did you mean 'overwrite'"), ({"trigger": "a, b"}, "comma"), ({"datset": "x"}, "did you mean 'dataset'")):
        with pytest.raises(ValueError, match=reason):
            jobfile.parse(caption.Config, {"name": "a", "dataset": "d", **fields})


def test_stop_keeps_what_was_made_and_resume_goes_on(home, ds):
    ds.undo()
    run = create(home.outputs, caption.Config(name="words", dataset=ds.name, captioner="sizes", mode="append", options={"batch_size": 1}))
    ctx = Context(run, home, 1)

    class StopsAfterTwo(Context):
        def emit(self, kind, **data):
            super().emit(kind, **data)
            if kind == "item" and len(self.run.view().items) == 2:
                self.request_stop()

    ctx = StopsAfterTwo(run, home, 1)
    with pytest.raises(Stopped) as stopped:
        caption.run(run.config(), ctx)
    assert stopped.value.step == 2
    assert sum("RGB" in p.caption for p in ds.pictures()) == 2
    captioned(home, ds, attempt=2, run=run)
    assert [p.caption for p in ds.pictures()] == ["a cat, RGB 101x80", "RGB 102x80", "RGB 100x80"], "append did not append twice"
    assert run.view().summary == "3 captioned"


def test_a_caption_typed_meanwhile_and_a_picture_removed_meanwhile(home, ds):
    class Meddles(Context):
        def phase(self, name, *args, **kwargs):
            super().phase(name, *args, **kwargs)
            if name == "loading captioner":
                ds.set_caption("red fox.png", "typed")
                ds.remove(["blue cat.png"])

    run = create(home.outputs, caption.Config(name="words", dataset=ds.name, captioner="filename", mode="append"))
    caption.run(run.config(), Meddles(run, home, 1))
    assert ds.caption("red fox.png") == "typed, red fox"
    assert items(run)["blue cat.png"] == ("failed", "was removed in the meantime")


@pytest.mark.slow
def test_in_a_worker_of_its_own_stopped_from_outside(home, ds):
    config = caption.Config(name="words", dataset=ds.name, captioner="sizes", mode="overwrite", options={"batch_size": 1, "slow_s": 1.5})
    run = create(home.outputs, config)
    supervisor.start(run, home)
    until(lambda: run.view().items)
    run.command("stop")
    until(lambda: run.status() not in ("queued", "running"))
    assert run.status() == "stopped", run.log_tail()
    done = [id for id, status, _ in run.view().items if status == "done"]
    assert 1 <= len(done) < 3 and all(ds.caption(id).startswith("RGB") for id in done)


@pytest.mark.slow
def test_florence_as_a_job(home, ds, tmp_path):
    from .tiny_florence2 import build

    folder = build(tmp_path / "florence")
    film(ds.path / "film.mp4", [(1, 12), (2, 12)])
    run = captioned(home, ds, captioner="florence2", mode="overwrite", trigger="zibbo", options={"folder": str(folder), "max_tokens": 10, "batch_size": 2})
    stills = [p for p in ds.pictures() if not p.seconds]
    assert all(p.caption.startswith("zibbo, ") and len(p.caption) > 9 and p.caption_source == "florence2" for p in stills)
    assert [line.split(" zibbo, ")[0] for line in ds.caption("film.mp4").split("\n")] == ["[0:00]", "[0:00.5]"]
    assert run.view().summary == "4 captioned"


# what each frame is like, said by its brightness
LIGHT = '''
from pydantic import BaseModel
TITLE, BLURB, NEEDS_PIXELS = "Light", "Says how light.", True
class Options(BaseModel):
    batch_size: int = 4
def needs(options): return ""
def load(options, device): return options
def caption(state, pictures, names):
    return ["light" if sum(p.resize((1, 1)).getpixel((0, 0))) > 380 else "dark" for p in pictures]
'''


def test_each_scene_of_a_clip_gets_a_line_with_its_time(home):
    (home.plugins / "captioning").mkdir(parents=True)
    (home.plugins / "captioning" / "light.py").write_text(LIGHT)
    ds = datasets.create(home, "films")
    plain = lambda level, count: [Image.new("RGB", (96, 64), (level,) * 3)] * count
    filmed(ds.path / "a.mp4", plain(20, 24) + plain(230, 12) + plain(20, 12))
    filmed(ds.path / "b.mp4", plain(230, 12))
    captioned(home, ds, captioner="light", trigger="zibbo")
    assert ds.caption("a.mp4") == "[0:00] zibbo, dark\n[0:01] zibbo, light\n[0:01.5] zibbo, dark" and ds.caption("b.mp4") == "zibbo, light"
    assert ds.get("a.mp4").captions == ("zibbo, dark", "zibbo, light")
    ds.set_caption("a.mp4", "a room\n[0:00] old")
    ds.trim("a.mp4", 0.5, 1.25)
    captioned(home, ds, captioner="light", mode="append")
    assert ds.caption("a.mp4") == "a room\n[0:00.5] dark\n[0:01] light"
    captioned(home, ds, captioner="light", mode="overwrite", scenes=False)
    assert ds.caption("a.mp4") == "dark"
    ds.set_caption("a.mp4", "a room\n[0:01] light, wide")
    assert ds.prefix("zibbo, ", ["a.mp4"]) == 1 and ds.caption("a.mp4") == "zibbo, a room\n[0:01] zibbo, light, wide"


def until(true, wait_s=60.0):
    deadline = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
