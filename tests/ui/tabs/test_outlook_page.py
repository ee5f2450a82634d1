"""How a run goes, in a line with a button; the pictures that do not teach, with what can be done about each; both escaped."""

from __future__ import annotations

import json
import threading
import time

import pytest
from PIL import Image

from tests import tiny
from training import jobfile, registry
from training.data import health, suspects
from training.data.datasets import open_dataset
from training.data.health import Goal
from training.plan.going import Facts, Going, going
from training.runs import outlook as looked
from training.runs.events import RunView
from training.runs.run import create
from ui.tabs.results import outlook
from ui.tabs.train.draft import Draft

DIVERGING = going(RunView(step=500, of=1000, pairs=((1, 2.0),) * 20), Facts(1e-3, 1000))


def test_the_line_says_what_was_measured_and_offers_the_next_run():
    said = outlook.line(DIVERGING, False)
    assert 'data-act="next-run"' in said and "ez-warn" in said and "a tenth of the learning rate" in said
    assert outlook.line(Going(), False) == outlook.line(Going("early", "Too early to say how it goes."), True) == ""
    assert "ez-btn" not in outlook.line(Going("fine", "It learns."), False)
    assert 'data-tab="captions"' in outlook.line(going(RunView(step=5, of=10), Facts(1e-3, 10, bare=1.0, pictures=3)), False)


def test_the_button_opens_the_form_with_what_helps_and_nothing_else():
    form, said = outlook.opened(Draft(name="cat", edits={"adapter.rank": "8"}), DIVERGING)
    assert form.edits == {"adapter.rank": "8", "optimizer.learning_rate": "1e-4"} and "‘Learning rate’" in said
    with pytest.raises(ValueError, match="look again"):
        outlook.opened(Draft(), Going("fine"))


def test_pictures_are_listed_with_what_can_be_done_while_it_runs():
    rows = [outlook.Picture("d/<b>.png", "<b>.png", "d", "/easel/thumb/d/x", "hard", 1.4, "It has no caption."), outlook.Picture("d/c.png", "c.png", "", "", "easy", 0.5, "Twice.")]
    shown = outlook.pictures(rows, [outlook.Weighed("d/e.png", "e.png", 0.0, 120)], True)
    assert "<b>.png" not in shown and 'data-name="d/&lt;b&gt;.png" data-value="0"' in shown and "loss 40 % above" in shown and "loss 50 % below" in shown
    assert "set aside" in shown and "since step 120" in shown and shown.count('data-act="caption"') == 1
    assert 'data-act="weigh"' not in outlook.pictures(rows, [], False) and outlook.pictures([], [], True) == ""


def test_a_guess_goes_by_the_caption_first_and_by_what_the_health_check_knows(home):
    tiny.pictures(home.datasets / "cats", 6)
    ds = open_dataset(home, "cats")
    (ds.path / "picture 2.txt").write_text("", encoding="utf-8")
    (ds.path / "picture 3.txt").write_text("solo, crowd", encoding="utf-8")
    picture = Image.open(ds.path / "picture 0.png")
    picture.resize((picture.width + 4, picture.height + 4)).save(ds.path / "twin.png")
    health.check(ds, Goal(side_px=32))
    said = suspects.reasons(ds, [f"picture {n}.png" for n in (1, 2, 3)], ["twin.png", "picture 5.png", "gone.png"], Goal(side_px=32))
    assert said["picture 2.png"] == suspects.NO_CAPTION and "one of the two is wrong" in said["picture 3.png"]
    assert "picture 0.png" in said["twin.png"] and said["picture 5.png"] == suspects.EASY_ELSE and "gone.png" not in said
    assert suspects.copies(ds, 100) == [["picture 0.png", "twin.png"]]


def test_facts_are_read_from_the_run_and_a_record_of_another_kind_says_nothing(home):
    run = create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(home.root, home.root, trigger="")))
    view = RunView(step=5, of=10, pairs=((1, 0.0),))
    assert looked.of(run, view) == Going(), "nothing is there yet"
    row = {"held_out": False, "prior": False, "captions": [""]}
    (run.path / "pictures.json").write_text(json.dumps([row, row | {"captions": ["a cat"], "prior": True}]), encoding="utf-8")
    assert looked.facts_of(run).pictures == 1 and looked.of(run, view).state == "wordless"
    (run.path / "pictures.json").write_text('[{"held_out": 3}, "x"]', encoding="utf-8")
    assert looked.of(run, view) == Going()


@pytest.mark.slow
def test_a_page_does_not_wait_for_a_guess_and_none_is_made_of_a_folder_that_a_stranger_names(ctx):
    tiny.pictures(ctx.home.datasets / "cats", 1)
    ds, go, asked = open_dataset(ctx.home, "cats"), threading.Event(), []
    picture = Image.open(ds.path / "picture 0.png")
    picture.resize((picture.width + 4, picture.height + 4)).save(ds.path / "twin.png")
    health.check(ds, Goal(side_px=32))
    run = create(ctx.home.outputs, jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(ctx.home.root, ds.path)))
    view = RunView(step=5, of=10, pictures=tuple((f"cats/{name}", 1, 0.0, 0.0, 0.0, 0.0, 0) for name in ("picture 0.png", "twin.png")))

    class Slow:
        """The page's context, whose home takes its time."""

        def __getattr__(self, name):
            if name == "home":
                asked.append(go.wait(20))
            return getattr(ctx, name)

    assert outlook.odd_of(Slow(), run, view) == outlook.odd_of(Slow(), run, view) == () and asked == []
    go.set()
    until = time.monotonic() + 20
    while not (rows := outlook.odd_of(Slow(), run, view)) and time.monotonic() < until:
        time.sleep(0.02)
    assert [row.name for row in rows] == ["picture 0.png", "twin.png"] and asked == [True]
    assert suspects.copies(ds, 1) == [], "they are more than may be compared"
    (run.path / "job.yaml").write_text((run.path / "job.yaml").read_text(encoding="utf-8") + "\n", encoding="utf-8")  # now nobody here wrote it
    assert outlook._guess(ctx, run, view, ()) == (), "the folder of another computer would be asked for"
