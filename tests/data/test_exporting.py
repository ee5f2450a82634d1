"""A dataset that is packed for another program is read by it, and comes back as it was."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from tests.data.make import clip, encoded, scene, write
from training.data import datasets, exporting, importing


@pytest.fixture
def ds(home, tmp_path):
    """Three pictures: one with two captions, one with a mask and a control picture, one with nothing; and one that is no picture."""
    folder = tmp_path / "in"
    for seed, name in enumerate(("a.png", "b ü.jpg", "c.webp")):
        write(folder / name, seed)
    (folder / "a.txt").write_text("a fox.\nred fur.\n", encoding="utf-8")
    (folder / "b ü.txt").write_text("Füchse, 狐", encoding="utf-8")
    (folder / "b ü.mask.png").write_bytes(encoded(scene(8, mode="L")))
    (folder / "b ü.control.png").write_bytes(encoded(scene(9)))
    (folder / "broken.png").write_bytes(b"no picture")
    made = datasets.create(home, "My fox: red")
    importing.add_folder(made, folder)
    made.set_repeats({"c.webp": 3})
    return made


def facts(ds) -> list:
    return sorted((p.sha256, p.captions, p.mask.sha256 if p.mask else "", p.control.sha256 if p.control else "", p.repeats) for p in ds.pictures() if p.usable)


@pytest.mark.parametrize("kind", ["text", *(pytest.param(kind, marks=pytest.mark.slow) for kind in exporting.KINDS if kind != "text")])
def test_what_is_packed_comes_back_as_it_was(ds, home, tmp_path, kind):
    assert exporting.write(ds, kind, tmp_path / "out.zip") == 3
    again = datasets.create(home, "again")
    verdicts = importing.add_files(again, [tmp_path / "out.zip"])
    words = ("My fox- red",) if kind == "kohya" else ()  # what its folder is called is the caption of a picture that has none
    assert facts(again) == [(row[0], row[1] or words, *row[2:4], row[4] if kind == "kohya" else 1) for row in facts(ds)], verdicts
    assert all(v.ok or v.kind == "skipped" for v in verdicts), verdicts


@pytest.mark.slow
def test_the_table_of_an_imagefolder_has_the_same_columns_in_every_line(ds):
    archive = zipfile.ZipFile(io.BytesIO(b"".join(exporting.stream(ds, "imagefolder", exporting.check(ds, "imagefolder")))))
    rows = [json.loads(line) for line in archive.read("metadata.jsonl").decode().splitlines()]
    assert len({tuple(sorted(row)) for row in rows}) == 1
    assert rows[0]["captions"] == ["a fox.", "red fur."]
    assert {row["conditioning_image_file_name"] for row in rows} == {None, "conditioning/b ü.png"}
    assert archive.testzip() is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", exporting.KINDS)
def test_what_is_said_of_scenes_keeps_its_times_and_a_trim_is_told(home, tmp_path, kind):
    said = "A film.\n[0:00] It begins.\n[0:00.5] It goes on."
    film = datasets.create(home, "film")
    clip(film.path / "a.mp4")
    (film.path / "a.txt").write_text(said)
    film.check()
    film.trim("a.mp4", 0.2, 0.8)
    assert exporting.trimmed(exporting.check(film, kind)).endswith("only a part is learnt here: a.mp4 (0.2 to 0.8 s)")
    exporting.write(film, kind, tmp_path / "out.zip")
    again = datasets.create(home, "again")
    importing.add_files(again, [tmp_path / "out.zip"])
    assert again.get("a.mp4").caption == said and exporting.trimmed(again.pictures()) == ""


def test_what_cannot_be_packed_is_said_and_nothing_is_left_behind(ds, home, tmp_path):
    with pytest.raises(ValueError, match="cannot be packed as 'tar'"):
        exporting.write(ds, "tar", tmp_path / "x.zip")
    with pytest.raises(ValueError, match="no usable picture"):
        exporting.write(datasets.create(home, "empty"), "text", tmp_path / "x.zip")
    (tmp_path / "there.zip").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="there already"):
        exporting.write(ds, "text", tmp_path / "there.zip")
    assert (tmp_path / "there.zip").read_bytes() == b"mine"
    assert not list(tmp_path.glob("*.part"))
