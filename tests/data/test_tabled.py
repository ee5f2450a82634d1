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


def test_a_folder_in_place_has_the_masks_that_a_column_names(home, tmp_path):
    folder = tmp_path / "own"
    for seed, name in enumerate(("a.png", "b.png", "c.png", "d.png", "e.png")):
        write(folder / name, seed)
    for seed, name in enumerate(("m1.png", "masks/b.png", "c-masklabel.png", "other.png"), 20):
        write(folder / name, seed)
    rows = [("a.png", "m1.png"), ("b.png", "masks/b.png"), ("c.png", "other.png"), ("d.png", "../private.png"), ("e.png", "e.png")]
    write(tmp_path / "private.png", 40)
    (folder / "metadata.csv").write_text("file_name,text,mask\n" + "".join(f"{file},a fox,{mask}\n" for file, mask in rows))
    ds = datasets.resolve(home, str(folder))
    pictures = {p.id: p for p in ds.pictures()}
    masks = {id: p.mask.path.relative_to(folder).as_posix() for id, p in pictures.items() if p.mask}
    assert masks == {"a.png": "m1.png", "b.png": "masks/b.png", "c.png": "c-masklabel.png"}
    assert sorted(pictures) == ["a.png", "b.png", "c.png", "d.png", "e.png", "other.png"] and "by a table" in pictures["other.png"].note
    assert pictures["a.png"].mask.load().size == (pictures["a.png"].width, pictures["a.png"].height)
    before = ds.fingerprint(masks=True)
    write(folder / "m1.png", 77)
    write(folder / "masks/b.png", 78)
    assert ds.fingerprint(masks=True) != before
    # what it was trained on is that without the table, too
    from training.data import states, twin, versions

    state = states.now(ds)
    assert {"a.mask.png", "b.mask.png"} <= set(state.files) and "m1.png" not in state.files
    version = versions.gather(ds)
    (folder / "a.txt").write_text("another")
    made = twin.twin(home, ds, version.id).dataset
    assert {p.id: p.mask.path.name for p in made.pictures() if p.mask} == {"a.png": "a.mask.png", "b.png": "b.mask.png", "c.png": "c-masklabel.png"}
    assert twin.twin(home, ds, version.id).dataset.name == made.name and states.now(made).files == state.files
    (folder / "metadata.csv").unlink()
    assert "m1.png" in {p.id for p in ds.pictures()} and not ds.get("a.png").mask


def test_masks_of_a_table_reach_no_other_folder(home, tmp_path):
    folder = tmp_path / "own"
    write(folder / "a.png", 1)
    write(tmp_path / "elsewhere" / "m.png", 2)
    if os.name != "nt":
        (folder / "there").symlink_to(tmp_path / "elsewhere")
    for said in ("there/m.png", "../elsewhere/m.png", str(tmp_path / "elsewhere" / "m.png"), "none/m.png"):
        (folder / "metadata.jsonl").write_text(lines({"file_name": "a.png", "mask": said}))
        ds = datasets.resolve(home, str(folder))
        assert ds.get("a.png").mask is None
