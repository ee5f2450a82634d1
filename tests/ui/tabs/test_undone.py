"""What the engine says of an undo, a captioning and an upload, in the language of the page: as a whole, not with English in it."""

from __future__ import annotations

import gettext
import re

import pytest
from PIL import Image

from training.data import datasets
from training.home import Home
from training.jobs.caption import Tally
from ui import language
from ui.language import speaking
from ui.tabs.captions import undone
from ui.tabs.captions.tab import summed
from ui.tabs.publish import page


class Shouted(gettext.NullTranslations):
    """A language whose words are the English ones in capitals, and only those."""

    def gettext(self, message):
        return re.sub(r"(\{\w+\})|([^{]+)", lambda m: m[1] or m[2].upper(), message)

    def ngettext(self, one, many, n):
        return self.gettext(one if n == 1 else many)

    def pgettext(self, context, message):
        return self.gettext(message)


@pytest.fixture
def shouted(monkeypatch):
    monkeypatch.setattr(language, "catalogue", lambda code: Shouted())
    with speaking("shouted"):
        yield


@pytest.mark.parametrize("what", [
    "version 3 brought back", "1 crop", "24 crops", "1 picture left out", "2 pictures taken back", "2 pictures mirrored", "1 picture turned", "removal of 1 picture", "removal of 12 pictures",
    "1 caption (typed)", "40 captions (its prompt)",
])  # fmt: skip
def test_undo_says_what_it_would_take_back(what, shouted):
    assert undone.button(what) == f"UNDO {what.upper()}" and undone.button("2 captions (florence2)") == "UNDO 2 CAPTIONS (florence2)"


@pytest.mark.parametrize("said", [
    "1 caption put back", "3 pictures put back, 1 crop put back", "2 pictures as before, 2 captions put back, 1 caption left alone, because changed since",
    "version 4 taken away again, 2 files that came since kept, 1 file that came since now in the bin",
])  # fmt: skip
def test_an_undo_says_what_was_taken_back(said, shouted):
    assert undone.told(said) == f"{said.upper()}."
    gone = "without 7 files that are gone for good (a.png, 1 b.png, c.png, d.png, e.png and 2 more)"
    assert undone.told(gone) == "WITHOUT 7 FILES THAT ARE GONE FOR GOOD (a.png, 1 b.png, c.png, d.png, e.png AND 2 MORE)."
    assert undone.told("") == "THERE IS NOTHING TO UNDO."


def test_what_a_dataset_says_of_an_undo_is_known(tmp_path, shouted):
    ds = datasets.create(Home(tmp_path / "home").made(), "cats")
    for k in range(2):
        Image.new("RGB", (64, 64), (k, 0, 0)).save(ds.path / f"p{k}.png")
    ds.set_caption("p0.png", "a cat")
    ds.remove(["p1.png"])
    for expected in ("UNDO REMOVAL OF 1 PICTURE", "UNDO 1 CAPTION (TYPED)"):
        assert undone.button(ds.can_undo()) == expected
        assert undone.told(ds.undo()).isupper()


@pytest.mark.parametrize("tally", [Tally(3), Tally(3, skipped=1), Tally(3, failed=2), Tally(3, 1, 2), Tally(2, failed=1, trial=True)])
def test_the_end_of_a_captioning_is_told_in_one_language(tally, shouted):
    assert summed(str(tally)) == f"{tally}.".upper()


def test_the_end_of_an_upload_and_the_programs_that_read_a_file_are_told_in_one_language(shouted):
    for text in ("(private, commit 12345678)", "(12 pictures, public, commit 12345678; everything was there already)"):
        assert page._summed(text) == text.upper()
    assert page.programs("AUTOMATIC1111 and kohya's scripts") == "AUTOMATIC1111 AND KOHYA'S SCRIPTS"
