"""Captions as other programs pass them on: tables and JSON, laid on the pictures that they speak of."""

from __future__ import annotations

import json

import pytest

from tests.data.make import encoded, scene, write, zipped
from training.data import datasets, importing, tables


@pytest.fixture
def ds(home):
    """An empty dataset."""
    return datasets.create(home, "d")


def told(ds) -> dict[str, tuple[str, ...]]:
    """{stem: its captions}."""
    return {p.id.rpartition(".")[0]: p.captions for p in ds.pictures()}


def folder_of(tmp_path, files: dict[str, str], pictures=("a.png", "b.png")):
    """A folder with some pictures and text files."""
    for seed, name in enumerate(pictures):
        write(tmp_path / "in" / name, seed)
    for name, text in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text, encoding="utf-8")
    return tmp_path / "in"


LINES = '{"image_path": "/somebody/elses/disk/a.png", "caption": "a fox"}\n{"image_path": "/x/b.png", "caption": "a hen"}\n'
BOTH = {"a": ("a fox",), "b": ("a hen",)}
LAYOUTS = {
    "imagefolder": ({"metadata.jsonl": '{"file_name": "a.png", "text": "a fox"}\n{"file_name": "b.png", "text": "a hen"}\n'}, BOTH),
    "imagefolder, table": ({"metadata.csv": 'file_name,text\na.png,"a fox"\nb.png,a hen\n'}, BOTH),
    "imagefolder, several": ({"metadata.jsonl": '{"file_name": "a.png", "captions": ["a fox,", "red fur,"]}\n'}, {"a": ("a fox,", "red fur,"), "b": ()}),
    "columns of captions": ({"captions.csv": "image;caption_1;caption_2\na.png;a fox;red fur\nb;a hen;\n"}, {"a": ("a fox", "red fur"), "b": ("a hen",)}),
    "tabs": ({"captions.tsv": "file\tcaption\na.png\ta fox, in snow\nb.png\ta hen\n"}, {"a": ("a fox, in snow",), "b": ("a hen",)}),
    "musubi": ({"train.jsonl": LINES}, BOTH),
    "diffusion-pipe": ({"captions.json": '{"a.png": ["a fox", "red fur"], "b.png": ["a hen"]}'}, {"a": ("a fox", "red fur"), "b": ("a hen",)}),
    "kohya's metadata": ({"meta_lat.json": '{"/train/a": {"caption": "a fox", "tags": "snow, red", "train_resolution": [64, 64]}, "/train/b": {"tags": "hen"}}'}, {"a": ("a fox, snow, red",), "b": ("hen",)}),
    "a list of objects": ({"data.json": '{"captions": [{"file_name": "a.png", "caption": "a fox"}, {"file_name": "b.png", "caption": "a hen"}]}'}, BOTH),
    "a JSON beside": ({"a.json": '{"caption": "a fox", "score": 3}', "b.png.json": '{"prompt": "a hen"}'}, BOTH),
    "a booru's": ({"a.json": '{"tag_string_general": "red_fur solo ^_^", "tag_string_character": "fox_(story)", "tag_string_meta": "highres"}'}, {"a": ("fox (story), red fur, solo, ^_^",), "b": ()}),
    "e621's": ({"a.json": '{"post": {"tags": {"general": ["red_fur"], "species": ["fox"], "meta": ["hi_res"]}}}'}, {"a": ("fox, red fur",), "b": ()}),
    "gallery-dl": ({"a.png.json": '{"tags": ["red_fur", "fox"], "description": "my page", "width": 5}'}, {"a": ("red fur, fox",), "b": ()}),
    "gallery-dl of pixiv": ({"a.json": '{"category": "pixiv", "caption": "<a href=x>my page</a>", "tags": ["fox", "\u72d0"]}'}, {"a": ("fox, \u72d0",), "b": ()}),
    "gelbooru's": ({"a.json": '{"@attributes": {"limit": 1}, "post": [{"id": 1, "tags": "red_fur fox"}]}'}, {"a": ("red fur, fox",), "b": ()}),
    "tags by the line": ({"a.png.txt": "red_fur\nfox\nsolo\n", "b.txt": "hen\nblue eyes\ncharacter:ada hen\nsolo\ngrass\nsun\n"}, {"a": ("red_fur, fox, solo",), "b": ("hen, blue eyes, character:ada hen, solo, grass, sun",)}),
    "tags and prose in two files": ({"a.txt": "1girl, red hat,", "a.caption": "A girl wears a red hat.", "b.txt": "a cat", "b.caption": "a dog"}, {"a": ("1girl, red hat", "A girl wears a red hat."), "b": ("a cat",)}),
    "a .txt goes before": ({"a.txt": "by hand", "metadata.jsonl": '{"file_name": "a.png", "text": "a fox"}\n{"file_name": "b.png", "text": "a hen"}\n'}, {"a": ("by hand",), "b": ("a hen",)}),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_captions_of_other_programs_are_read(ds, tmp_path, layout):
    files, expected = LAYOUTS[layout]
    verdicts = importing.add_folder(ds, folder_of(tmp_path, files))
    assert told(ds) == expected, verdicts
    assert all(v.ok or v.kind == "skipped" for v in verdicts), verdicts


def test_folders_decide_where_names_repeat(ds, tmp_path):
    rows = '{"file_name": "x/1.png", "text": "of x"}\n{"file_name": "y/1.png", "text": "of y"}\n'
    importing.add_files(ds, [zipped(tmp_path / "d.zip", {"d/x/1.png": encoded(scene(1)), "d/y/1.png": encoded(scene(2)), "d/metadata.jsonl": rows.encode()})])
    assert sorted(told(ds).values()) == [("of x",), ("of y",)]
    other = datasets.create(datasets.Home(ds.path.parent.parent), "other")
    for n, place in enumerate(("x", "y")):
        write(tmp_path / "p" / place / "1.png", n)
    (tmp_path / "p" / "list.jsonl").write_text('{"image_path": "/elsewhere/1.png", "caption": "of which?"}', encoding="utf-8")
    verdicts = importing.add_folder(other, tmp_path / "p")
    assert set(told(other).values()) == {()}  # of two files of one name neither is taken for the one that is meant
    assert "1 line of it speaks of no picture that is here" in next(v.reason for v in verdicts if v.kind == "table")


def test_a_table_that_comes_later_replaces_what_was_read_and_not_what_was_typed(ds, tmp_path):
    folder = folder_of(tmp_path, {"a.txt": "old", "b.txt": "old"})
    importing.add_folder(ds, folder)
    ds.set_caption("b.png", "typed")
    for text in folder.glob("*.txt"):
        text.unlink()
    (folder / "metadata.csv").write_text("file_name,text\na.png,new\nb.png,new\n", encoding="utf-8")
    verdicts = importing.add_folder(ds, folder)
    assert told(ds) == {"a": ("new",), "b": ("typed",)}
    assert "1 picture keeps the caption that it has" in next(v.reason for v in verdicts if v.kind == "table")
    importing.add_files(ds, [folder / "metadata.csv"])  # alone it is meant
    assert told(ds) == {"a": ("new",), "b": ("new",)}
    assert ds.undo()
    assert told(ds)["b"] == ("typed",)


def test_control_pictures_and_masks_are_what_a_table_calls_so(ds, tmp_path):
    row = {"file_name": "a.png", "text": "a fox", "conditioning_image_file_name": "lines/7.png", "mask_file_name": "m/other.png"}
    folder = folder_of(tmp_path, {"metadata.jsonl": json.dumps(row)}, ("a.png", "lines/7.png", "m/other.png"))
    verdicts = importing.add_folder(ds, folder)
    (picture,) = ds.pictures()
    assert picture.control and picture.mask and picture.mask.kind == "file", verdicts


DAMAGED = {
    "metadata.jsonl": ('{"file_name": "a.png", "text": "a fox"}\n{"file_na', "line 2 is no JSON"),
    "metadata.csv": ("picture,words\na.png,a fox\n", "its columns are picture, words"),
    "captions.json": ('{"a.png": "a f', "is not whole"),
    "list.jsonl": ("[1, 2]\n", "line 1 is no object"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_is_said_and_the_pictures_are_in(ds, tmp_path, name):
    text, why = DAMAGED[name]
    verdicts = importing.add_folder(ds, folder_of(tmp_path, {name: text}))
    (bad,) = [v for v in verdicts if v.file == name]
    assert not bad.ok
    assert why in bad.reason
    assert set(told(ds)) == {"a", "b"}


def test_json_of_other_programs_is_left_out_in_one_line(ds, tmp_path):
    files = {"config.json": '{"lr": 1, "steps": 5}', "a.json": '{"width": 5}', "model_index.csv": "a,b\n1,2\n", "deep.json": "[" * 100_000}
    verdicts = importing.add_folder(ds, folder_of(tmp_path, files))
    assert "3 files of other programs (.json, .csv) left out" in datasets.summary(verdicts)
    assert [v.file for v in verdicts if not v.ok and v.kind == "table"] == ["deep.json"]


def test_a_plugin_reads_a_format_of_its_own(home, ds, tmp_path, monkeypatch):
    (home.plugins / "formats").mkdir(parents=True)
    (home.plugins / "formats" / "pipes.py").write_text(
        "from training.data.tables import Row\nTITLE = 'pipes'\nBLURB = 'file|caption'\n"
        "def reads(name):\n    return name.endswith('.csv')\n"
        "def rows(text, name):\n    return [Row(*(f, (c,))) for f, c in (line.split('|') for line in text.splitlines())] if '|' in text else None\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("EASEL_HOME", str(home.root))
    importing.add_folder(ds, folder_of(tmp_path, {"words.csv": "a.png|a fox\nb.png|a hen\n"}))
    assert told(ds) == BOTH
    assert "pipes" in {p.module.TITLE for p in tables.registry.find("formats", home.plugins).values()}
