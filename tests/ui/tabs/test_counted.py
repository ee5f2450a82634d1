"""What the engine says in half sentences with numbers is found again, so that it can be said in another language."""

import pytest

from training.data import datasets, noise, treatment, versions
from training.data.datasets import Verdict
from training.data.states import Difference
from training.data.verdicts import LEFT_OUT
from ui import language
from ui.language import speaking
from ui.tabs.dataset import counted

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


def test_each_piece_is_said_in_the_language_and_what_is_unknown_stays(german):
    assert counted.said("1200 pictures added, 3 things nobody knows") == "1.200 Bilder hinzugefügt, 3 things nobody knows"
    assert counted.said("1 caption left alone, because changed since, 1 picture added") == "1 Bildtext blieb, da seither geändert, 1 Bild hinzugefügt"
    assert counted.said("Undone: 1 picture added") == "Rückgängig gemacht: 1 Bild hinzugefügt"
    assert counted.undo("5 captions (typed)") == "5 Bildtexte (getippt) zurücknehmen" and counted.undo("5 captions (wd14)") == "5 Bildtexte (wd14) zurücknehmen"


def test_english_stays_as_the_engine_says_it():
    assert counted.said("1200 pictures added, 3 refused") == "1200 pictures added, 3 refused" and counted.undo("") == "Undo" and counted.undo("3 crops") == "Undo 3 crops"


def test_whatever_the_engine_counts_is_known():
    many = lambda *names: Difference(names, names, names, {n: ("", "a") for n in names}, len(names), names, (), len(names))
    kinds = ("picture", "clip", "caption", "mask", "control", "duplicate")
    told = [many("1.png").says(), many("1.png", "2.png", "1.mask.png", "2.mask.png", "1.control.png").says()]
    for often in (1, 2):
        rows = [Verdict("", kind != "duplicate", "", "", kind) for kind in kinds] + [Verdict("", False, kind=kind) for kind in ("picture", *LEFT_OUT)]
        told += [datasets.summary(rows * often), noise.left_out(often, []), noise.left_out(0, ["a.psd"] * often), noise.left_out(often, ["a.psd", "b.xcf"])]
        told += [versions.captions_said(often, source) for source in (*versions.DID, "wd14")]
        told += [treatment.told(dict.fromkeys("ab"[:often], change)) for change in (["", "1"], ["", "m"], ["", "x"], ["x", ""])]
    for text in told:
        left = text.split(", ")
        while left:
            length = next((n for n in range(len(left), 0, -1) if counted._one(", ".join(left[:n]), ", ") is not None), 0)
            assert length, text
            left = left[length:]
