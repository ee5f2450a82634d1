"""What a picture is made from: pairs in every layout that people have, several of one picture, kept, moved, undone and counted with it."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from tests import tiny
from tests.data.make import encoded, scene, write, zipped
from training import jobfile, registry
from training.config import TrainConfig
from training.data import bin, datasets, editing, exporting, importing, parts, restoring, twin, versions
from training.data.edits import new_op
from training.data.memory import scan
from training.data.roles import in_order, roles
from training.home import Home


@pytest.fixture
def ds(home):
    return datasets.create(home, "edits")


def pairs(ds) -> dict[str, list[str]]:
    """{picture: the stems of the pictures that it is made from, told by their pixels' seeds}."""
    return {p.id: [r.path.name for r in p.references] for p in ds.pictures()}


def colour(picture) -> tuple[int, int, int]:
    return picture.load().resize((1, 1)).getpixel((0, 0))


def same(picture, seed: int) -> bool:
    """Whether a reference is the scene of this seed."""
    return max(abs(a - b) for a, b in zip(colour(picture), scene(seed).resize((1, 1)).getpixel((0, 0)), strict=True)) <= 3


LAYOUTS = {
    "ai-toolkit": {"target/001.png": 1, "control_1/001.png": 2, "control_2/001.png": 3, "target/002.png": 4, "control_1/002.png": 5, "control_2/002.png": 6},
    "civitai": {"main/001.png": 1, "control_1/001.jpg": 2, "control_2/001.png": 3, "main/002.png": 4, "control_1/002.png": 5, "control_2/002.png": 6},
    "fal": {"001_end.png": 1, "001_start.png": 2, "001_start2.png": 3, "002_end.png": 4, "002_start.jpg": 5, "002_start2.png": 6},
    "beside": {"001.png": 1, "001.control.png": 2, "001.control2.png": 3, "002.png": 4, "002.control.png": 5, "002.control2.png": 6},
    "two numbered sources": {"edited/001.png": 1, "source_1/001.png": 2, "source_2/001.png": 3, "edited/002.png": 4, "source_1/002.png": 5, "source_2/002.png": 6},
    "one numbered folder": {"main/001.png": 1, "control/001_1.png": 2, "control/001_2.png": 3, "main/002.png": 4, "control/002_1.png": 5, "control/002_2.png": 6},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_tells_what_comes_first(layout):
    split = lambda name: (name.rpartition("/")[0], name.rpartition("/")[2])
    found = dict(zip(LAYOUTS[layout].values(), roles([split(name) for name in LAYOUTS[layout]]), strict=True))
    assert [seed for seed, role in found.items() if role.kind == "picture"] == [1, 4]
    assert [sorted(row, key=lambda seed: in_order(found[seed])) for row in ((3, 2), (6, 5))] == [[2, 3], [5, 6]]
    assert {found[2].owner[1], found[3].owner[1]} == {next(split(name)[1] for name, seed in LAYOUTS[layout].items() if seed == 1).rpartition(".")[0]}


def test_two_references_are_kept_in_their_order(ds, nasty):
    files = {name: encoded(scene(seed), "JPEG" if name.endswith("jpg") else "PNG") for name, seed in LAYOUTS["civitai"].items()}
    verdicts = importing.add_files(ds, [zipped(nasty / "edit.zip", files)])
    assert datasets.summary(verdicts) == "2 pictures added, 4 control pictures paired"
    first, second = ds.pictures()
    assert [r.name for r in first.references] == ["001.control.png", "001.control2.png"]
    assert same(first.references[0], 2) and same(first.references[1], 3) and same(second.references[0], 5) and same(second.references[1], 6)
    assert first.control == first.references[0] and first.more_controls == first.references[1:]


def test_two_folders_of_equal_names_pair_and_what_is_loose_is_named(ds, nasty):
    folder, befores = nasty / "two", "before"
    for n in range(2):
        write(folder / befores / f"{n}.png", n), write(folder / "after" / f"{n}.jpg", 10 + n)
    write(folder / befores / "lost.png", 20), write(folder / "after" / "alone.png", 21)
    (folder / "instruction.txt").write_text("make it night")
    verdicts = {v.file: v for v in importing.add_folder(ds, folder)}
    assert {p.id: (len(p.references), p.caption) for p in ds.pictures()} == {"0.jpg": (1, "make it night"), "1.jpg": (1, "make it night"), "alone.png": (0, "")}
    assert verdicts["instruction.txt"].ok and "one instruction for all: it is the caption of 2 pictures now" in verdicts["instruction.txt"].reason
    assert "no picture that it belongs to" in verdicts[f"{befores}/lost.png"].reason
    assert verdicts["alone.png"].ok and "without a control picture, where others came with one" in verdicts["alone.png"].reason


@pytest.mark.slow
def test_a_notice_and_a_text_among_others_are_no_instruction(ds, nasty):
    for n in range(2):
        write(nasty / "a" / "before" / f"{n}.png", n), write(nasty / "a" / "after" / f"{n}.png", 10 + n)
    (nasty / "a" / "README.txt").write_text("made by me")
    importing.add_folder(ds, nasty / "a")
    assert not any(p.caption for p in ds.pictures())


@pytest.mark.slow
def test_a_tar_of_fal_has_its_captions_by_root(ds, nasty):
    with tarfile.open(nasty / "fal.tar", "w") as tar:
        for name, data in (("a_start.png", encoded(scene(1))), ("a_end.png", encoded(scene(2))), ("a.txt", b"colour it")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    importing.add_files(ds, [nasty / "fal.tar"])
    assert [(p.id, p.caption, len(p.references)) for p in ds.pictures()] == [("a_end.png", "colour it", 1)]


@pytest.mark.slow
def test_a_table_names_several(ds, nasty):
    lines = '{"file_name": "a.png", "control_path_1": "x.png", "control_path_2": "y.png", "edit_prompt": "put y into x", "text": "what is to be seen"}\n'
    files = {"a.png": encoded(scene(1)), "x.png": encoded(scene(2)), "y.png": encoded(scene(3), "PNG"), "metadata.jsonl": lines.encode()}
    importing.add_files(ds, [zipped(nasty / "t.zip", files)])
    (picture,) = ds.pictures()
    assert picture.caption == "put y into x" and same(picture.references[0], 2) and same(picture.references[1], 3)


@pytest.mark.slow
def test_a_second_one_that_comes_later_goes_behind_the_first_and_drawings_stay_one(ds, nasty):
    importing.add_files(ds, [zipped(nasty / "one.zip", {"main/a.png": encoded(scene(1)), "control_1/a.png": encoded(scene(2))})])
    importing.add_files(ds, [zipped(nasty / "two.zip", {"main/a.png": encoded(scene(1)), "control_2/a.png": encoded(scene(3))})])
    (picture,) = ds.pictures()
    assert same(picture.references[0], 2) and same(picture.references[1], 3)
    (said,) = [v for v in importing.add_files(ds, [write(nasty / "a_canny.png", 4), write(nasty / "a_depth.png", 5)]) if not v.ok]
    assert "a_depth.png" in said.file and "one is used" in said.reason


def edit(ds, nasty, *stems: str):
    """A dataset of pictures with two references each, the second of another shape."""
    files = []
    for n, stem in enumerate(stems):
        files += [write(nasty / f"{stem}.png", 10 * n), write(nasty / f"{stem}.control.png", 10 * n + 1), write(nasty / f"{stem}.control2.png", 10 * n + 2, size=(70, 100))]
    importing.add_files(ds, files)
    return ds


@pytest.mark.slow
def test_all_of_them_go_with_their_picture_into_the_bin_and_back(ds, nasty):
    edit(ds, nasty, "cat", "dog")
    before = pairs(ds)
    ds.remove(["cat.png"])
    assert sorted(p.name for p in ds.path.iterdir() if p.name[0] != ".") == ["dog.control.png", "dog.control2.png", "dog.png"]
    ds.undo()
    assert pairs(ds) == before
    ds.remove(["cat.png"])
    write(ds.path / "cat.png", 50)  # meanwhile another one took its name
    bin_keys = [k.key for k in bin.contents(ds) if k.kind == bin.PICTURE]
    restoring.bring_back(ds, bin_keys)
    assert pairs(ds) == before | {"cat.png": [], "cat-2.png": ["cat-2.control.png", "cat-2.control2.png"]}


@pytest.mark.slow
def test_versions_and_twins_have_them_and_bring_them_back(ds, nasty):
    edit(ds, nasty, "cat")
    whole, before = versions.newest(ds).id, pairs(ds)
    bin.put_aside(ds, scan(ds.path), ["cat.control2.png"], new_op())
    assert pairs(ds) == {"cat.png": ["cat.control.png"]} and "1 control picture removed" in versions.gather(ds).change
    assert pairs(twin.twin(Home(ds.path.parent.parent), ds, whole).dataset) == before
    restoring.restore(ds, whole)
    assert pairs(ds) == before


@pytest.mark.slow
def test_the_fingerprint_tells_them_apart(ds, nasty):
    edit(ds, nasty, "cat")
    both, plain = ds.fingerprint(controls=True), ds.fingerprint()
    (ds.path / "cat.control2.png").unlink()
    assert ds.fingerprint() == plain and ds.fingerprint(controls=True) != both


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "imagefolder"])
def test_a_packed_dataset_comes_back_with_all_of_them(ds, nasty, kind):
    edit(ds, nasty, "cat")
    exporting.write(ds, kind, nasty / "out.zip")
    other = datasets.create(Home(ds.path.parent.parent), "again")
    importing.add_files(other, [nasty / "out.zip"])
    assert pairs(other) == pairs(ds) and [p.references[1].sha256 for p in other.pictures()] == [p.references[1].sha256 for p in ds.pictures()]
    assert zipfile.ZipFile(nasty / "out.zip").testzip() is None


@pytest.mark.slow
def test_a_damaged_one_takes_those_behind_it_along_and_says_so(ds, nasty):
    edit(ds, nasty, "cat")
    (ds.path / "cat.control.png").write_bytes(b"no picture")
    picture = ds.get("cat.png")
    assert picture.references == () and "cat.control.png" in picture.control_note


def test_a_folder_in_place_has_its_befores_in_folders_below_it(home, nasty):
    own = nasty / "own"
    for n in range(2):
        write(own / f"{n}.png", n), write(own / "control_1" / f"{n}.jpg", 10 + n), write(own / "control_2" / f"{n}.png", 20 + n)
    write(own / "control_1" / "lost.png", 30)
    found = datasets.resolve(home, str(own))
    assert {p.id: [r.path.parent.name for r in p.references] for p in found.pictures()} == {"0.png": ["control_1", "control_2"], "1.png": ["control_1", "control_2"]}
    assert [r.name for r in found.get("0.png").references] == ["0.control.png", "0.control2.png"] and same(found.get("1.png").references[0], 11)
    assert versions.gather(found) is not None, "a version of it knows them by flat names"


def test_a_folder_of_results_in_place_has_its_befores_beside_it(home, nasty):
    for n in range(2):
        write(nasty / "d" / "edited" / f"{n}.png", n), write(nasty / "d" / "originals" / f"{n}.png", 10 + n), write(nasty / "d" / "other" / f"{n}.png", 20 + n)
    found = datasets.resolve(home, str(nasty / "d" / "edited"))
    assert all(len(p.references) == 1 for p in found.pictures()) and same(found.get("1.png").references[0], 11)
    assert not any(p.references for p in datasets.resolve(home, str(nasty / "d" / "other")).pictures()), "a folder of any name has no befores beside it"
    assert parts.counts(datasets.resolve(home, str(nasty / "d"))) == {"edited": 2, "other": 2}, "befores are no part to learn from"


@pytest.mark.slow
def test_one_is_added_and_taken_away_by_hand_and_undo_brings_it_back(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1)])
    said = importing.add_references(ds, "cat.png", [write(nasty / "any name.jpg", 2), write(nasty / "other.png", 3, size=(70, 100)), write(nasty / "tiny.png", 4, size=(20, 20))])
    assert [v.ok for v in said] == [True, True, False] and "too small" in said[2].reason
    assert pairs(ds) == {"cat.png": ["cat.control.png", "cat.control2.png"]} and same(ds.get("cat.png").references[0], 2)
    assert ds.remove_references(["cat.png"]) == 2 and pairs(ds) == {"cat.png": []}
    importing.add_references(ds, "cat.png", [write(nasty / "third.png", 5)])
    assert ds.can_undo() == "1 control picture added" and pairs(ds) == {"cat.png": ["cat.control.png"]}
    assert ds.undo() == "1 control picture taken away again" and pairs(ds) == {"cat.png": []}
    write(ds.path / "cat.control.png", 6), write(ds.path / "cat.control3.png", 7)
    assert ds.can_undo() == "removal of 2 control pictures" and ds.undo() == "2 control pictures put back"
    assert pairs(ds) == {"cat.png": ["cat.control.png", "cat.control2.png"]} and same(ds.get("cat.png").references[0], 2), "the old pair whole, nothing of the new one in it"


