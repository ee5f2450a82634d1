"""Captions whose encoding was guessed, and captions of several lines: what is chosen for them holds, and can be taken back."""

from __future__ import annotations

import pytest

from training.data import datasets, importing, memory, rereading
from ui.tabs.captions import notes

from .make import write

TEXTS = ["девушка в красном платье", "кот на диване, мягкий свет"]


@pytest.fixture(params=["imported", "in place"])
def ds(request, home, nasty):
    folder = nasty / "in"
    for n, text in enumerate(TEXTS):
        write(folder / f"{n}.png", n)
        (folder / f"{n}.txt").write_bytes(text.encode("cp1251"))
    if request.param == "in place":
        return datasets.resolve(home, str(folder))
    ds = datasets.create(home, "russian")
    assert all("Windows-1251" in v.reason for v in importing.add_folder(ds, folder) if v.kind == "caption")
    return ds


def test_a_guess_is_shown_and_another_encoding_can_be_chosen_for_one_or_all(ds):
    assert [p.caption for p in ds.pictures()] == TEXTS
    assert [(g.id, g.encoding) for g in rereading.guessed(ds)] == [("0.png", "cp1251"), ("1.png", "cp1251")]
    assert "Cyrillic (Windows-1251)" in notes.encodings_html(rereading.guessed(ds)) and TEXTS[0] in notes.encodings_html(rereading.guessed(ds))
    assert rereading.reread(ds, "koi8-r", ["1.png"]) == 1
    assert ds.caption("0.png") == TEXTS[0] and ds.caption("1.png") == TEXTS[1].encode("cp1251").decode("koi8-r")
    memory.forget(ds.meta)  # another process, or the next day
    assert {g.id: g.encoding for g in rereading.guessed(ds)} == {"0.png": "cp1251", "1.png": "koi8-r"}
    assert rereading.reread(ds, "cp1251") == 1 and [p.caption for p in ds.pictures()] == TEXTS
    ds.undo()
    assert ds.caption("1.png") != TEXTS[1]


def test_what_somebody_has_edited_is_not_read_again_and_a_wrong_choice_is_said(ds):
    ds.set_caption("0.png", "a girl")
    assert [g.id for g in rereading.guessed(ds)] == ["1.png"]
    with pytest.raises(ValueError, match=r"1\.png is not in UTF-8"):
        rereading.reread(ds, "utf-8")
    assert ds.caption("0.png") == "a girl" and ds.caption("1.png") == TEXTS[1]


def test_lines_are_taken_as_they_look_or_as_somebody_chose(ds):
    ds.set_caption("0.png", "1girl, smile\na woman smiles")
    assert ds.get("0.png").captions == ("1girl, smile", "a woman smiles") and ds.caption("0.png") == "1girl, smile\na woman smiles"
    assert "each a caption of its own" in notes.lines_html(ds)
    before = ds.fingerprint()
    ds.set_lines("one")
    assert ds.get("0.png").captions == ("1girl, smile a woman smiles",) and "read as one text" in notes.lines_html(ds)
    assert ds.fingerprint() != before
    with pytest.raises(ValueError, match="cannot be read as"):
        ds.set_lines("often")
