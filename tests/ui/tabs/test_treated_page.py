"""Pictures that are turned and left out, traits and trigger words on the page: what is shown, and what a press does."""

from __future__ import annotations

import io
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.data.scenes import drawing
from training.data import datasets, trigger
from training.data.health import Finding
from training.data.trigger import Judged, Remark
from training.home import Home
from ui.server import media
from ui.tabs.dataset import absorbed, judged, tab, tiles, treated
from ui.tabs.train import draft, triggerword

EVIL = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def ds(tmp_path):
    made = datasets.create(Home(tmp_path), "My fox")
    for n in range(3):
        drawing(n, (400, 200)).save(made.path / f"{n}.png")
        (made.path / f"{n}.txt").write_text(f"zibbo, red fur, thing {n}")
    return made


@pytest.mark.slow
def test_a_tile_shows_the_picture_as_it_is_learnt_and_greys_what_is_left_out(ds):
    ds.treat(["0.png"], "right"), ds.treat(["0.png"], "mirror"), ds.treat(["1.png"], "out")
    address = lambda p: "/easel/x"
    turned, out, plain = (tiles.picture_tile(p, address, address) for p in ds.pictures())
    assert 'data-turned="1m" data-ratio="0.50000" data-wide="200"' in turned and "Turned right and mirrored; its file stays as it is" in turned and "200 × 400" in turned
    assert 'class="ez-tile ez-out"' in out and " data-out>" in out and "Left out" in out and "thing 1" in out and "data-zoom" in out
    assert "data-turned" not in plain and "ez-out" not in plain
    assert treated.left_out(ds) == 1 and "3 pictures, 1 left out" in tiles.pager(0, 3, treated.left_out(ds))
    ds.treat(["1.png"], "in")
    assert treated.left_out(ds) == 0


def test_thumbnails_are_turned_by_their_address(ds):
    ctx = SimpleNamespace(url=lambda path: path)
    plain, turned = media.thumb_url(ctx, ds.name, "0.png", "abc"), media.thumb_url(ctx, ds.name, "0.png", "abc", "1m")
    assert turned == plain + "&turned=1m"
    client = TestClient(Starlette(routes=media.routes(Home(ds.path.parent.parent))))
    client.app.auth = client.app.auth_dependency = None
    seen = [Image.open(io.BytesIO(client.get(url).content)) for url in (plain, turned)]
    assert [image.size for image in seen] == [(256, 128), (128, 256)]
    assert client.get(plain + "&turned=9").status_code == 404


def press(ds, act: str, **data):
    """What the Dataset tab's handlers do to a dataset."""
    page = tab._Tab(SimpleNamespace(imports=SimpleNamespace()), SimpleNamespace(home=Home(ds.path.parent.parent)))
    page.show = lambda name, view: view
    event = SimpleNamespace(act=act, _data={"act": act, **data}, **data)
    handler = page.act_absorb if "trait" in data or "value" in data else page.treat if act == "treat" else page.act
    return handler(ds.name, {}, event)


@pytest.mark.slow
def test_a_press_turns_leaves_out_and_takes_tags_out(ds):
    press(ds, "treat", ids=["0.png", "1.png"], key="left")
    press(ds, "treat", ids=["2.png"], key="out")
    press(ds, "treat", ids=[], key="out")
    assert [p.treatment.text for p in ds.pictures()] == ["3", "3", "x"]
    press(ds, "absorb", key="leak red fur", ids=[])
    assert [p.caption for p in ds.pictures()] == ["zibbo, thing 0", "zibbo, thing 1", "zibbo, thing 2"]


def test_traits_are_added_offered_and_let_go(ds):
    assert "+ red fur</button>" in absorbed.of(ds, "zibbo") and "+ zibbo" not in absorbed.of(ds, "")
    press(ds, "absorb", trait="red fur"), press(ds, "absorb-typed", value=" white  tail ")
    assert ds.absorbs == ("red fur", "white tail") and 'data-act="release" data-trait="red fur"' in absorbed.of(ds, "") and "+ red fur" not in absorbed.of(ds, "")
    press(ds, "release", trait="red fur")
    assert ds.absorbs == ("white tail",)
    with pytest.raises(gr.Error, match="(?i)type what captions should leave out"):
        press(ds, "absorb-typed", value=" ")


def test_a_finding_with_a_press_has_a_button_beside_it():
    html = judged._card(Finding("leak hair", "warn", "t", "s", "d", ("a",), ("absorb", "Take it out")), False)
    assert '<button type="button" class="ez-btn" data-act="absorb" data-key="leak hair">Take it out</button></div>' in html
    assert "ez-finding-both" not in judged._card(Finding("bare", "warn", "t", "s", "d", ("a",)), False)


def test_the_line_below_the_trigger_word(ds):
    home = Home(ds.path.parent.parent)
    made = SimpleNamespace(words=False, wrong={}, dataset=ds.name, config=None, base=None)
    asks = triggerword.line(home, draft.Draft(), made)
    assert asks.count('data-act="word"') == 3 and "Free:" in asks and "<details" not in asks
    free = triggerword.line(home, draft.Draft(trigger="vokrin"), made)
    assert ">Free</span>" in free and "No list here knows it" in free and "cannot be said" in free and 'data-act="word"' not in free
    taken = triggerword.line(home, draft.Draft(trigger="cat"), made)
    assert ">Taken</span>" in taken and "an ordinary word" in taken and taken.count('data-act="word"') == 3
    assert triggerword.line(home, draft.Draft(trigger="cat"), SimpleNamespace(words=True)) == ""
    assert triggerword.line(home, draft.Draft(trigger="a,b"), SimpleNamespace(words=False, wrong={"trigger": "x"})) == ""


def test_user_text_never_becomes_markup():
    bad = Judged(EVIL, "taken", (Remark("bad", EVIL),), (trigger.Tokens(EVIL, (EVIL, "b")),), EVIL)
    html = triggerword.html(bad, [EVIL]) + absorbed.html([EVIL], [EVIL]) + judged._card(Finding(EVIL, "warn", EVIL, EVIL, EVIL, (EVIL,), (EVIL, EVIL)), False)
    assert "<img src=x" not in html
