"""What the page says of a clip: its length, its scenes, what of it is learnt."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from training.data.captions import split
from training.data.listing import Picture
from training.data.timed import is_timed
from training.data.treatment import PLAIN, Treatment
from ui.tabs.captions import captioner
from ui.tabs.dataset import clips, tiles


def clip(**more):
    return Picture("a.mp4", None, 96, 64, 1, "d" * 64, "ok", "", "", "", **more)


@pytest.mark.parametrize(("picture", "says", "attributes"), [
    (clip(), "", ""), (clip(seconds=3.0), "clip, 3.0 s", ' data-seconds="3.000"'),
    (clip(seconds=3.0, cuts=(1.0, 2.5)), "clip, 3.0 s · 3 scenes", ' data-seconds="3.000" data-cuts="1.000 2.500"'),
    (clip(seconds=3.0, cuts=(1.0,), treatment=Treatment(start_s=1.5, end_s=2.25)), "clip, 0.8 of 3.0 s", ' data-seconds="3.000" data-cuts="1.000" data-trim="1.5-2.25"'),
    (clip(seconds=3.0, cuts=(1.0,), treatment=PLAIN.trimmed(0.5, 3.0, 3.0)), "clip, 2.5 of 3.0 s · 2 scenes", ' data-seconds="3.000" data-cuts="1.000" data-trim="0.5-0"'),
])  # fmt: skip
def test_a_tile_says_how_long_a_clip_is_and_how_many_scenes_it_has(picture, says, attributes):
    assert (clips.length(picture), clips.attributes(picture)) == (says, attributes)
    html = tiles.picture_tile(picture, lambda p: "thumb", lambda p: "full")
    assert attributes in html and (says in html if says else "ez-length" not in html)


def test_a_trim_of_the_page_reaches_the_dataset(monkeypatch):
    from ui.tabs.dataset import tab

    asked = []
    here = object.__new__(tab._Tab)
    monkeypatch.setattr(tab, "chosen", lambda home, name: SimpleNamespace(trim=lambda *row: asked.append(row)))
    here.ctx, here.show = SimpleNamespace(home=None), lambda *row: row
    here.act("films", {}, SimpleNamespace(act="trim", ids=["a.mp4"], key="0.50 2.25"))
    assert asked == [("a.mp4", 0.5, 2.25)]


def test_scenes_are_described_by_themselves_unless_that_is_switched_off(home):
    found = captioner.plugins(home)
    now = captioner.complete(captioner.Kept(captioner="florence2"), found)
    off = captioner.complete(captioner.edited(captioner.Kept(captioner="florence2"), "florence2", "@scenes", "off"), found)
    assert (now.scenes, off.scenes) == (True, False)
    shown = lambda settings: captioner.render(home, settings, {})
    assert 'data-path="@scenes" data-value="on" checked' in shown(now) and 'data-path="@scenes" data-value="off">' in shown(off)
    assert "@scenes" not in shown(captioner.complete(captioner.Kept(captioner="template"), found))


@pytest.mark.parametrize(("caption", "says"), [("[0:00] a cat\n[0:01] a dog", "by scenes"), ("a cat.\na dog.", "2 captions"), ("a cat", "")])
def test_a_caption_of_scenes_says_so_and_is_not_drawn_by_turns(caption, says):
    html = tiles.caption_chips(split(caption), ("", ""), is_timed(caption))
    assert says in html and (html == "") == (says == "")
