"""Versions of a dataset: each step is one, any of them comes back whole, and what was removed is kept until the bin is emptied."""

from __future__ import annotations

import json
import os
import shutil
import zlib

import pytest

from training.data import bin, datasets, importing, memory, restoring, states, versions
from training.home import find_home

from .make import encoded, scene, write


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Three pictures, two with a caption and one with a mask, taken in from a folder."""
    root = tmp_path_factory.mktemp("versions")
    for i in (1, 2, 3):
        write(root / "source" / f"cat {i}.png", i)
    (root / "source" / "cat 1.txt").write_text("a red cat", encoding="utf-8")
    (root / "source" / "cat 2.txt").write_text("a blue cat", encoding="utf-8")
    scene(7, mode="L").save(root / "source" / "cat 1.mask.png")
    ds = datasets.create(find_home(root), "cats")
    importing.add_folder(ds, root / "source")
    return ds


@pytest.fixture
def ds(home, imported):
    """A copy of that dataset; it keeps the times, so that nothing needs to be checked again."""
    shutil.copytree(imported.path, home.datasets / imported.name)
    return datasets.open_dataset(home, imported.name)


def said(ds) -> list[str]:
    return [v.did for v in versions.listed(ds)]


def files(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}


# -- what is a version


def test_an_import_a_bulk_edit_a_removal_and_an_undo_are_a_version_each(ds):
    ds.prefix("zibbo, ")
    ds.remove(["cat 3.png"])
    ds.undo()
    assert said(ds) == ["3 pictures added, 2 captions paired, 1 mask paired", "Text put in front of 2 captions", "1 picture removed", "Undone: removal of 1 picture"]
    assert [(v.id, v.pictures, v.captions, v.change) for v in versions.listed(ds)] == [
        (1, 3, 2, "3 pictures added, 1 mask added"), (2, 3, 2, "2 captions changed"), (3, 2, 2, "1 picture removed"), (4, 3, 2, "1 picture added"),
    ]  # fmt: skip
    assert ds.prefix("zibbo, ") == 0 and len(said(ds)) == 4, "what changes nothing is none"
    ds.set_captions({"cat 1.png": "a", "cat 2.png": "b"}, "wd_tagger")
    ds.set_lines("one")
    ds.suffix("!")
    assert said(ds)[4:] == ["2 captions by wd_tagger", "Lines of captions read otherwise", "Text put behind 2 captions"]


def test_what_is_typed_is_gathered_before_the_next_step_and_after_a_pause(ds, monkeypatch):
    ds.set_caption("cat 1.png", "one")
    ds.set_caption("cat 1.png", "two")
    ds.set_focus("cat 2.png", 0.2, 0.5)
    assert len(said(ds)) == 1 and versions.pending(ds) == "1 caption typed, 1 crop moved"
    ds.suffix("!")
    assert said(ds)[1:] == ["1 caption typed, 1 crop moved", "Text put behind 2 captions"] and versions.pending(ds) == ""
    ds.set_caption("cat 1.png", "three")
    monkeypatch.setattr(versions, "QUIET_S", -1.0)
    ds.set_caption("cat 1.png", "four")
    assert said(ds)[3:] == ["1 caption typed"] and versions.read(ds, 4).captions["cat 1.png"] == "three"


def test_what_other_programs_did_in_the_folder_is_a_version_before_the_next_step(ds):
    write(ds.path / "by hand.png", 9)
    (ds.path / "cat 2.txt").write_text("edited elsewhere")
    ds.remove(["cat 1.png"])
    assert said(ds)[1:] == ["Changed in its folder", "1 picture removed"]
    assert versions.read(ds, 2).captions == {"cat 1.png": "a red cat", "cat 2.png": "edited elsewhere"} and "by hand.png" in versions.read(ds, 2).files


def test_a_dataset_of_before_there_were_versions_gets_one_as_it_was_found(ds):
    shutil.rmtree(ds.meta / "versions")
    memory.forget(ds.meta)
    ds.find_replace("cat", "dog")
    assert said(ds) == ["As it was found", "Text replaced in 2 captions"]


def test_a_captioner_and_a_cut_off_import_are_one_version(ds):
    with pytest.raises(RuntimeError), versions.step(ds, "captions by Florence"):
        ds.set_captions({"cat 1.png": "one"}, "florence2", op="run")
        ds.set_captions({"cat 2.png": "two"}, "florence2", op="run")
        ds.prefix("a step within a step, ")
        raise RuntimeError("stopped")
    assert said(ds)[1:] == ["Captions by Florence, cut off"]


# -- comparing and bringing back


def test_two_versions_are_compared(ds):
    first = versions.newest(ds)
    ds.set_caption("cat 3.png", "a third")
    ds.set_repeats({"cat 2.png": 4})
    ds.set_focus("cat 2.png", 0.1, 0.9)
    ds.set_lines("one")
    write(ds.path / "new.png", 8)
    ds.remove(["cat 1.png"])
    found = states.compare(versions.read(ds, first.id), versions.read(ds, versions.newest(ds).id))
    assert (found.added, set(found.removed), found.replaced) == (("new.png",), {"cat 1.mask.png", "cat 1.png"}, ())
    assert found.captions == {"cat 3.png": ("", "a third")} and (found.crops, found.repeats, found.words) == (1, ("cat 2.png",), ("lines",))
    assert found.says() == "1 picture added, 1 picture removed, 1 mask removed, 1 caption changed, 1 crop moved, 1 picture counted otherwise, lines of captions read otherwise"
    assert not states.compare(states.now(ds), states.now(ds))


def test_a_version_comes_back_whole_and_goes_again(ds):
    before, first = files(ds), ds.fingerprint(masks=True)
    ds.prefix("zibbo, ")
    ds.set_focus("cat 2.png", 0.1, 0.9)
    ds.set_repeats({"cat 2.png": 4})
    ds.remove(["cat 1.png", "cat 3.png"])
    write(ds.path / "cat 3.png", 33)  # another picture under a name that was there
    other = ds.fingerprint(masks=True)
    assert restoring.restore(ds, 1) == restoring.Restored((), 0)
    assert files(ds) == before and ds.fingerprint(masks=True) == first and states.now(ds) == versions.read(ds, 1)
    assert said(ds)[-1] == "Version 1 brought back" and ds.can_undo() == "version 1 brought back"
    assert ds.undo() == "version 1 taken away again" and ds.fingerprint(masks=True) == other
    assert {k.name for k in bin.contents(ds)} == {"cat 1.png", "cat 1.mask.png", "cat 1.txt", "cat 3.png"}
    restoring.restore(ds, 1)
    assert files(ds) == before


def test_a_picture_that_came_back_needs_no_second_look(ds, monkeypatch):
    ds.remove(["cat 1.png"])
    memory.forget(ds.meta)
    restoring.restore(ds, 1)
    monkeypatch.setattr(datasets, "gated", lambda *_: pytest.fail("it was looked at again"))
    assert [p.verdict for p in ds.pictures()] == ["ok"] * 3


def test_a_disk_without_hard_links_moves_and_copies(ds, monkeypatch):
    shutil.copy2(ds.path / "cat 2.png", ds.path / "twin.png")
    versions.gather(ds)
    ds.remove(["cat 2.png", "twin.png"])
    monkeypatch.setattr(bin.os, "link", lambda *_: (_ for _ in ()).throw(OSError(1, "not permitted")))
    monkeypatch.setattr(bin.link_or_copy, "__defaults__", (bin.os.link,))
    assert restoring.restore(ds, 2).copied == 0, "both lie in the bin: they are moved"
    (ds.path / "twin.png").unlink()
    assert restoring.restore(ds, 2) == restoring.Restored((), 1)
    assert (ds.path / "twin.png").read_bytes() == (ds.path / "cat 2.png").read_bytes()


def test_nothing_is_kept_twice(ds):
    inode = os.stat(ds.path / "cat 1.png").st_ino
    ds.remove(["cat 1.png"])
    (kept,) = [k for k in bin.contents(ds) if k.name == "cat 1.png"]
    assert os.stat(kept.path).st_ino == inode and os.stat(kept.path).st_nlink == 1
    restoring.restore(ds, 1)
    assert os.stat(ds.path / "cat 1.png").st_ino == inode and not kept.path.exists()


def test_a_mask_that_is_replaced_is_kept(ds, nasty):
    old = (ds.path / "cat 1.mask.png").read_bytes()
    path = nasty / "cat 1.mask.png"
    path.write_bytes(encoded(scene(70, mode="L")))
    importing.add_files(ds, [path])
    assert (ds.path / "cat 1.mask.png").read_bytes() == path.read_bytes()
    restoring.restore(ds, 1)
    assert (ds.path / "cat 1.mask.png").read_bytes() == old


def test_what_is_gone_is_named_and_the_rest_comes_back(ds):
    ds.remove(["cat 1.png", "cat 2.png"])
    assert restoring.missing(ds, versions.read(ds, 1)) == []
    size = bin.size_bytes(ds)
    assert size > 0 and bin.empty(ds) == size and bin.contents(ds) == []
    assert sorted(restoring.missing(ds, versions.read(ds, 1))) == ["cat 1.mask.png", "cat 1.png", "cat 2.png"]
    assert sorted(restoring.restore(ds, 1).missing) == ["cat 1.mask.png", "cat 1.png", "cat 2.png"]
    assert [p.id for p in ds.pictures()] == ["cat 3.png"]


def test_some_pictures_come_back_from_the_bin_under_a_free_name(ds):
    ds.remove(["cat 1.png", "cat 2.png"])
    write(ds.path / "cat 1.jpg", 50)
    (key,) = [k.key for k in bin.contents(ds) if k.name == "cat 1.png"]
    assert restoring.bring_back(ds, [key]) == 1
    back = ds.get("cat 1-2.png")
    assert (back.caption, back.mask is not None) == ("a red cat", True) and {k.name for k in bin.contents(ds)} == {"cat 2.png", "cat 2.txt"}
    assert said(ds)[-1] == "1 picture put back from the bin"


def test_pictures_that_were_removed_before_there_was_an_index_are_known(ds):
    ds.remove(["cat 1.png"])
    (ds.meta / "bin.json").unlink()
    assert restoring.restore(ds, 1).missing == ()


def test_a_folder_used_in_place_gets_its_captions_back_and_keeps_its_pictures(home, nasty):
    folder = nasty / "my own"
    write(folder / "a.png", 1)
    write(folder / "b.png", 2)
    (folder / "a.txt").write_text("mine")
    ds = datasets.resolve(home, str(folder))
    ds.pictures()
    ds.suffix(", edited")
    (folder / "b.png").unlink()
    restoring.restore(ds, 1)
    assert sorted(os.listdir(folder)) == ["a.png", "a.txt"] and ds.caption("a.png") == "mine"


# -- on the disk


def test_versions_are_small_whole_at_times_and_thinned_out(ds, monkeypatch):
    monkeypatch.setattr(versions, "WHOLE_EVERY", 4)
    monkeypatch.setattr(versions, "MOST", 8)
    monkeypatch.setattr(versions, "NEWEST", 3)
    versions.trained(ds, 1, "run", "My cat")
    kept = {}
    for i in range(12):
        ds.suffix(f" {i}")
        kept[versions.newest(ds).id] = states.now(ds)
    there = [v.id for v in versions.listed(ds)]
    assert there == [1, 7, 8, 9, 10, 11, 12, 13], "the oldest are gone, but not what a run was trained on"
    memory.forget(ds.meta)
    assert all(versions.read(ds, id) == kept[id] for id in there[1:]) and max(v.depth for v in versions.listed(ds)) < 4
    assert max(v.size_bytes for v in versions.listed(ds)) < 1000
    assert versions.runs(ds) == [{"version": 1, "run": "run", "title": "My cat"}]


def test_a_damaged_or_strange_version_is_told_and_the_next_one_is_whole(ds):
    ds.suffix("!")
    path = ds.meta / "versions" / "000002.version"
    good = path.read_bytes()
    head = good.partition(b"\n")[0]
    bad = {"files": {"../../out.png": "0" * 64}}, {"captions": {"cat 1.png": 5}}, {"focus": {"x": [0, 0]}}, {"lines": "?"}, {"-files": 3}, []
    for data in (good[:-4], b"", b"{}\n", *(head + b"\n" + zlib.compress(json.dumps(b).encode()) for b in bad)):
        path.write_bytes(data)
        memory.forget(ds.meta)
        with pytest.raises(ValueError, match="version 2"):
            versions.read(ds, 2)
    path.write_bytes(head + b"\n" + zlib.compress(b"{}"))
    memory.forget(ds.meta)
    with pytest.raises(ValueError, match="not what it says"):
        versions.read(ds, 2)
    ds.suffix("?")
    assert versions.newest(ds).before == 0 and versions.read(ds, versions.newest(ds).id) == states.now(ds)


def dies(ds, at: int, work) -> bool:
    """Whether a child process that does work() was killed at its `at`-th change of the disk."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    count = 0

    def counting(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    for name in ("replace", "link", "rename", "unlink", "rmdir", "mkdir", "fsync"):
        setattr(os, name, counting(getattr(os, name)))
    bin.link_or_copy.__defaults__ = (os.link,)
    try:
        work()
    finally:
        os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_a_restoration_killed_anywhere_is_carried_through_and_loses_nothing(ds, home):
    ds.prefix("zibbo, ")
    ds.set_focus("cat 2.png", 0.1, 0.9)
    ds.remove(["cat 1.png", "cat 3.png"])
    write(ds.path / "cat 3.png", 33)
    ds.pictures()
    versions.gather(ds)
    first, before = versions.read(ds, 1), states.now(ds)
    shutil.copytree(ds.path, home.root / "as it was")
    at, done = 0, []
    while True:
        at += 1
        shutil.rmtree(ds.path)
        shutil.copytree(home.root / "as it was", ds.path)
        memory.forget(ds.meta)
        if not dies(ds, at, lambda: restoring.restore(ds, 1)):
            break
        ds.pictures()  # whoever looks next
        done.append(states.now(ds) == first)
        assert states.now(ds) in (first, before)
        assert restoring.missing(ds, before) == [] and restoring.missing(ds, first) == [] and not (ds.meta / restoring.PLAN).exists()
        assert not done[-1] or said(ds)[-1] == "Version 1 brought back"
    assert at > 20 and done == sorted(done) and done[-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_removal_killed_anywhere_loses_nothing(ds):
    first = versions.read(ds, 1)
    at = 1
    while dies(ds, at, lambda: ds.remove(["cat 1.png"])):
        memory.forget(ds.meta)
        assert restoring.missing(ds, first) == []
        ds.undo()
        restoring.restore(ds, 1)
        assert states.now(ds) == first
        at += 1
    assert at > 4
