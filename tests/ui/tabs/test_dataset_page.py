"""The Dataset and Captions pages: tiles, imports that outlive a refresh, the captioner's form.  User text stays text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from training.data import datasets, importing
from training.data.datasets import Picture, Verdict
from training.home import Home
from training.jobs.publish_dataset import Config
from training.runs.run import create
from ui.tabs.captions import captioner
from ui.tabs.captions.tab import _chip, _patch
from ui.tabs.dataset import onhub, tiles
from ui.tabs.dataset.imports import Import, Imports, outcome
from ui.tabs.dataset.tab import _Tab, outcome_html, title_for
from ui.tabs.train.missing import chosen, missing, missing_html

EVIL = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").made()


def picture(**changes) -> Picture:
    usual = {
        "id": "a.png", "path": Path("a.png"), "width": 640, "height": 480, "bytes": 1000, "sha256": "ab", "verdict": "ok", "note": "", "caption": "a cat",
        "caption_source": "file",
    }  # fmt: skip
    return Picture(**(usual | changes))


def pictures_in(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"p{n}.png" for n in range(count)]
    for n, path in enumerate(made):
        Image.new("RGB", (80, 64), (n % 256, 30, 60)).save(path)
    return made


def test_a_dataset_keeps_its_name_while_pictures_are_added_and_its_pushes_follow_the_next_one(home):
    ds, imports = datasets.create(home, "foxes"), Imports(home.root)
    page = _Tab(SimpleNamespace(imports=imports), SimpleNamespace(home=home))
    imports._by_name[ds.name] = Import()
    with pytest.raises(gr.Error, match="still being added"):
        page.rename("cats", "foxes", {})
    assert ds.path.is_dir()
    run = create(home.outputs, Config(name="p", dataset="foxes", repo_id="alice/foxes"))
    assert onhub.newest(page.ctx, datasets.rename(ds, "cats").name).id == run.id and onhub.newest(page.ctx, "other") is None


@pytest.mark.parametrize("verdict", ["ok", "refused", "duplicate", "unchecked"])
def test_user_text_never_becomes_markup(verdict):
    shown = picture(id=f"{EVIL}.png", caption=EVIL, note=EVIL, caption_note=EVIL, verdict=verdict)
    address = lambda p: "/easel/x"
    for html in (tiles.picture_tile(shown, address, address), tiles.caption_tile(shown, address, address, ("", ""))):
        assert "<img src=x" not in html and "&lt;img src=x" in html
    assert "<img src=x" not in outcome_html(Import(ended=True, verdicts=[Verdict(EVIL, False, EVIL)]))
    assert "<img src=x" not in outcome_html(Import(file=EVIL)) and "<img src=x" not in outcome_html(Import(ended=True, error=EVIL))


def test_a_clip_is_marked_with_its_length_and_plays_where_a_browser_can():
    address = lambda p: "/easel/x"
    for tile in (tiles.picture_tile, lambda *a: tiles.caption_tile(*a, ("", ""))):
        html = tile(picture(id="a.mp4", seconds=2.08), address, address)
        assert "clip, 2.1 s" in html and " data-plays" in html
        assert "data-plays" not in tile(picture(id="a.gif", seconds=1.0), address, address)
        assert "clip" not in tile(picture(), address, address)


def test_the_pager_reaches_every_page_of_2500_pictures():
    assert tiles.pages(2500) == 53 and tiles.pages(0) == 1 and tiles.pages(48) == 1 and tiles.pages(49) == 2
    first, middle, last = (tiles.pager(n, 2500) for n in (0, 26, 52))
    assert "1–48 of 2,500" in first and "2,497–2,500 of 2,500" in last
    assert 'data-page="25"' in middle and 'data-page="27"' in middle and 'data-page="52"' in middle and 'data-page="0"' in middle
    assert 'data-page="-1" aria-label="Previous page" disabled' in first and 'aria-label="Next page" disabled' in last


def test_a_long_caption_says_that_its_end_is_cut():
    assert "tokens" in tiles.caption_chips(["word " * 100], ("", "")) and "tokens" not in tiles.caption_chips(["a cat"], ("", ""))


def test_what_is_not_trained_as_it_stands_is_marked():
    chips = tiles.caption_chips(["a [trigger] ||| b", "c"], ("", ""))
    assert "2 captions" in chips and ">[trigger]<" in chips and ">|||<" in chips and tiles.caption_chips(["a cat"], ("", "")) == ""


def test_an_import_goes_on_without_a_page_and_keeps_its_outcome(home, tmp_path):
    ds = datasets.create(home, "cats")
    uploads = tmp_path / "uploads"
    good, bad, mine = pictures_in(uploads, 3), uploads / "bad.png", pictures_in(tmp_path / "mine", 1)
    bad.write_text("no picture", encoding="utf-8")
    imports = Imports(uploads)
    job = imports.files(ds, [*good, bad, *mine])
    job.thread.join(60)
    assert job.ended and not imports.busy() and imports.of("cats") is job
    assert [v.file for v in job.refused if v.kind == "picture"] == ["bad.png"] and "refused" in outcome(job) and "bad.png" in outcome_html(job)
    assert ds.counts().usable == 3  # one of `mine` is the same picture as one of the others
    assert not any(p.exists() for p in [*good, bad]) and mine[0].exists()  # uploads are cleared away, what belongs to the user stays
    imports.dismiss("cats")
    assert imports.of("cats") is None


def test_a_second_import_into_the_same_dataset_waits_and_a_broken_one_says_why(home, tmp_path):
    ds = datasets.create(home, "cats")
    imports = Imports(tmp_path / "uploads")
    job = imports.folder(ds, tmp_path / "none")
    job.thread.join(30)
    assert "no folder" in job.error and "no folder" in outcome(job)
    imports._by_name["cats"] = Import()
    with pytest.raises(ValueError, match="still being added"):
        imports.files(ds, [])


def test_a_dataset_has_a_first_name():
    assert title_for([Path("/up/My Cats.zip")]) == "My Cats"
    assert title_for([Path("/up/a.png"), Path("/up/b.zip")]) == "My pictures"


def test_what_is_missing_leads_to_where_it_is_done(home, tmp_path):
    assert chosen(home, "") is None and missing(home, "")[0].tab == "dataset"
    ds = datasets.create(home, "cats")
    assert chosen(home, "").name == ds.name and chosen(home, "gone") is None
    older = datasets.create(home, "aaa")
    os.utime(older.path, (1, 1))
    assert chosen(home, "").name == ds.name
    assert missing(home, ds.name)[0].tab == "dataset"
    importing.add_files(ds, pictures_in(tmp_path / "p", 2))
    left = missing(home, ds.name)
    assert [m.tab for m in left] == ["captions"] and 'data-tab="captions"' in missing_html(home, ds.name, "dataset")
    assert "data-tab" not in missing_html(home, ds.name, "captions")  # no link to where one is
    for p in ds.pictures():
        ds.set_caption(p.id, "a cat")
    assert missing(home, ds.name) == [] and "2 of 2 captions are the same" in missing_html(home, ds.name, "dataset")
    for n, p in enumerate(ds.pictures()):
        ds.set_caption(p.id, f"a cat on a chair, number {n}")
    assert missing(home, ds.name) == [] and "ready" in missing_html(home, ds.name, "dataset")


def test_the_captioners_form_makes_a_job_or_says_what_is_wrong(home):
    ds = datasets.create(home, "cats")
    found = captioner.plugins(home)
    kept = captioner.edited(captioner.Kept(captioner="template"), "template", "text", "a photo of [trigger]")
    now = captioner.complete(kept, found)
    assert (now.captioner, now.mode, now.edits) == ("template", "missing", {"text": "a photo of [trigger]"})
    config, wrong = captioner.job(home, ds, now, "cpu")
    assert config is None and "trigger" in wrong[""]  # the text asks for a word that is not there
    kept = captioner.edited(kept, "template", "@trigger", "zibbo").model_copy(update={"mode": "append"})
    config, wrong = captioner.job(home, ds, captioner.complete(kept, found), "cpu")
    assert wrong == {} and (config.mode, config.trigger, config.options["text"]) == ("append", "zibbo", "a photo of [trigger]")
    config, wrong = captioner.job(home, ds, captioner.complete(captioner.edited(kept, "template", "@trigger", "two, words"), found), "cpu")
    assert config is None and "comma" in wrong["@trigger"]
    kept = captioner.edited(captioner.Kept(), "florence2", "beams", "many")
    config, wrong = captioner.job(home, ds, captioner.complete(kept, found), "cpu")
    assert config is None and "beams" in wrong
    assert captioner.reset(kept, "florence2", "beams").options == {"florence2": {}}


def test_settings_of_another_version_do_no_harm(home):
    found = captioner.plugins(home)
    now = captioner.complete(captioner.Kept(captioner="gone", mode="never", options={"gone": {"a": "b"}}), found)
    assert now.captioner in found and now.mode == "missing" and now.trigger == "" and now.edits == {}


def test_no_second_captioning_can_be_started_while_one_goes(home):
    now = captioner.complete(captioner.Kept(), captioner.plugins(home))
    assert "disabled" in captioner.render(home, now, {}, busy=True).split('id="ez-caption-start"')[1]
    assert "disabled" not in captioner.render(home, now, {}).split('id="ez-caption-start"')[1]


def test_a_broken_captioner_is_a_visible_row(home):
    folder = home.plugins / "captioning"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text("import a_library_that_is_not_there  # <b>", encoding="utf-8")
    found = captioner.plugins(home)
    html = captioner.render(home, captioner.complete(captioner.Kept(), found), {})
    assert not found["mine"].ok and "a_library_that_is_not_there" in html and 'aria-disabled="true"' in html and list(found)[-1] == "mine"


def test_the_form_escapes_what_was_typed(home):
    now = captioner.complete(captioner.Kept(captioner="template", trigger=EVIL, options={"template": {"text": EVIL}}), captioner.plugins(home))
    html = captioner.render(home, now, {"": EVIL, "@trigger": EVIL, "text": EVIL})
    assert "<img src=x" not in html


def test_live_tiles_say_what_the_captioner_did(home, tmp_path):
    ds = datasets.create(home, "cats")
    importing.add_files(ds, pictures_in(tmp_path / "p", 2))
    first, second = ds.pictures()
    ds.set_caption(first.id, "a cat", "filename")
    items = {first.id: ("done", "a cat"), second.id: ("failed", "no words")}
    rows = json.loads(_patch(ds, ds.pictures(), items))["rows"]
    assert rows[first.id]["text"] == "a cat" and "new" in rows[first.id]["chips"] and rows[first.id]["note"] == "filename"
    assert "failed" in rows[second.id]["chips"]
    ds.set_caption(first.id, "a dog")
    assert _chip(items, ds.get(first.id)) == ("", "")  # it was typed over since


def test_before_a_dataset_is_deleted_the_runs_that_lose_it_are_named(home):
    from tests.ui import story
    from training.runs.run import create as create_run

    story.pictures(home, 2)
    page = _Tab(SimpleNamespace(), SimpleNamespace(home=home))
    assert "need" not in page.ask("zibbo")[1]
    story.run(home, upto=20, end="stopped", name="cut & off")
    story.run(home, upto=20, end="finished", name="done")
    create_run(home.outputs, story.config("waits"))
    create_run(home.outputs, story.config("elsewhere", data={"datasets": [{"name": "other"}], "resolutions": [64]}))
    said = page.ask("zibbo")[1]
    assert "3 runs need it" in said and "elsewhere" not in said and "cut &amp; off" in said
    assert "<b>waits</b> (queued) cannot begin" in said and "(stopped) cannot be resumed" in said and "<b>done</b> (finished) cannot be trained longer" in said
    renamed = datasets.rename(datasets.open_dataset(home, "zibbo"), "zobbo")
    assert "3 runs need it" in page.ask(renamed.name)[1]
    datasets.create(home, "zibbo")  # which is the one that they find now
    assert "need" not in page.ask(renamed.name)[1] and "3 runs need it" in page.ask("zibbo")[1]


def test_undo_on_the_captions_tab_waits_for_an_import(home):
    from ui.tabs.captions import tab as captions_tab

    ds, imports = datasets.create(home, "foxes"), Imports(home.root)
    page = captions_tab._Tab(SimpleNamespace(), SimpleNamespace(home=home, parts={"dataset": SimpleNamespace(imports=imports)}))
    imports._by_name[ds.name] = Import()
    with pytest.raises(gr.Error, match="still being added"):
        page.undo(ds.name, {})
