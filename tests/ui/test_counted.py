"""What the engine says in half sentences with numbers is found again, so that it is said in another language: as a whole, not with English in it."""

from __future__ import annotations

import gettext
import re

import pytest
from PIL import Image

from training.data import datasets, noise, treatment, versions
from training.data.datasets import Verdict
from training.data.states import Difference
from training.data.verdicts import LEFT_OUT
from training.home import Home
from training.jobs.caption import Tally
from ui import counted, language
from ui.language import SOURCE, speaking
from ui.tabs.captions.tab import summed
from ui.tabs.publish import page

PO = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "{n} picture added"
msgid_plural "{n} pictures added"
msgstr[0] "{n} Bild hinzugefügt"
msgstr[1] "{n} Bilder hinzugefügt"

msgid "Undo {n} caption ({source})"
msgid_plural "Undo {n} captions ({source})"
msgstr[0] "{n} Bildtext ({source}) zurücknehmen"
msgstr[1] "{n} Bildtexte ({source}) zurücknehmen"

msgid "typed"
msgstr "getippt"

msgid "undone: {what}"
msgstr "rückgängig gemacht: {what}"

msgid "{n} caption left alone, because changed since"
msgid_plural "{n} captions left alone, because changed since"
msgstr[0] "{n} Bildtext blieb, da seither geändert"
msgstr[1] "{n} Bildtexte blieben, da seither geändert"
"""


class Shouted(gettext.NullTranslations):
    """A language whose words are the English ones in capitals, and only those."""

    def gettext(self, message):
        return re.sub(r"(\{\w+\})|([^{]+)", lambda m: m[1] or m[2].upper(), message)

    def ngettext(self, one, many, n):
        return self.gettext(one if n == 1 else many)

    def pgettext(self, context, message):
        return self.gettext(message)


@pytest.fixture
def german(tmp_path, monkeypatch):
    (tmp_path / "de.po").write_text(PO, encoding="utf-8")
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    for kept in (language.catalogue, counted._said):
        kept.cache_clear()
    with speaking("de"):
        yield
    for kept in (language.catalogue, counted._said):
        kept.cache_clear()


@pytest.fixture
def shouted(monkeypatch):
    monkeypatch.setattr(language, "catalogue", lambda code: gettext.NullTranslations() if code == SOURCE else Shouted())
    counted._said.cache_clear()
    with speaking("shouted"):
        yield
    counted._said.cache_clear()


def test_each_piece_is_said_in_the_language_and_what_is_unknown_stays(german):
    assert counted.said("1200 pictures added, 3 things nobody knows") == "1.200 Bilder hinzugefügt, 3 things nobody knows"
    assert counted.said("1 caption left alone, because changed since, 1 picture added") == "1 Bildtext blieb, da seither geändert, 1 Bild hinzugefügt"
    assert counted.said("Undone: 1 picture added") == "Rückgängig gemacht: 1 Bild hinzugefügt"
    assert counted.undo("5 captions (typed)") == "5 Bildtexte (getippt) zurücknehmen" and counted.undo("5 captions (wd14)") == "5 Bildtexte (wd14) zurücknehmen"


def test_english_stays_as_the_engine_says_it():
    assert counted.said("1200 pictures added, 3 refused") == "1200 pictures added, 3 refused" and counted.undo("") == "Undo" and counted.undo("3 crops") == "Undo 3 crops"
    assert counted.undone("3 pictures put back, 1 crop put back") == "3 pictures put back, 1 crop put back." and counted.undone("nothing was left to put back") == "Nothing was left to put back."
    assert counted.programs("diffusers, ComfyUI and AUTOMATIC1111") == "diffusers, ComfyUI and AUTOMATIC1111" and counted.programs("peft") == "peft"
    assert counted.either(["/data"]) == "/data" and counted.either(["SDXL", "SD 1.5", "FLUX"]) == "SDXL or SD 1.5 or FLUX"


def test_whatever_the_engine_counts_is_known():
    many = lambda *names: Difference(names, names, names, {n: ("", "a") for n in names}, len(names), names, (), len(names))
    kinds = ("picture", "clip", "caption", "mask", "control", "duplicate")
    told = [many("1.png").says(), many("1.png", "2.png", "1.mask.png", "2.mask.png", "1.control.png").says()]
    for often in (1, 2):
        rows = [Verdict("", kind != "duplicate", "", "", kind) for kind in kinds] + [Verdict("", False, kind=kind) for kind in ("picture", *LEFT_OUT)]
        told += [datasets.summary(rows * often), noise.left_out(often, []), noise.left_out(0, ["a.psd"] * often), noise.left_out(often, ["a.psd", "b.xcf"])]
        told += [versions.captions_said(often, source) for source in (*versions.DID, "wd14")]
        told += [treatment.told(dict.fromkeys("ab"[:often], change)) for change in (["", "1"], ["", "m"], ["", "x"], ["x", ""], ["", "@1-2"], ["@1-2", ""])]
    for text in told:
        left = text.split(", ")
        while left:
            length = next((n for n in range(len(left), 0, -1) if counted._one(", ".join(left[:n]), ", ") is not None), 0)
            assert length, text
            left = left[length:]


# -- taking back


@pytest.mark.parametrize("what", [
    "version 3 brought back", "1 crop", "24 crops", "1 picture left out", "2 pictures taken back", "2 pictures mirrored", "1 picture turned", "removal of 1 picture", "removal of 12 pictures",
    "1 caption (typed)", "40 captions (its prompt)",
])  # fmt: skip
def test_undo_says_what_it_would_take_back(what, shouted):
    assert counted.undo(what) == f"UNDO {what.upper()}" and counted.undo("2 captions (florence2)") == "UNDO 2 CAPTIONS (florence2)"


@pytest.mark.parametrize("said", [
    "1 caption put back", "3 pictures put back, 1 crop put back", "2 pictures as before, 2 captions put back, 1 caption left alone, because changed since",
    "version 4 taken away again, 2 files that came since kept, 1 file that came since now in the bin",
])  # fmt: skip
def test_an_undo_says_what_was_taken_back(said, shouted):
    assert counted.undone(said) == f"{said.upper()}."
    gone = "without 7 files that are gone for good (a.png, 1 b.png, c.png, d.png, e.png and 2 more)"
    assert counted.undone(gone) == "WITHOUT 7 FILES THAT ARE GONE FOR GOOD (a.png, 1 b.png, c.png, d.png, e.png AND 2 MORE)."
    assert counted.undone("") == "THERE IS NOTHING TO UNDO."


def test_what_a_dataset_says_of_an_undo_is_known(tmp_path, shouted):
    ds = datasets.create(Home(tmp_path / "home").made(), "cats")
    for k in range(2):
        Image.new("RGB", (64, 64), (k, 0, 0)).save(ds.path / f"p{k}.png")
    ds.set_caption("p0.png", "a cat")
    ds.remove(["p1.png"])
    for expected in ("UNDO REMOVAL OF 1 PICTURE", "UNDO 1 CAPTION (TYPED)"):
        assert counted.undo(ds.can_undo()) == expected
        assert counted.undone(ds.undo()).isupper()


# -- what a job says at its end, and who reads a file


@pytest.mark.parametrize("tally", [Tally(3), Tally(3, skipped=1), Tally(3, failed=2), Tally(3, 1, 2), Tally(2, failed=1, trial=True)])
def test_the_end_of_a_captioning_is_told_in_one_language(tally, shouted):
    assert summed(str(tally)) == f"{tally}.".upper()


def test_the_end_of_an_upload_and_the_programs_that_read_a_file_are_told_in_one_language(shouted):
    for text in ("(private, commit 12345678)", "(12 pictures, public, commit 12345678; everything was there already)"):
        assert page._summed(text) == text.upper()
    assert counted.programs("AUTOMATIC1111 and kohya's scripts") == "AUTOMATIC1111 AND KOHYA'S SCRIPTS"
