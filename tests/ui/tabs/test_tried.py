"""A captioner tried on a few pictures, and whom it reaches: what is shown, what is written and when."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from tests.ui import story
from training.data import datasets
from training.home import Home
from training.jobs import caption
from training.runs.context import Context
from training.runs.run import create, list_runs
from ui.tabs.captions import captioner, scope, tried
from ui.tabs.captions.tab import _Tab, look_at

EVIL = '"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("tried") / "home").made()


@pytest.fixture(scope="module")
def ds(home):
    """Four pictures; whoever changes a caption takes it back."""
    made = datasets.open_dataset(home, story.pictures(home, 4))
    made.set_captions({"p0.png": "1girl, solo", "p1.png": "", "p2.png": EVIL, "p3.png": ""}, "typed")
    return made


def test_a_trial_is_shown_beside_what_is_there_and_written_when_it_is_accepted(home, ds):
    run = create(home.outputs, caption.Config(name="words", dataset=ds.name, captioner="filename", mode="overwrite", trial=True))
    items = {"p0.png": ("tried", "1girl, solo, hat"), "p1.png": ("failed", EVIL), "p2.png": ("tried", f"{EVIL}!"), "gone.png": ("tried", "x")}
    shown = lambda: tried.card(run, {p.id: p for p in ds.pictures(check=False)}, items, lambda p: "/thumb", tried.go(scope.Whom(ds.pictures(check=False)), True))
    html = shown()
    assert tried.is_trial(run) and "Tried on 3 pictures" in html and "Accept all 2" in html and "Start on the rest" in html and "gone.png" not in html
    assert "1girl, solo<ins>, </ins><ins>hat</ins>" in html.replace("<ins>, hat</ins>", "<ins>, </ins><ins>hat</ins>") and "<img src=x" not in html
    assert tried.accept(ds, run, items, "p0.png") == 1 and ds.caption("p0.png") == "1girl, solo, hat" and ds.get("p0.png").caption_source == "filename"
    assert "As proposed" in shown() and "Accept it" in shown()
    assert tried.accept(ds, run, items, "") == 1 and ds.caption("p2.png") == f"{EVIL}!" and "Nothing is left to accept" in shown()
    assert ds.undo() == ds.undo() == "1 caption put back" and ds.caption("p0.png") == "1girl, solo"
    with pytest.raises(ValueError, match="nothing to accept"):
        tried.accept(ds, run, items, "p1.png")


def trial_of(home, ds, mode: str, **was) -> tuple:
    """(a trial, its items), as its job leaves them."""
    run = create(home.outputs, caption.Config(name="words", dataset=ds.name, captioner="filename", mode=mode, trial=True))
    ctx = Context(run, home, attempt=1)
    for id, there in was.items():
        ctx.emit("item", id=f"{id}.png", status="tried", text=f"{there}, proposed".strip(", "), was=there)
    return run, {id: (status, text) for id, status, text in run.view().items}


@pytest.mark.parametrize(("mode", "typed"), [("missing", "p1"), ("append", "p0")])
def test_what_was_typed_since_a_trial_is_not_written_over_by_accept_all(home, ds, mode, typed):
    run, items = trial_of(home, ds, mode, **({"p1": "", "p3": ""} if mode == "missing" else {"p0": "1girl, solo", "p3": ""}))
    ds.set_caption(f"{typed}.png", "typed since")
    html = tried.card(run, {p.id: p for p in ds.pictures(check=False)}, items, lambda p: "/thumb", "")
    assert "Accept it" in html and "typed since" in html
    assert tried.accept(ds, run, items, "") == 1 and ds.caption(f"{typed}.png") == "typed since" and ds.caption("p3.png") == "proposed"
    assert tried.accept(ds, run, items, "") == 0
    assert tried.accept(ds, run, items, f"{typed}.png") == 1, "by itself it is the person's word"
    for _ in range(3):
        ds.undo()
    assert ds.caption("p3.png") == "" and ds.caption("p0.png") == "1girl, solo"


def test_a_caption_that_was_typed_and_a_selection_are_on_the_card_at_once(home, ds):
    run, _ = trial_of(home, ds, "missing", p1="")
    watch = SimpleNamespace(status=lambda run: (run.view(), "finished"))
    tab = _Tab(SimpleNamespace(**dict.fromkeys(["view", "seen", "missing", "empty", "body", "form", "job", "undo", "cut", "grid", "swap", "add_front", "add_behind", "panel"])), SimpleNamespace(home=home, watch=watch, url=str))
    beside = lambda **view: tab._beside_the_grid(ds, scope.FIRST_VIEW | view)[6]
    assert "Start on the rest (2)" in beside() and 'data-reach=""' in beside()
    ds.set_caption("p1.png", "typed since")
    assert "typed since" in beside() and "Start on the rest (1)" in beside()
    picked = beside(picks=["p3.png"])
    assert "Start on 1 picture<" in picked and "Only the picture that is selected." in picked and 'data-reach="selected 1"' in picked
    tab.form_act(ds.name, dict(scope.FIRST_VIEW), SimpleNamespace(act="captioner", id="filename"))
    assert "Start on all (4)" in tab.form_act(ds.name, dict(scope.FIRST_VIEW), SimpleNamespace(act="mode", id="overwrite"))[7]
    tab.form_act(ds.name, dict(scope.FIRST_VIEW), SimpleNamespace(act="mode", id="missing"))
    press = lambda reach: tab.job_act(ds.name, scope.FIRST_VIEW | {"picks": ["p3.png"]}, SimpleNamespace(act="go", reach=reach))
    tab.ctx.soon = lambda: "soon"
    refused = press("")
    assert "other pictures than the page said" in refused[6] and "Start on 1 picture<" in refused[7] and next(iter(list_runs(home.outputs))).id == run.id
    assert press("selected 1")[0] == "soon" and list_runs(home.outputs)[0].job()["pictures"] == ["p3.png"]
    ds.undo()
    for made in list_runs(home.outputs):
        shutil.rmtree(made.path)


def test_whom_a_captioner_reaches(ds):
    def reached(**view):
        look = look_at(ds, scope.FIRST_VIEW | view, "")
        whom = scope.to_caption(look.shown, look.view, look.pictures)
        return [p.id for p in whom.pictures], whom.said

    assert reached() == (["p0.png", "p1.png", "p2.png", "p3.png"], "")
    assert reached(picks=["p3.png", "gone.png"]) == (["p3.png"], "Only the picture that is selected.")
    assert reached(picks=["p0.png", "p1.png"], only=scope.BARE) == (["p0.png", "p1.png"], "Only the 2 pictures that are selected.")
    assert reached(only=scope.BARE) == (["p1.png", "p3.png"], "Only the 2 pictures that are shown, on every page.")
    assert reached(query="nothing has this") == ([], "No picture is shown, so none is reached.")


def test_a_press_reaches_whom_the_page_said_or_nobody(home, ds):
    tab = _Tab(None, SimpleNamespace(home=home))
    whom = lambda trial=False, said=None, **view: tab._whom(ds, scope.FIRST_VIEW | view, trial, said)
    assert whom() == whom(said="") == ([], "") and whom(trial=True) == (["p1.png", "p3.png"], "")  # only what is missing
    two = "selected 2"
    assert whom(said=two, picks=["p0.png", "p1.png"]) == (["p1.png"], "")
    assert "other pictures than the page said" in whom(said=two, picks=["p1.png"])[1] and "other pictures" in whom(said="", query="solo")[1]
    assert "These 2 pictures have a caption already; choose All anew" in whom(picks=["p0.png", "p2.png"])[1] and "No picture is shown" in whom(query="nothing has this")[1]


def test_how_new_text_is_put_beside_the_old_one_is_part_of_the_job(home, ds):
    found = captioner.plugins(home)
    made = lambda kept, **more: captioner.job(home, ds, captioner.complete(kept, found), "cpu", **more)[0]
    kept = captioner.edited(captioner.Kept(captioner="filename", mode="append", place="front"), "filename", "@apart", "off")
    config = made(kept, pictures=["p1.png"], trial=True)
    assert (config.place, config.apart, config.pictures, config.trial) == ("front", False, ("p1.png",), True)
    assert made(kept.model_copy(update={"place": "line"})).apart and made(kept.model_copy(update={"mode": "missing"})).place == "behind"
    html = lambda kept, **more: captioner.render(home, captioner.complete(kept, found), {}, **more)
    assert "@apart" in html(kept) and "@apart" not in html(kept.model_copy(update={"place": "line"})) and 'data-act="place"' not in html(captioner.Kept())
    assert html(kept, reach="Only these.", mark="shown 2").count('data-reach="shown 2"') == 2
    assert "Only <b>" not in html(kept, reach="Only <b>") and "Only &lt;b&gt;" in html(kept, reach="Only <b>")


def test_a_package_that_a_captioner_lacks_keeps_it_from_starting(home, ds, monkeypatch):
    found = captioner.plugins(home)
    monkeypatch.setattr(found["tagger"].module, "NEEDS", {"no_such_module": "no-such-package"})
    now = captioner.complete(captioner.Kept(captioner="tagger"), found)
    config, wrong = captioner.job(home, ds, now, "cpu")
    assert config is None and "-m pip install no-such-package" in wrong[""] and wrong[""] == captioner.notice(home, now)
    asks = captioner.complete(captioner.edited(captioner.Kept(captioner="vision"), "vision", "ask", "training"), found)
    assert "type a trigger word" in captioner.job(home, ds, asks, "cpu")[1][""]
    assert list(found)[:3] == ["florence2", "vision", "tagger"]
