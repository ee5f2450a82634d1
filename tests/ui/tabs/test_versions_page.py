"""The versions of a dataset and its bin on the page: what is listed, compared and said before; a run trained exactly again.  User text stays text."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from training.data import bin, datasets, states, versions
from training.data.bin import Kept
from training.data.states import State
from training.data.versions import Version
from training.home import Home
from ui.server import media
from ui.tabs.dataset import tab
from ui.tabs.dataset import versions as panel
from ui.tabs.dataset.imports import Imports
from ui.tabs.dataset.versions import Look

EVIL = '"><img src=x onerror=alert(1)>'
THUMB = lambda digest: f"/thumb/{digest[:4]}"


@pytest.fixture
def ctx(tmp_path):
    return SimpleNamespace(home=Home(tmp_path).made(), url=lambda path: path)


@pytest.fixture
def ds(ctx):
    made = datasets.create(ctx.home, "cats")
    for n in range(3):
        Image.new("RGB", (80, 64), (n * 60, 30, 60)).save(made.path / f"{n}.png")
        (made.path / f"{n}.txt").write_text(f"a cat, number {n}")
    made.pictures()
    return made


def test_versions_are_listed_with_what_was_done_and_who_was_trained_on_them(ctx, ds):
    ds.prefix("zibbo, ")
    ds.remove(["0.png"])
    versions.trained(ds, 2, "run", "My <cat>")
    assert "My &lt;cat&gt;" not in panel.panel(ctx, ds, Look()), "that run is gone"
    (ctx.home.outputs / "run").mkdir()
    html = panel.panel(ctx, ds, Look())
    assert "My &lt;cat&gt;" in html and "Text put in front of 3 captions" in html and "As it was found" in html
    assert html.count('data-act="restore"') == 2, "the dataset is the last one already"
    assert "Bin" in html and "1 picture, " in html and "/easel/kept/cats/" in html
    ds.set_caption("1.png", "typed")
    html = panel.panel(ctx, ds, Look())
    assert "1 caption typed" in html and 'data-act="keep"' in html and html.count('data-act="restore"') == 3
    assert panel.act(ds, ctx.home, Look(), "keep", "", [])[1] == "Version 4 is kept."


def test_a_version_is_compared_brought_back_and_pictures_leave_the_bin(ctx, ds):
    ds.suffix(", blue")
    ds.remove(["0.png"])
    look, _ = panel.act(ds, ctx.home, Look(), "compare", "1:0:1", [])
    html = panel.panel(ctx, ds, Look.of(look.told("cats"), "cats"))
    assert "1 picture removed, 2 captions changed" in html and "<ins>, blue</ins>" in html and '<option value="1" selected>' in html
    look, said = panel.act(ds, ctx.home, look, "restore", "1", [])
    assert look == Look() and "what it was in version 1" in said and [p.caption for p in ds.pictures()] == [f"a cat, number {n}" for n in range(3)]
    ds.remove(["1.png", "2.png"])
    (key,) = [k.key for k in bin.contents(ds) if k.name == "1.png"]
    assert panel.act(ds, ctx.home, Look(), "back", "", [key])[1] == "1 picture put back." and len(ds.pictures()) == 2


def test_what_emptying_the_bin_costs_is_said_before_and_what_is_lacking_after(ctx, ds):
    ds.prefix("zibbo, ")
    (ctx.home.outputs / "run").mkdir()
    versions.trained(ds, 1, "run", "My cat")
    ds.remove(["0.png"])
    look, _ = panel.act(ds, ctx.home, Look(), "ask", "", [])
    html = panel.panel(ctx, ds, look)
    assert "Versions 1 to 2 can then no longer come back whole" in html and "“My cat”" in html and 'data-act="empty"' in html
    assert bin.contents(ds), "asking deletes nothing"
    look, said = panel.act(ds, ctx.home, look, "empty", "", [])
    assert "are free again" in said and "Bin" not in panel.panel(ctx, ds, look)
    look, said = panel.act(ds, ctx.home, look, "restore", "1", [])
    assert (look.lacking, said) == (1, "") and "1 file of version 1 is gone for good" in panel.panel(ctx, ds, look) and ds.caption("1.png").startswith("zibbo")
    panel.act(ds, ctx.home, look, "rest", "1", [])
    assert ds.caption("1.png") == "a cat, number 1"
    with pytest.raises(ValueError, match="no version 9"):
        panel.act(ds, ctx.home, Look(), "restore", "9", [])


def test_a_damaged_version_stops_no_page_and_nothing_lacking_shows_nothing(ctx, ds):
    ds.prefix("zibbo, ")
    ds.remove(["0.png"])
    path = ds.meta / "versions" / "000001.version"
    path.write_bytes(path.read_bytes()[:-4])
    html = panel.panel(ctx, ds, Look(emptying=True))
    assert "cannot be told: version 1" in html and 'data-act="empty"' in html
    assert "gone for good" not in panel.panel(ctx, ds, Look(lacking=2))


def test_what_is_asked_of_one_dataset_is_not_asked_of_another():
    look = Look(True, (1, 0), 1, 2, True, 3)
    assert Look.of(look.told("cats"), "cats") == look and Look.of(look.told("cats"), "dogs") == Look() == Look.of({}, "cats")


def test_all_of_the_bin_can_be_reached():
    kept = [Kept("s", f"{n}.png", Path("x"), 5, "a" * 64, bin.PICTURE, 0.0, "") for n in range(50)]
    pages = [panel.bin_html(kept, 5, False, "", THUMB, 0.0, page) for page in (0, 1, 2, 9)]
    assert [html.count("data-id=") for html in pages] == [24, 24, 2, 2] and all(f'data-id="s/{n}.png"' in "".join(pages) for n in range(50))
    assert 'data-key="1" aria-label="Next page of the bin">' in pages[0] and "49–50 of 50" in pages[3] and "disabled" in pages[3]
    look, said = panel.act(None, None, Look(emptying=True), "leaf", "1", [])
    assert look == Look(emptying=True, page=1) and not said


def test_user_text_never_becomes_markup():
    version = Version(1, 0.0, EVIL, EVIL, 1, 1, "0" * 64)
    html = panel.listed_html([version], EVIL, {(1, EVIL)}, Look(), 0.0)
    html += panel.bin_html([Kept("s", f"{EVIL}.png", Path("x"), 5, "a" * 64, bin.PICTURE, 0.0, "")], 5, True, EVIL, THUMB, 0.0) + panel.lacking_html(1, [EVIL])
    before, after = State({EVIL: "a" * 64}, {"x.png": EVIL}), State({"x.png": "b" * 64}, {"x.png": "y"})
    html += panel.compared_html([1], (1, 0), 1, states.compare(before, after), before, after, THUMB)
    html += panel.compared_html([1], (1, 0), 1, states.compare(State({"x.png": "b" * 64}, {"x.png": EVIL}), after), before, after, THUMB)
    assert "<img src=x" not in html and "&lt;img src=x" in html


def test_a_thumbnail_of_what_was_removed_is_served_by_its_bytes_alone(ctx, ds):
    digest = ds.get("0.png").sha256
    ds.remove(["0.png"])
    assert ds.thumbnail_of(digest).is_file() and media.kept_url(ctx, "cats", digest).startswith("/easel/kept/cats/")
    os.symlink("/etc/passwd", ds.meta / "thumbs" / f"{'f' * 40}.webp")
    for wrong in ("f" * 64, "../" * 3, digest[:40], ""):
        with pytest.raises(ValueError, match="no thumbnail"):
            ds.thumbnail_of(wrong)


def pressed(ctx, name: str, act: str, view: dict, imports: Imports, **data):
    """What a press on the versions or on Undo does: the page's view after it."""
    page = tab._Tab(SimpleNamespace(imports=imports), ctx)
    page.show = lambda name, view, change=None: view | (change or {})
    return page.undo(name, view) if act == "undo" else page.act_past(name, view, SimpleNamespace(act=act, key="", ids=[], **data))


def test_presses_wait_for_an_import_ask_of_one_dataset_and_tell_what_the_disk_refuses(ctx, ds, tmp_path, monkeypatch):
    imports = Imports(tmp_path)
    view = pressed(ctx, "cats", "ask", {}, imports)
    other = datasets.create(ctx.home, "dogs")
    assert Look.of(view["past"], "cats").emptying and not Look.of(view["past"], other.name).emptying
    ds.prefix("zibbo, ")
    go = threading.Event()
    job = imports._begin(ds, lambda tell: [go.wait(10)][:0], ())
    for act in ("undo", "keep"):
        with pytest.raises(gr.Error, match="still being added"):
            pressed(ctx, "cats", act, {}, imports)
    go.set()
    job.thread.join()
    monkeypatch.setattr(versions, "record", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    for act in ("undo", "keep"):
        with pytest.raises(gr.Error, match="No space left on device"):
            pressed(ctx, "cats", act, {}, imports)
