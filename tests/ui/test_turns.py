"""Answers that come late: an older one paints over nothing, and a press that would reach other pictures than the page says does nothing."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.ui import story
from training.data import datasets
from training.home import Home
from ui import shell, turns
from ui.tabs.captions import tab as captions
from ui.tabs.captions.scope import FIRST_VIEW


@pytest.fixture
def page(tmp_path):
    """(the Captions tab's handlers, the name of a dataset of four pictures)"""
    home = Home(tmp_path / "home").made()
    name = story.pictures(home, 4)
    ds = datasets.open_dataset(home, name)
    ds.set_captions({f"p{k}.png": f"number {k}" for k in range(4)}, "typed")
    with gr.Blocks():
        nothing = gr.State(None)
        ctx = shell.UiContext(home, True, False, "", (), nothing, nothing, nothing, nothing, nothing)
        parts = captions.build(ctx)
    return captions._Tab(parts, ctx), name


def skipped(values) -> bool:
    return all(value == gr.skip() for value in values)


def test_an_answer_that_comes_after_a_newer_question_paints_nothing(page):
    tab, name = page
    view = dict(FIRST_VIEW)
    going, go = threading.Event(), threading.Event()
    plain, slow = tab._look, []

    class Slow(captions._Tab):
        def _card(self, ds, look):
            if not slow:
                slow.append(True)
                going.set()
                assert go.wait(30)
            return super()._card(ds, look)

    old = []
    opened = threading.Thread(target=lambda: old.extend(Slow(tab.parts, tab.ctx).show(name, view)))
    opened.start()
    assert going.wait(30)
    found = tab.search(name, view, "number 3", "")
    go.set()
    opened.join(30)
    assert skipped(old) and len(old) == len(tab.outputs)
    assert found[0] is view and view["query"] == "number 3" and [p.id for p in plain(datasets.open_dataset(tab.ctx.home, name), view).reach] == ["p3.png"]


def test_a_part_is_not_painted_over_a_whole_that_was_begun_since():
    view = {}
    turn = turns.begin(view, {"page": 2})
    part = turns.now(view)
    assert view["page"] == 2 and turns.newest(view, turn) and turns.newest(view, part)
    turns.begin(view)
    assert not turns.newest(view, turn) and not turns.newest(view, part)


def test_a_press_that_would_reach_others_than_the_page_says_changes_nothing(page):
    tab, name = page
    ds = datasets.open_dataset(tab.ctx.home, name)
    view = FIRST_VIEW | {"query": "number 3"}
    tab.add_behind(", dusk", "Add behind in 4 captions", name, view)
    tab.swap("number", "no", False, True, "Replace in 4 captions", name, view)
    tab.panel_act(name, view, SimpleNamespace(act="front", value="dusk", of="4"))
    assert not any("dusk" in p.caption or "no " in p.caption for p in ds.pictures())
    tab.add_behind(", dusk", "Add behind in 1 caption", name, view)
    tab.panel_act(name, view, SimpleNamespace(act="front", value="a tag", of="1"))
    assert [p.caption for p in ds.pictures() if "dusk" in p.caption] == ["a tag, number 3, dusk"]


def test_only_the_tab_that_is_shown_is_painted_when_the_page_opens(tmp_path):
    nothing = SimpleNamespace()
    ctx = shell.UiContext(Home(tmp_path), True, False, "", (), *[nothing] * 5)
    asked = []
    for tab in ("", "dataset", "captions"):
        ctx.at_load(lambda tab=tab: asked.append(tab), [], ["one"], tab=tab)
    assert skipped(shell._merged(ctx.loads)("captions")[1:2]) and asked == ["", "captions"]
