"""Formats that need a package which does not come with Easel: read where it is there, one sentence where it is not."""

from __future__ import annotations

import importlib.util
import os

import pytest

from tests.data.make import encoded, scene, write
from training.data import datasets, importing, parquet, sevens
from training.data.offered import Offered


@pytest.fixture
def ds(home):
    return datasets.create(home, "packed")


@pytest.fixture
def without(monkeypatch):
    """As on a computer where the packages are not."""
    found = importlib.util.find_spec
    for module in (parquet, sevens):
        monkeypatch.setattr(module, "find_spec", lambda name, *a: None if name in ("pyarrow", "py7zr") else found(name, *a))


def test_without_the_packages_a_sentence_says_what_to_do_and_the_rest_is_in(ds, tmp_path, without):
    write(tmp_path / "in" / "a.png", 1)
    for name in ("data/train-0.parquet", "more.7z"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"PAR1")
    said = {v.file: v.reason for v in importing.add_folder(ds, tmp_path / "in") if not v.ok}
    assert "pip install pyarrow" in said["data/train-0.parquet"] and "unpack it and add the folder" in said["more.7z"] and len(said) == 2
    assert [v.reason for v in importing.add_files(ds, [tmp_path / "in" / "more.7z"])] == [said["more.7z"]]
    assert [p.id for p in ds.pictures()] == ["a.png"]


@pytest.mark.slow
def test_a_parquet_dataset_of_the_hub_gives_its_pictures_captions_and_controls(ds, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = {
        "image": [{"bytes": encoded(scene(n), "JPEG"), "path": name} for n, name in enumerate(("x/one.jpg", None, "one.jpg"))] + [{"bytes": b"no picture", "path": "bad.png"}, {"bytes": None, "path": "far.png"}],
        "text": ["a fox", "a hen", None, "bad", "far"], "caption_2": [None, "feathers", None, None, None],
        "conditioning_image": [{"bytes": encoded(scene(9)), "path": None}, *[None] * 4], "label": [1, 2, 3, 4, 5],
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "train-00000-of-00001.parquet")
    pq.write_table(pa.table({"text": ["only words"]}), tmp_path / "words.parquet")
    verdicts = importing.add_files(ds, [tmp_path / "train-00000-of-00001.parquet", tmp_path / "words.parquet"])
    assert {p.id: p.captions for p in ds.pictures()} == {"one.jpg": ("a fox",), "train-00000-of-00001-00001.jpg": ("a hen", "feathers"), "00002-one.jpg": ()}, verdicts
    assert ds.get("one.jpg").control
    said = {v.file.rpartition("/")[2]: v.reason for v in verdicts if not v.ok and v.kind in ("picture", "archive")}
    assert set(said) == {"bad.png", "far.png"} and "lies elsewhere" in said["far.png"]
    assert any("1 file of other programs (.parquet) left out" in v.reason for v in verdicts)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "train-00000-of-00001.parquet").read_bytes()[:-40])
    (verdict,) = importing.add_files(ds, [tmp_path / "cut.parquet"])
    assert "damaged Parquet" in verdict.reason


def test_a_parquet_file_that_breaks_off_gives_its_first_pictures_with_their_captions(ds, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = pa.table({"image": [encoded(scene(n), "JPEG") for n in range(24)], "target_img": [None] * 24, "text": [f"fox {n}" for n in range(24)]})
    (tmp_path / "in").mkdir()
    pq.write_table(rows, tmp_path / "in" / "a.parquet", row_group_size=8, compression="none", use_dictionary=False)
    at = pq.ParquetFile(tmp_path / "in" / "a.parquet").metadata.row_group(2).column(0).data_page_offset
    data = bytearray((tmp_path / "in" / "a.parquet").read_bytes())
    data[at : at + 40] = b"\xff" * 40
    (tmp_path / "in" / "a.parquet").write_bytes(data)
    verdicts = importing.add_files(ds, [tmp_path / "in" / "a.parquet"])
    assert sorted(p.caption for p in ds.pictures()) == sorted(f"fox {n}" for n in range(16)), verdicts
    assert any("damaged Parquet" in v.reason and "the 16 pictures before that are used" in v.reason for v in verdicts)


def test_half_a_line_of_the_table_is_dropped(tmp_path):
    (tmp_path / "table").write_bytes(b'{"a": 1}\n{"b')
    parquet._keep_whole_lines(tmp_path / "table")
    assert (tmp_path / "table").read_bytes() == b'{"a": 1}\n'


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_told_as_one(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": [encoded(scene(1))], "text": ["a fox"]}), tmp_path / "a.parquet")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table").symlink_to("/dev/full")
    with pytest.raises(ValueError, match="does not fit on the disk; free some space"):
        list(parquet.unpack(tmp_path / "a.parquet", tmp_path / "out"))


def test_a_shard_is_no_part_of_a_dataset(tmp_path):
    of = lambda folder: importing._part(Offered("a.png", folder, "a.png", tmp_path))
    assert [of(f) for f in ("data/train-00000-of-00002.parquet", "train.PARQUET", "data/cats", "")] == ["data", "", "data/cats", ""]


def test_a_damaged_7z_leaves_the_rest_of_an_import_alone(ds, tmp_path):
    py7zr = pytest.importorskip("py7zr")
    write(tmp_path / "a.png", 1)
    for seed, filters in enumerate(([{"id": py7zr.FILTER_LZMA2, "preset": 1}], [{"id": py7zr.FILTER_DEFLATE}], [{"id": py7zr.FILTER_LZMA, "preset": 1}])):
        with py7zr.SevenZipFile(tmp_path / f"{seed}.7z", "w", filters=filters) as archive:
            archive.write(tmp_path / "a.png", "b.png")
        data = bytearray((tmp_path / f"{seed}.7z").read_bytes())
        data[32:90] = b"\xff" * 58  # where the packed bytes begin
        (tmp_path / f"{seed}.7z").write_bytes(data)
    verdicts = importing.add_files(ds, [tmp_path / "0.7z", tmp_path / "1.7z", tmp_path / "2.7z", tmp_path / "a.png"])
    assert [p.id for p in ds.pictures()] == ["a.png"] and sum("not a 7z that can be opened" in v.reason for v in verdicts) == 3, verdicts


def test_a_7z_gives_its_pictures_and_nothing_else(ds, tmp_path):
    py7zr = pytest.importorskip("py7zr")
    write(tmp_path / "a.png", 1)
    (tmp_path / "a.txt").write_text("a fox")
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "in.7z", "w") as archive:
        archive.write(tmp_path / "a.png", "set/a.png"), archive.write(tmp_path / "a.txt", "set/a.txt"), archive.write(tmp_path / "link.png", "set/link.png")
        archive.writestr(b"x", "set/.DS_Store")
    verdicts = {v.file: v for v in importing.add_files(ds, [tmp_path / "in.7z"])}
    assert {p.id: p.caption for p in ds.pictures()} == {"a.png": "a fox"}, verdicts
    assert "not a file" in verdicts["set/link.png"].reason and "1 hidden system file" in datasets.summary(list(verdicts.values()))
    with py7zr.SevenZipFile(tmp_path / "locked.7z", "w", password="x") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    (tmp_path / "cut.7z").write_bytes((tmp_path / "in.7z").read_bytes()[:200])
    for name, why in (("locked.7z", "without a password"), ("cut.7z", "not a 7z that can be opened")):
        (verdict,) = importing.add_files(ds, [tmp_path / name])
        assert why in verdict.reason
