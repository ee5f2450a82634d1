"""The card above the captions: what people typed stays text, what is chosen decides what is shown and what is reached."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.ui import story
from training.data import datasets, rewriting
from training.data.tally import tally
from training.home import Home
from ui.tabs.captions import editing, panel, scope
from ui.tabs.captions.tab import look_at

EVIL = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def ds(tmp_path):
    home = Home(tmp_path / "home").made()
    made = datasets.open_dataset(home, story.pictures(home, 4))
    made.set_captions({"p0.png": "zibbo, smile, sky", "p1.png": "zibbo, Smile", "p2.png": "zibbo, grin", "p3.png": ""}, "typed")
    return made


def look(ds, **view):
    return look_at(ds, scope.FIRST_VIEW | view, "zibbo")


def test_what_people_typed_stays_text():
    told = tally({"a": (f"{EVIL}, sky", ), "b": ("sky",)}, EVIL)
    view = scope.FIRST_VIEW | {"tags": [EVIL, "sky"], "find": EVIL, "cloud": "once"}
    found = rewriting.preview({EVIL: f"{EVIL} sky"}, rewriting.replacing("sky", EVIL))
    for html in (panel.card(told, told.tags, view, 1, 1, EVIL), panel.card(told, told.tags, scope.FIRST_VIEW, 1, 1, EVIL), panel.previewed(found)):
        assert "<img src=x" not in html and "&lt;img src=x" in html
    assert "Nothing would change" in panel.previewed(rewriting.Preview(0, 0, {}))


def test_tags_narrow_what_is_shown_and_a_selection_what_is_reached(ds):
    ids = lambda pictures: [p.id for p in pictures]
    assert ids(look(ds).shown) == ["p0.png", "p1.png", "p2.png", "p3.png"] and ids(look(ds).reach) == ["p0.png", "p1.png", "p2.png"]
    assert ids(look(ds, tags=["smile"]).shown) == ["p0.png", "p1.png"]
    assert ids(look(ds, tags=["smile", "sky"]).shown) == ["p0.png"]
    assert ids(look(ds, tags=["smile", "grin"], any=True).shown) == ["p0.png", "p1.png", "p2.png"]
    assert ids(look(ds, tags=["smile"], picks=["p1.png", "gone.png"]).reach) == ["p1.png"]
    assert ids(look(ds, only=scope.BARE).shown) == ["p3.png"] and look(ds, page=99).view["page"] == 0
    ds.set_caption("p3.png", "zibbo, grin")
    assert ids(look(ds, only=scope.SAME).shown) == ["p2.png", "p3.png"] and ids(look(ds, only=scope.LACKS).shown) == []


def test_a_change_reaches_those_and_undo_takes_it_back(ds):
    view = scope.FIRST_VIEW | {"tags": ["smile", "grin"]}
    every = ["p0.png", "p1.png", "p2.png"]
    assert editing.changed(ds, "rename", "happy", view, look(ds).told, "zibbo", every) == 3
    assert [ds.caption(i) for i in every] == ["zibbo, happy, sky", "zibbo, happy", "zibbo, happy"] and editing.after(view, "rename", "happy")["tags"] == ["happy"]
    ds.undo()
    assert editing.changed(ds, "untagged", "", view, look(ds).told, "zibbo", ["p1.png"]) == 1 and ds.caption("p1.png") == "zibbo"
    for act in ("sort", "often", "twice", "spaced", "underscored", "front", "back"):
        editing.changed(ds, act, "a new one", view, look(ds).told, "zibbo", every)
    assert ds.caption("p0.png") == "a new one, zibbo, sky, smile"
    for wrong in ("", "a, b", "a ||| b"):
        with pytest.raises(ValueError, match="Type the tag|more than one tag"):
            editing.changed(ds, "front", wrong, view, look(ds).told, "", every)


def test_each_press_that_looks_changes_the_view_alone():
    view = editing.plain({"page": 3, "query": "x"})
    on = editing.looked(view, "tag", SimpleNamespace(tag="sky"))
    assert (on["page"], on["tags"]) == (0, ["sky"]) and editing.looked(on, "tag", SimpleNamespace(tag="Sky"))["tags"] == []
    assert editing.looked(on, "untag", None)["tags"] == [] and editing.looked(on, "any", None)["any"]
    assert editing.looked(on, "only", SimpleNamespace(only="cut")) == on | {"only": "cut", "query": "", "tags": []}
    assert editing.looked(on, "cloud", SimpleNamespace(id="once"))["cloud"] == "once" and editing.looked(on, "more", None)["more"]
