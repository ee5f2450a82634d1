"""The bin, undo and versions where things went on meanwhile, are damaged, or were written by somebody else."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time

import pytest

from training.data import bin, datasets, importing, memory, restoring, states, twin, versions

from .make import encoded, scene, write


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    """Two pictures that were looked at, one with a caption and a mask."""
    folder = tmp_path_factory.mktemp("undoing") / "cats"
    write(folder / "a.png", 1)
    write(folder / "b.png", 2)
    (folder / "a.txt").write_text("a red cat")
    scene(7, mode="L").save(folder / "a.mask.png")
    ds = datasets.Dataset(folder, folder / datasets.HIDDEN)
    ds.pictures()
    versions.gather(ds)
    return ds


@pytest.fixture
def ds(home, looked_at):
    shutil.copytree(looked_at.path, home.datasets / "cats")
    return datasets.open_dataset(home, "cats")


@pytest.fixture
def new(nasty):
    """Another picture called a.png, with its caption, outside of the dataset."""
    write(nasty / "in" / "a.png", 50)
    (nasty / "in" / "a.txt").write_text("a dog")
    return nasty / "in"


def names(ds) -> list[str]:
    return sorted(p.name for p in ds.path.iterdir() if p.is_file())


def journal(ds, **record) -> None:
    with open(ds.meta / "edits.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")


# -- what lay beside a picture comes back with it alone


def test_undo_does_not_lay_an_old_caption_and_mask_beside_a_new_picture(ds, new):
    ds.remove(["a.png", "b.png"])
    importing.add_files(ds, [new / "a.png"])
    assert ds.undo() == "1 picture put back" and names(ds) == ["a.png", "b.png"]
    assert ds.get("a.png").caption == "" and ds.get("a.png").mask is None
    assert {k.name for k in bin.contents(ds)} == {"a.png", "a.txt", "a.mask.png"}


def test_a_caption_whose_name_is_only_near_comes_back_too(ds):
    os.rename(ds.path / "a.txt", ds.path / "A.png.txt")
    ds.remove(["a.png"])
    ds.undo()
    assert ds.caption("a.png") == "a red cat" and "A.png.txt" in names(ds)
    ds.remove(["a.png"])
    restoring.bring_back(ds, [k.key for k in bin.contents(ds) if k.kind == bin.PICTURE])
    assert ds.caption("a.png") == "a red cat"


def test_two_pictures_that_share_a_caption_both_come_back_with_it(ds):
    write(ds.path / "a.jpg", 3)
    ds.remove(["a.png", "a.jpg"])
    first, second = sorted(k.key for k in bin.contents(ds) if k.kind == bin.PICTURE)
    restoring.bring_back(ds, [first])
    assert ds.caption("a.jpg") == "a red cat" and "a.txt" in {k.name for k in bin.contents(ds)}
    restoring.bring_back(ds, [second])
    assert (ds.caption("a-2.png"), ds.get("a-2.png").mask is not None, bin.contents(ds)) == ("a red cat", True, [])


def test_a_foreign_journal_reaches_no_folder_and_stops_no_page(ds, nasty):
    mine = nasty / "Documents"
    mine.mkdir()
    (mine / "x.png").write_bytes(b"mine")
    for op in (str(mine), "../../../Documents", "a\\b", "..", ""):
        journal(ds, t=1, op=op, removed=["x.png"])
    journal(ds, t="x", op="t", captions={}, source="typed")
    journal(ds, t=1, op="treated", treated={})
    journal(ds, t=1, op="focus", focus={})
    journal(ds, t=1, op="removed", removed=[5])
    assert ds.undo() == "" and ds.can_undo() == "" and versions.pending(ds) == ""
    assert os.listdir(mine) == ["x.png"] and names(ds) == ["a.mask.png", "a.png", "a.txt", "b.png"]
    journal(ds, t=time.time(), op="run:2", source="florence2", captions={"b.png": ["", "by a run"]})
    assert ds.can_undo() == "1 caption (florence2)"


# -- a control picture of one's own


def test_making_control_pictures_leaves_those_that_do_not_fit(ds):
    own = write(ds.path / "a.control.png", 5, size=(300, 100)).read_bytes()
    verdicts = {v.id: v for v in importing.make_controls(ds, "grey")}
    assert (ds.path / "a.control.png").read_bytes() == own and verdicts["b.png"].ok
    assert not verdicts["a.png"].ok and "stays: a.control.png" in verdicts["a.png"].reason


# -- what came while a version was back


def test_taking_a_version_away_again_keeps_what_came_since(ds, new):
    write(ds.path / "c.png", 3)
    ds.prefix("zibbo, ")
    restoring.restore(ds, 1)
    os.rename(new / "a.png", new / "new.png")
    os.rename(new / "a.txt", new / "new.txt")
    importing.add_folder(ds, new)
    ds.set_repeats({"new.png": 3})
    assert ds.undo() == "version 1 taken away again, 1 file that came since kept"
    assert ds.caption("new.png") == "a dog" and ds.repeats() == {"new.png": 3} and ds.caption("a.png") == "zibbo, a red cat" and (ds.path / "c.png").exists()


def test_taking_a_version_away_again_says_what_is_in_the_bin_or_gone(ds, new):
    ds.remove(["b.png"])
    restoring.restore(ds, 1)
    assert ds.undo() == "version 1 taken away again" and names(ds) == ["a.mask.png", "a.png", "a.txt"]
    write(ds.path / "c.png", 3)
    restoring.restore(ds, 1)
    bin.empty(ds)
    scene(8, mode="L").save(ds.path / "b.mask.png")
    write(ds.path / "c.jpg", 4)  # would share the caption of the c.png that should come back
    assert ds.undo() == "version 1 taken away again, 2 files that came since now in the bin, without 1 file that is gone for good (c.png)"
    assert {"b.png", "b.mask.png", "c.jpg"} == {k.name for k in bin.contents(ds)}


# -- versions that cost or claim too much


def test_typing_reads_no_picture_and_a_look_at_the_bin_waits_for_nobody(ds, monkeypatch):
    monkeypatch.setattr(versions, "QUIET_S", -1.0)
    write(ds.path / "by hand.png", 9)
    monkeypatch.setattr(states, "hash_of", lambda path: pytest.fail(f"{path} was read"))
    ds.set_caption("a.png", "typed")
    assert len(versions.listed(ds)) == 1
    monkeypatch.undo()
    ds.remove(["b.png"])
    assert versions.read(ds, 2).captions["a.png"] == "typed"
    monkeypatch.setattr(memory.Memory, "acquire", lambda *_: pytest.fail("it took the lock"))
    assert [k.name for k in bin.contents(ds)] == ["b.png"]


def test_a_folder_used_in_place_says_what_is_not_as_it_was(home, looked_at, nasty):
    folder = nasty / "my own"
    folder.mkdir()
    for name in ("a.png", "a.txt", "b.png"):
        shutil.copy2(looked_at.path / name, folder)
    ds = datasets.resolve(home, str(folder))
    ds.suffix("!")
    ds.set_caption("b.png", "typed")
    write(folder / "a.png", 60)
    (folder / "a.txt").write_text("another cat")
    done = restoring.restore(ds, 1)
    assert done.missing == ("a.png",) and [ds.caption(n) for n in ("a.png", "b.png")] == ["another cat", ""]
    assert restoring.told(ds, 1, done) == (
        "captions and settings of my own are what they were in version 1; its pictures are used in place, and Easel changes none of them: 1 file of that version is gone or another one now"
    )
    assert versions.newest(ds).did == "Version 1 brought back, captions and settings only"


def test_a_restoration_that_a_full_disk_stops_leaves_the_dataset_to_be_looked_at(ds, monkeypatch):
    ds.prefix("zibbo, ")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "reach", full)
        with pytest.raises(OSError, match="No space"):
            restoring.restore(ds, 1)
        assert len(ds.pictures()) == 2 and ds.page(0, 5)[1] == 2 and (ds.meta / restoring.PLAN).exists()
        with pytest.raises(OSError, match="No space"):
            ds.remove(["a.png"])
    assert ds.pictures()[0].caption == "a red cat" and not (ds.meta / restoring.PLAN).exists()


def test_a_damaged_old_version_and_a_strange_name_stop_no_step(ds, monkeypatch):
    monkeypatch.setattr(versions, "MOST", 3)
    monkeypatch.setattr(versions, "NEWEST", 1)
    write(ds.path / "sub\\x.png", 9)
    (ds.meta / "focus.json").write_text('{"strange": [0.1, 0.1]}')
    ds.suffix("1")
    assert "sub\\x.png" not in states.now(ds).files and states.now(ds).focus == {}
    memory.forget(ds.meta)
    assert versions.read(ds, versions.newest(ds).id) == states.now(ds)
    path = ds.meta / "versions" / "000001.version"
    path.write_bytes(path.read_bytes()[:-4])
    for i in range(4):
        ds.suffix(str(i))
    assert versions.listed(ds)[-1].captions == 1 and ds.caption("a.png") == "a red cat10123"


# -- small things


def test_a_new_picture_does_not_count_as_often_as_one_of_its_name_did(ds, new):
    ds.set_repeats({"a.png": 5, "b.png": 2})
    ds.remove(["a.png"])
    importing.add_files(ds, [new / "a.png"])
    assert ds.repeats() == {"b.png": 2}


def test_a_twin_that_another_process_is_making_is_left_to_it(ds, home):
    making, left = (home.datasets / f"{twin.MAKING}{n}" for n in "ab")
    making.mkdir()
    left.mkdir()
    os.utime(left, (time.time() - 2 * twin.OLD_S,) * 2)
    ds.prefix("zibbo, ")
    assert twin.twin(home, ds, 1).dataset.caption("a.png") == "a red cat"
    assert making.is_dir() and not left.exists()


def test_a_mask_in_the_bin_is_known_without_its_index(ds):
    ds.remove(["a.png"])
    (ds.meta / bin.INDEX).unlink()
    ds.undo()
    assert ds.get("a.png").mask is not None and (ds.path / "a.mask.png").read_bytes() == encoded(scene(7, mode="L"))
