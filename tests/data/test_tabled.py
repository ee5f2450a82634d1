"""A folder that is used where it lies has the captions that the tables in it say; what somebody types stands beside the picture and goes before."""

from __future__ import annotations

import json
import os

from tests.data.make import write
from training.data import datasets


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def told(ds) -> dict[str, tuple[str, ...]]:
    return {p.id: p.captions for p in ds.pictures()}


def test_a_folder_in_place_has_the_captions_of_its_tables(home, tmp_path):
    folder = tmp_path / "own"
    for seed, name in enumerate(("a.png", "b.png", "c.png", "d.png")):
        write(folder / name, seed)
    (folder / "metadata.jsonl").write_text(lines({"file_name": "a.png", "text": "a fox"}, {"file_name": "b.png", "text": "a hen"}))
    (folder / "c.json").write_text('{"tags": ["red_fur"]}')
    (folder / "settings.json").write_text('{"lr": 1}')
    (folder / "b.txt").write_text("by hand")
    ds = datasets.resolve(home, str(folder))
    assert told(ds) == {"a.png": ("a fox",), "b.png": ("by hand",), "c.png": ("red fur",), "d.png": ()} and ds.get("a.png").caption_source == "file"
    before = ds.fingerprint()
    ds.set_captions({"a.png": "", "c.png": "typed"}, "typed")
    assert told(ds) == {"a.png": (), "b.png": ("by hand",), "c.png": ("typed",), "d.png": ()} and (folder / "c.txt").read_text() == "typed\n"
    datasets.forget(ds.meta)
    assert told(ds)["a.png"] == () and ds.undo() and told(ds)["a.png"] == ("a fox",) and ds.fingerprint() == before
    (folder / "a.txt").unlink()
    (folder / "metadata.jsonl").write_text(lines({"file_name": "a.png", "text": "another"}, {"file_name": "d.png", "captions": ["one", "two"]}))
    assert told(ds)["a.png"] == ("another",) and told(ds)["d.png"] == ("one", "two")


def test_a_damaged_table_is_told_under_the_pictures_and_a_link_is_not_followed(home, tmp_path):
    folder = home.datasets / "mine"  # put there by hand: a dataset without a copy
    write(folder / "a.png", 1)
    (folder / "metadata.jsonl").write_text('{"file_name": "a.p')
    ds = datasets.open_dataset(home, "mine")
    assert "metadata.jsonl line 1 is no JSON" in ds.get("a.png").caption_note
    (folder / "metadata.jsonl").unlink()
    if os.name != "nt":
        (tmp_path / "private.jsonl").write_text(lines({"file_name": "a.png", "text": "secret"}))
        (folder / "metadata.jsonl").symlink_to(tmp_path / "private.jsonl")
        assert ds.get("a.png").caption == "" and "is a link" in ds.get("a.png").caption_note
