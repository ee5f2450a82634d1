"""Pairs on the page: the picture before in its grid and beside it when large, added and taken away by hand, judged, and asked for before an edit starts."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import ImageFilter

from tests.data.make import scene, write
from tests.plan.test_presets import LAPTOP
from training import registry
from training.data import datasets, health, importing
from training.data.health import Goal
from training.runs.events import RunView
from ui.tabs.captions import notes
from ui.tabs.dataset import befores, tiles
from ui.tabs.dataset import tab as datasettab
from ui.tabs.results import gallery, strips
from ui.tabs.train import draft, tab
from ui.tabs.train.draft import Draft

PRESET = "flux2_klein-edit"


@pytest.fixture
def edits(home):
    """a.png has two befores, b.png one that is turned with it, c.png none."""
    ds = datasets.create(home, "edits")
    for n, name in enumerate(("a.png", "a.control.png", "a.control2.png", "b.png", "b.control.png", "c.png")):
        write(ds.path / name, n, size=(300, 100) if name == "a.control2.png" else (120, 80))
    for name in "abc":
        (ds.path / f"{name}.txt").write_text("make it night")
    ds.check()
    ds.treat(["b.png"], "right")
    return ds


def test_a_tile_shows_the_picture_before_and_the_large_view_all_of_them(ctx, edits):
    shown = {p.id: tiles.picture_tile(p, lambda p: "t", lambda p: "f", before=befores.addresses(ctx, edits, p)) for p in edits.pictures()}
    large = json.loads(unescape(re.search(r'data-befores="([^"]+)"', shown["a.png"])[1]))
    assert ["a.control.png" in large[0], "a.control2.png" in large[1]] == [True, True] and "/picture/" in large[0]
    assert 'class="ez-twin"' in shown["a.png"] and ">+1</b>" in shown["a.png"] and "data-pair" in shown["a.png"]
    turned = json.loads(unescape(re.search(r'data-befores="([^"]+)"', shown["b.png"])[1]))
    assert len(turned) == 1 and "/thumb/" in turned[0] and "turned=1" in turned[0], "a turned picture's before is shown turned"
    assert "ez-twin" not in shown["c.png"] and "data-befores" not in shown["c.png"] and "data-pair" not in shown["c.png"]


def test_captions_are_said_to_be_instructions_where_there_are_pairs(ctx, edits, home):
    assert "2 pictures have others before them" in notes.pairs_html(edits) and "instruction" in notes.pairs_html(edits)
    plain = datasets.create(home, "plain")
    write(plain.path / "a.png", 1)
    plain.check()
    assert notes.pairs_html(plain) == ""
    tile = tiles.caption_tile(edits.get("a.png"), lambda p: "t", lambda p: "f", ("", ""), before=[("small", "large")])
    assert '<span class="ez-twin"' in tile and tile.count("data-zoom") == 1, "the keys go from caption to caption, not to pictures before"


@pytest.mark.slow
def test_one_is_asked_for_added_and_taken_away(ctx, edits, tmp_path):
    with gr.Blocks():
        parts = datasettab.build(ctx)
    page, view = datasettab._Tab(parts, ctx), dict(datasettab.FIRST_VIEW)
    page.act("edits", view, SimpleNamespace(act="before", ids=["c.png"], page=0, key=""))
    assert view["before"] == "c.png" and "c.png</b> is made from" in page.show("edits", view)[-1]
    page.take_before([str(write(tmp_path / "c before.jpg", 9))], "edits", view)
    assert view["before"] == "" and [r.path.name for r in edits.get("c.png").references] == ["c.control.png"]
    page.act("edits", view, SimpleNamespace(act="unpair", ids=["c.png"], page=0, key=""))
    assert edits.get("c.png").references == ()
    page.undo("edits", view)
    assert [r.path.name for r in edits.get("c.png").references] == ["c.control.png"]


@pytest.mark.slow
def test_the_health_check_judges_pairs(home, tmp_path):
    ds = datasets.create(home, "judged")
    for n in range(5):
        write(ds.path / f"{n}.png", n, size=(240, 160)), write(ds.path / f"{n}.control.png", 20 + n, size=(240, 160))
        (ds.path / f"{n}.txt").write_text("make it night")
    write(ds.path / "alone.png", 40, size=(240, 160)), (ds.path / "alone.txt").write_text("a thing")
    (ds.path / "1.control.png").write_bytes((ds.path / "1.png").read_bytes())
    write(ds.path / "2.control.png", 30, size=(300, 100))
    write(ds.path / "3.control.png", 31, size=(120, 80))
    (ds.path / "4.txt").unlink()
    (again := scene(0, size=(240, 160))).save(ds.path / "0.control.png", compress_level=1)
    again.rotate(180).save(ds.path / "5.png"), again.rotate(180).filter(ImageFilter.GaussianBlur(2)).save(ds.path / "5.control.png")
    (ds.path / "5.txt").write_text("make it sharp")
    found = {f.key: f.ids for f in health.check(ds, Goal(side_px=128, divisor=8)).findings}
    wanted = {"alone": ("alone.png",), "unchanged": ("1.png",), "alike": ("0.png",), "reshaped": ("2.png",), "coarse": ("3.png",), "uninstructed": ("4.png",)}
    assert {key: found.get(key) for key in wanted} == wanted
    assert not {"bare", "identical"} & set(found), "one instruction for all is no fault"
    control = {f.key for f in health.check(ds, Goal(side_px=128, divisor=8, control=True)).findings}
    assert not set(wanted) & control and "bare" in control, "what a ControlNet is shown is no picture before an edit"


def page_of(ctx, dataset: str, form: Draft) -> dict[str, str]:
    return dict(zip(tab.PIECES, tab.paint(ctx, dataset, form, {})[1:], strict=True))


def test_edits_are_offered_first_where_the_pictures_are_pairs(ctx, edits):
    chosen = "flux2_klein-style"
    of = lambda html: re.findall(r'data-act="preset" data-id="([^"]+)"', html)
    pairs = page_of(ctx, "edits", Draft(preset=chosen))["presets"]
    assert of(pairs)[0] == PRESET and "for your pairs" in pairs
    assert registry.get("families", re.findall(r'data-act="base" data-id="([^:"]+)', pairs)[0]).SPEC.references
    small = page_of(ctx, "edits", Draft(preset="builtin-style"))["presets"]
    assert re.search("Edits are learnt with: .*FLUX.2 klein", small)
    plain = datasets.create(ctx.home, "plain")
    write(plain.path / "p.png", 1)
    plain.check()
    other = page_of(ctx, "plain", Draft(preset=chosen))["presets"]
    assert of(other)[0] == "flux2_klein-character" and PRESET in of(other) and "for your pairs" not in other and "Edits are learnt with" not in other


def test_an_edit_asks_for_its_pairs_by_name_before_start(ctx, edits):
    plain = datasets.create(ctx.home, "plain")
    importing.add_files(plain, [write(ctx.home.root / "first.png", 50)])
    made = draft.plan(ctx.home, Draft(preset=PRESET), "plain", LAPTOP)
    assert "first.png has no picture before it" in made.wrong[""]
    assert "first.png has no picture before it" in page_of(ctx, "plain", Draft(preset=PRESET))["plan"]
    lacking = draft.plan(ctx.home, Draft(preset=PRESET), "edits", LAPTOP)
    assert "c.png" in lacking.wrong[""], "the engine's own refusal, by the picture's name"
    assert unescape(page_of(ctx, "edits", Draft(preset=PRESET))["plan"]).count("Without a picture that it is made from: c.png") == 1, "said once"
    for id in ("a.png", "b.png"):
        write(edits.path / f"{Path(id).stem}.control.png", 60)
    unseen = draft.plan(ctx.home, Draft(preset=PRESET), "edits", LAPTOP)
    assert "c.png" in unseen.wrong[""] and "a.png" not in unseen.wrong[""] and "no other has" not in unseen.wrong[""], "what nobody has looked at yet, the start looks at"
    edits.treat(["c.png"], "out")
    assert "" not in draft.plan(ctx.home, Draft(preset=PRESET), "edits", LAPTOP).wrong


@pytest.mark.parametrize(
    ("job", "word"),
    [
        ({"loss": {"objective": "edit"}}, "before, after, what was drawn"),
        ({"adapter": {"type": "controlnet"}}, "control picture, picture, what was drawn"),
        ({"adapter": {"type": "ip_adapter"}}, "the picture that was shown, what was drawn"),
        ({"adapter": {"type": "lora"}, "loss": {"objective": "images"}}, ""),
    ],
)
def test_a_sample_over_pictures_says_what_stands_in_it(home, job, word):
    view = RunView(samples=((0, 0, "make it night", "samples/000000_0.webp", 1), (10, 0, "make it night", "samples/000010_0.webp", 1)))
    strip = strips.of(job, home.plugins)
    html, pairs = gallery.grid(view, str, wall=gallery.Wall(strip=strip)), gallery.before_after(view, str, strip=strip)
    if not word:
        assert "is-strip" not in html + pairs and "ez-strip" not in html
        return
    assert f'data-strip="from left to right: {word}"' in html and "open one to see" in html and 'class="ez-pairs is-strip"' in pairs
    assert html.count('class="ez-strip-whole" src="samples/000000_0.webp"') == 1, "what a row is drawn over is shown once"