@pytest.mark.slow
def test_another_one_takes_no_place_and_those_of_a_folder_below_stay(ds, nasty):
    write(ds.path / "cat.png", 1), write(ds.path / "control" / "cat.png", 2), write(ds.path / "dog.png", 3), write(ds.path / "dog.control2.png", 4)
    for id in ("cat.png", "dog.png"):
        importing.add_references(ds, id, [write(nasty / "more.png", 5)])
    assert pairs(ds) == {"cat.png": ["cat.control.png", "cat.control2.png"], "dog.png": ["dog.control.png", "dog.control2.png"]}, "a gap is filled"
    assert [same(ds.get(id).references[n], seed) for id, seeds in (("cat.png", (2, 5)), ("dog.png", (5, 4))) for n, seed in enumerate(seeds)] == [True] * 4
    ds.undo(), ds.undo()
    assert pairs(ds) == {"cat.png": ["cat.png"], "dog.png": []}
    assert ds.get("dog.png").control_note == "dog.control.png is missing, but dog.control2.png is there"


@pytest.mark.slow
def test_befores_in_a_folder_below_go_into_the_bin_and_lie_beside_their_picture_when_they_come_back(ds, nasty):
    write(ds.path / "cat.png", 1), write(ds.path / "control" / "cat.png", 2)
    assert [r.path for r in ds.get("cat.png").references] == [ds.path / "control" / "cat.png"]
    ds.remove(["cat.png"])
    assert not (ds.path / "control" / "cat.png").exists()
    ds.undo()
    assert [r.path for r in ds.get("cat.png").references] == [ds.path / "cat.control.png"]


@pytest.mark.slow
def test_two_pairs_with_one_result_do_not_become_one_with_two_befores(ds, nasty):
    files = {"main/a.png": encoded(scene(1)), "main/b.png": encoded(scene(1)), "control_1/a.png": encoded(scene(2)), "control_1/b.png": encoded(scene(3))}
    verdicts = importing.add_files(ds, [zipped(nasty / "one.zip", files)])
    assert pairs(ds) == {"a.png": ["a.control.png"]} and same(ds.get("a.png").references[0], 2)
    assert any(not v.ok and "control_1/b.png" in v.file and "which has another one" in v.reason for v in verdicts)


def test_a_damaged_second_one_and_a_missing_first_one_are_named_and_another_shape_is_not(home, nasty):
    for n, seconds in enumerate(("control2", "control3", "", "control2")):
        write(nasty / "d" / f"{n}.png", n), (nasty / "d" / f"{n}.txt").write_text("make it night")
        if n != 3:
            write(nasty / "d" / f"{n}.control.png", 10 + n, size=(80, 80) if n == 2 else (120, 80))
        if seconds:
            write(nasty / "d" / f"{n}.{seconds}.png", 20 + n)
    (nasty / "d" / "0.control2.png").write_bytes(b"no picture")
    spec = registry.get("families", "flux2_klein").SPEC
    for plain in (False, True):
        config = jobfile.parse(TrainConfig, tiny.train_job("nowhere", nasty / "d", model__family="flux2_klein", loss__objective="edit", edit__plain=plain, edit__same_shape=False))
        said = " ".join(editing.faults(config, spec, editing.rows(config, home)))
        assert "0.control2.png" in said and "1.control2.png is missing, but 1.control3.png is there" in said and "3.control.png is missing, but 3.control2.png is there" in said
        assert "2.png" not in said.replace(".control2.png", "") and said.count("Not all that it is made from can be used: ") == 1
    assert datasets.resolve(home, str(nasty / "d")).get("3.png").references == ()


def test_what_fills_no_batch_for_the_sizes_of_what_it_is_made_from_is_said():
    many, alike = [(64, 64, 1, (n, 64)) for n in range(5)], [(64, 64, 1, (64, 64))] * 3
    (said,) = editing.apart(many + alike, 2)
    assert said.startswith("5 of 8 pictures share their shape with too few others to fill a batch of 2")
    assert editing.apart(many + alike, 1) == editing.apart(alike * 2, 4) == editing.apart(["all"] * 9, 4) == editing.apart([(n, 64, 1) for n in range(5)], 4) == []
