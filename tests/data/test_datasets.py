"""A dataset: what comes in, what is said of it, captions and the way back, nothing altered."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.data import datasets, importing, memory
from training.home import REPO, find_home

from .make import encoded, scene, write, zipped


@pytest.fixture
def ds(home):
    return datasets.create(home, "Ünï cødé '& 日本")


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Three pictures, two with a caption, taken in from a folder."""
    root = tmp_path_factory.mktemp("imported")
    for i in (1, 2, 10):
        write(root / "source" / f"cat {i}.png", i)
    (root / "source" / "cat 1.txt").write_text("a red cat", encoding="utf-8")
    (root / "source" / "cat 10.txt").write_text("a blue cat, on a red sofa", encoding="utf-8")
    ds = datasets.create(find_home(root), "Ünï cødé '& 日本")
    importing.add_folder(ds, root / "source")
    return ds


@pytest.fixture
def three(home, imported):
    """A copy of that dataset; it keeps the times, so that nothing needs to be checked again."""
    shutil.copytree(imported.path, home.datasets / imported.name)
    return datasets.open_dataset(home, imported.name)


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes, its mode and its time."""
    return {
        str(p.relative_to(folder)): f"{hashlib.sha256(p.read_bytes()).hexdigest()} {p.stat().st_mode} {p.stat().st_mtime_ns}"
        for p in folder.rglob("*") if p.is_file()
    }  # fmt: skip


# -- coming in


def test_every_file_gets_a_verdict_and_the_good_ones_go_on(ds, nasty):
    folder = nasty / "in"
    folder.mkdir()
    write(folder / "good.jpg", 1, size=(640, 480))
    (folder / "cut.jpg").write_bytes(encoded(scene(2, (800, 600)), "JPEG")[:5000])
    (folder / "page.jpg").write_bytes(b"<html></html>")
    (folder / "twin.png").write_bytes((folder / "good.jpg").read_bytes())
    (folder / "wrong.jpg").write_bytes(encoded(scene(3), "PNG"))
    (folder / "noname").write_bytes(encoded(scene(4), "WEBP"))
    (folder / "notes.json").write_bytes(b"{}")
    (folder / "good.txt").write_bytes("schönes Bild".encode("cp1252"))
    (folder / "lost.txt").write_bytes(b"nobody's")
    verdicts = {v.file: v for v in importing.add_files(ds, sorted(folder.iterdir()))}
    assert len(verdicts) == 9
    assert {n: v.id for n, v in verdicts.items() if v.ok} == {"good.jpg": "good.jpg", "wrong.jpg": "wrong.jpg", "noname": "noname.webp", "good.txt": "good.jpg"}
    assert "same picture as good.jpg" in verdicts["twin.png"].reason and verdicts["twin.png"].kind == "duplicate"
    assert "cut off" in verdicts["cut.jpg"].reason and "web page" in verdicts["page.jpg"].reason
    assert verdicts[""].reason == "1 file of other programs (.json) left out"
    assert "Windows-1252" in verdicts["good.txt"].reason and ds.caption("good.jpg") == "schönes Bild"
    assert datasets.summary(list(verdicts.values())) == "3 pictures added, 1 caption paired, 1 already there, 3 refused, 1 file of other programs (.json) left out"
    assert ds.get("good.jpg").width == 640 and ds.readiness() == ["2 pictures have no caption"]


def test_originals_are_copied_byte_for_byte_and_never_touched(ds, nasty):
    folder = nasty / "in"
    for i in range(4):
        write(folder / "sub" / f"{i}.jpg", i)
        (folder / "sub" / f"{i}.txt").write_text(f"number {i}\r\n", encoding="utf-8")
    before = tree(folder)
    importing.add_folder(ds, folder)
    ds.pictures(), ds.page(0, 10), ds.thumbnail("1.jpg")
    copies = {p.id: p.path.read_bytes() for p in ds.pictures()}
    assert copies == {f"{i}.jpg": (folder / "sub" / f"{i}.jpg").read_bytes() for i in range(4)}
    ds.set_caption("1.jpg", "new"), ds.find_replace("number", "no"), ds.remove(["2.jpg"]), ds.undo()
    datasets.delete(ds)
    assert tree(folder) == before


def test_files_that_a_browser_sent_pair_by_stem(ds, nasty):
    """Gradio puts each upload into a folder of its own, and keeps only base names."""
    paths = [write(nasty / "aa" / "cat.png", 1), nasty / "bb" / "cat.txt", write(nasty / "cc" / "dog.png", 2), write(nasty / "dd" / "dog.png", 3), nasty / "ee" / "dog.txt"]
    for path, text in ((paths[1], "a cat"), (paths[4], "a dog")):
        path.parent.mkdir()
        path.write_text(text)
    verdicts = importing.add_files(ds, paths)
    assert {p.id: p.caption for p in ds.pictures()} == {"cat.png": "a cat", "dog.png": "", "dog-2.png": ""}
    assert "several pictures" in verdicts[-1].reason


def test_a_caption_that_comes_later_is_paired_and_can_be_undone(three, nasty):
    (nasty / "cat 1.txt").write_text("a better caption")
    (verdict,) = importing.add_files(three, [nasty / "cat 1.txt"])
    assert verdict.ok and three.caption("cat 1.png") == "a better caption"
    three.undo()
    assert three.caption("cat 1.png") == "a red cat"


def test_a_folder_that_is_added_once_more_undoes_no_work_by_hand(ds, nasty):
    """Somebody adds a few pictures to the folder and names it again."""
    for n in range(3):
        write(nasty / "in" / f"{n}.png", n)
        (nasty / "in" / f"{n}.txt").write_text(f"number {n}")
    importing.add_folder(ds, nasty / "in")
    ds.set_caption("0.png", "typed by hand")
    ds.set_caption("1.png", "a machine's words", "florence2")
    verdicts = {v.file: v for v in importing.add_folder(ds, nasty / "in")}
    assert {p.id: p.caption for p in ds.pictures()} == {"0.png": "typed by hand", "1.png": "number 1", "2.png": "number 2"}
    assert not verdicts["0.txt"].ok and "edited by hand" in verdicts["0.txt"].reason and verdicts["1.txt"].ok
    importing.add_files(ds, [nasty / "in" / "0.txt"])
    assert ds.caption("0.png") == "number 0"  # the text alone is meant to replace it


def test_names_that_no_folder_can_hold(ds, nasty):
    names = ["CON.png", "a:b?.png" if os.name != "nt" else "ab.png", "-rf.png", "x" * 200 + ".png", "…trailing. .png"]
    for i, name in enumerate(names):
        write(nasty / "in" / name, i)
    importing.add_folder(ds, nasty / "in")
    found = [p.id for p in ds.pictures()]
    assert len(found) == len(names)
    for name in found:
        assert not set(name) & set('<>:"/\\|?*') and len(name.encode()) <= 110 and name[0] not in "-." and not name.upper().startswith("CON.")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_file_name_that_is_not_text(ds, nasty):
    write(nasty / "in" / "a.png", 1)
    os.rename(os.fsencode(nasty / "in" / "a.png"), os.fsencode(nasty / "in") + b"/caf\xe9.png")
    (verdict,) = importing.add_folder(ds, nasty / "in")
    assert verdict.ok and verdict.file == "caf?.png"
    verdict.file.encode(), verdict.id.encode()


def test_links_and_pipes_in_a_folder_are_refused(ds, nasty):
    folder = nasty / "in"
    write(folder / "a.png", 1)
    (folder / "b.png").symlink_to(folder / "a.png")
    (folder / "sub").symlink_to("/", target_is_directory=True)
    (folder / "c.txt").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.png")
    reasons = {v.file: v.reason for v in importing.add_folder(ds, folder)}
    assert "link" in reasons["b.png"] and "not followed" in reasons["sub"] and "pipe" in reasons["pipe.png"] and not reasons["c.txt"].startswith("root:")
    assert [p.id for p in ds.pictures()] == ["a.png"]


def test_a_folder_is_refused_where_it_makes_no_sense(ds, nasty):
    for path, reason in ((nasty / "absent", "no folder"), (ds.path, "holds this dataset"), (ds.path.parent, "holds this dataset")):
        with pytest.raises(ValueError, match=reason):
            importing.add_folder(ds, path)


def test_an_import_that_is_cut_off_leaves_whole_pictures_only(ds, nasty):
    for i in range(6):
        write(nasty / "in" / f"{i}.png", i)

    def stop_at_three(done, of, name):
        assert of == 6
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importing.add_folder(ds, nasty / "in", stop_at_three)
    assert [p.id for p in ds.pictures()] == ["0.png", "1.png", "2.png"] and not list(ds.meta.glob("incoming/*"))
    importing.add_folder(ds, nasty / "in")
    assert len(ds.pictures()) == 6


def test_a_zip_may_come_among_the_files(ds, nasty):
    verdicts = importing.add_files(ds, [write(nasty / "a.png", 1), zipped(nasty / "b.zip", {"a.png": encoded(scene(2)), "a.txt": b"zipped"})])
    assert {p.id: p.caption for p in ds.pictures()} == {"a.png": "", "a-2.png": "zipped"} and all(v.ok for v in verdicts)


# -- listing


def test_pages_are_in_natural_order_and_can_be_searched(three):
    page, total = three.page(0, 2)
    assert total == 3 and [p.id for p in page] == ["cat 1.png", "cat 2.png"]
    assert [p.id for p in three.page(2, 2)[0]] == ["cat 10.png"]
    assert [p.id for p in three.page(0, 9, "RED sofa")[0]] == ["cat 10.png"]
    assert [p.id for p in three.page(0, 9, only="no caption")[0]] == ["cat 2.png"]
    assert three.page(7, 9) == ([], 3)


def test_pictures_dropped_into_the_folder_are_noticed_and_checked(three):
    write(three.path / "by hand.png", 5)
    (three.path / "by hand.txt").write_bytes("prä".encode("cp1252"))
    (three.path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (three.path / "copy.png").write_bytes((three.path / "cat 1.png").read_bytes())
    assert three.counts().unchecked == 3 and "3 pictures are not checked yet" in three.readiness()
    found = {p.id: p for p in three.pictures()}
    assert found["by hand.png"].usable and found["by hand.png"].caption == "prä" and "1252" in found["by hand.png"].caption_note
    assert found["broken.png"].verdict == "refused" and "cut off" in found["broken.png"].note
    assert found["copy.png"].verdict == "duplicate" and "cat 1.png" in found["copy.png"].note
    assert three.thumbnail("by hand.png").exists()
    with pytest.raises(ValueError, match="cut off"):
        three.thumbnail("broken.png")
    write(three.path / "broken.png", 6)
    assert three.get("broken.png").usable, "a file that was replaced is looked at again"


def test_what_is_known_survives_the_process(three):
    write(three.path / "new.png", 5)
    script = "import sys; from training.data import datasets; from training.home import find_home\n"
    script += "ds = datasets.resolve(find_home(sys.argv[1]), sys.argv[2]); print(ds.counts().unchecked, ds.check(), ds.counts().usable)"
    done = subprocess.run(
        [sys.executable, "-c", script, three.path.parent.parent, three.name], cwd=REPO, capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout.split() == ["1", "1", "4"]
    assert three.check() == 0, "what the other process found out is taken over"


@pytest.mark.slow
def test_a_lost_or_spoilt_index_is_rebuilt(three):
    for text in ("", "{}", '{"pictures": {"cat 1.png": {"size": 1}}}', "[1]"):
        (three.meta / "index.json").write_text(text)
        memory.forget(three.meta)
        assert len([p for p in three.pictures() if p.usable]) == 3


def test_ids_cannot_leave_the_folder(three, nasty):
    write(nasty / "outside.png", 1)
    (three.path / ".hidden.png").write_bytes(b"x")
    for id in ("../outside.png", str(nasty / "outside.png"), "", ".", "..", ".hidden.png", ".easel/index.json", "cat 1.txt", "a\0.png", "nope.png"):
        for call in (three.thumbnail, three.caption, three.get, lambda i: three.set_caption(i, "x"), lambda i: three.remove([i])):
            with pytest.raises(ValueError, match="no picture called"):
                call(id)


def test_the_fingerprint_follows_pictures_and_captions_not_names(three):
    first = three.fingerprint()
    os.rename(three.path / "cat 2.png", three.path / "dog.png")
    assert three.fingerprint() == first
    three.set_caption("dog.png", "a dog")
    assert three.fingerprint() != first
    three.undo()
    assert three.fingerprint() == first
    write(three.path / "dog.png", 77)
    assert three.fingerprint() != first


def test_readiness_says_what_is_missing(three, home):
    assert datasets.create(home, "empty").readiness() == ["there are no pictures yet"]
    assert three.readiness() == ["1 picture has no caption"]
    three.set_caption("cat 2.png", "a cat")
    assert three.readiness() == []


# -- captions


def test_captions_are_saved_beside_the_picture_whole_and_keep_their_mode(three):
    path = three.path / "cat 1.txt"
    path.chmod(0o640)
    assert three.set_caption("cat 1.png", " ein  schöner Kater\x07 ") == "ein schöner Kater"
    assert path.read_bytes() == "ein schöner Kater\n".encode()
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        three.set_caption("cat 2.png", "fresh")
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE((three.path / "cat 2.txt").stat().st_mode) == 0o666 & ~umask
    assert not list(three.path.glob(".*tmp*"))
    assert three.get("cat 1.png").caption_source == "typed"


def test_an_empty_caption_takes_the_file_away_and_undo_brings_it_back(three):
    three.set_caption("cat 1.png", "  ")
    assert not (three.path / "cat 1.txt").exists() and three.get("cat 1.png").caption_source == ""
    assert three.undo() == "1 caption put back"
    assert three.caption("cat 1.png") == "a red cat"


def test_bulk_edits_are_one_step_each(three):
    assert three.find_replace("red", "green") == 2
    assert three.prefix("zibbo, ") == 2 and three.prefix("zibbo, ") == 0
    assert three.suffix(", photo") == 2
    assert three.caption("cat 10.png") == "zibbo, a blue cat, on a green sofa, photo" and three.caption("cat 2.png") == ""
    assert three.can_undo() == "2 captions (suffix)"
    assert [three.undo(), three.undo(), three.undo()] == ["2 captions put back"] * 3
    assert three.caption("cat 10.png") == "a blue cat, on a red sofa"
    assert three.undo() == "" and three.can_undo() == ""
    with pytest.raises(ValueError, match="look for"):
        three.find_replace("", "x")


def test_a_bulk_edit_may_be_of_some_pictures_only(three):
    assert three.matching("blue") == ["cat 10.png"] and three.matching("", "no caption") == ["cat 2.png"]
    assert three.suffix(", photo", three.matching("blue")) == 1
    assert three.caption("cat 10.png").endswith(", photo") and three.caption("cat 1.png") == "a red cat"
    assert three.find_replace("cat", "dog", []) == 0 and three.prefix("zibbo, ", ["cat 1.png"]) == 1


def test_find_and_replace_is_no_pattern_and_knows_composed_letters(three):
    three.set_caption("cat 1.png", "a.b café")
    assert three.find_replace(".", "!") == 1 and three.find_replace("cafe\u0301", "tea") == 1
    assert three.caption("cat 1.png") == "a!b tea"


def test_several_calls_of_one_run_are_undone_together_and_later_edits_stay(three):
    three.set_captions({"cat 1.png": "one"}, "florence2", op="run")
    three.set_captions({"cat 2.png": "two", "cat 10.png": "three"}, "florence2", op="run")
    assert [p.caption_source for p in three.pictures()] == ["florence2"] * 3
    (three.path / "cat 2.txt").write_text("edited elsewhere")
    assert three.undo() == "2 captions put back, 1 caption left alone, because changed since"
    assert [p.caption for p in three.pictures()] == ["a red cat", "edited elsewhere", "a blue cat, on a red sofa"]
    assert [p.caption_source for p in three.pictures()] == ["file"] * 3


def test_another_process_may_write_captions_meanwhile(three):
    script = "import sys; from training.data import datasets; from training.home import find_home\n"
    script += "ds = datasets.resolve(find_home(sys.argv[1]), sys.argv[2])\n"
    script += "for i in range(40): ds.set_caption('cat 1.png', f'worker {i}', source='florence2')"
    child = subprocess.Popen([sys.executable, "-c", script, three.path.parent.parent, three.name], cwd=REPO)
    for i in range(40):
        three.set_caption("cat 2.png", f"page {i}")
    assert child.wait(60) == 0
    assert (three.caption("cat 1.png"), three.caption("cat 2.png")) == ("worker 39", "page 39")
    assert len(three._edits().refresh().records) == 80
    for _ in range(80):
        three.undo()
    assert (three.caption("cat 1.png"), three.caption("cat 2.png")) == ("a red cat", "")


def test_a_torn_journal_still_reads(three):
    three.set_caption("cat 1.png", "one")
    with open(three.meta / "edits.jsonl", "ab") as file:
        file.write(b'{"op": "x", "captions"')
    three.set_caption("cat 1.png", "two")
    three.undo(), three.undo()
    assert three.caption("cat 1.png") == "a red cat"


# -- removing, renaming, deleting


def test_removed_pictures_come_back_with_their_captions(three):
    before = {p.id: (p.sha256, p.caption) for p in three.pictures()}
    assert three.remove(["cat 1.png", "cat 2.png"]) == 2
    assert [p.id for p in three.pictures()] == ["cat 10.png"] and not (three.path / "cat 1.txt").exists()
    assert three.can_undo() == "removal of 2 pictures" and three.undo() == "2 pictures put back"
    assert {p.id: (p.sha256, p.caption) for p in three.pictures()} == before


def test_a_shared_caption_stays_with_the_picture_that_stays(three):
    write(three.path / "cat 1.jpg", 9)
    three.remove(["cat 1.png"])
    assert three.caption("cat 1.jpg") == "a red cat"


def test_datasets_are_listed_renamed_and_deleted(home, three):
    other = datasets.create(home, "Zoo / 1: <all>")
    assert other.title == "Zoo / 1: <all>" and other.name == "Zoo - 1- -all-"
    assert [d.title for d in datasets.list_datasets(home)] == ["Zoo / 1: <all>", three.title]
    assert datasets.create(home, "zoo / 1: <ALL>").name == "zoo - 1- -ALL--2"
    moved = datasets.rename(three, "My cats")
    assert (moved.name, moved.title) == ("My cats", "My cats") and len(moved.pictures()) == 3 and not three.path.exists()
    assert datasets.open_dataset(home, three.name).path == moved.path, "runs made under the old name can be resumed"
    with pytest.raises(ValueError, match="did you mean 'My cats'"):
        datasets.open_dataset(home, "My cat")
    datasets.delete(moved)
    assert not moved.path.exists() and len(datasets.list_datasets(home)) == 2
    for empty in ("", "  \n"):
        with pytest.raises(ValueError, match="empty"):
            datasets.create(home, empty)


def test_a_folder_used_in_place_gets_captions_and_nothing_else(home, nasty):
    folder = nasty / "my own"
    write(folder / "a.png", 1)
    write(folder / "b.png", 2)
    (folder / "a.txt").write_text("mine")
    before = tree(folder)
    ds = datasets.resolve(home, str(folder))
    assert ds.in_place and [p.caption for p in ds.pictures()] == ["mine", ""]
    assert ds.thumbnail("a.png").exists() and tree(folder) == before and sorted(os.listdir(folder)) == ["a.png", "a.txt", "b.png"]
    ds.set_caption("b.png", "ours")
    assert (folder / "b.txt").read_text() == "ours\n" and {k: v for k, v in tree(folder).items() if k != "b.txt"} == before
    for call in (lambda: ds.remove(["a.png"]), lambda: datasets.delete(ds), lambda: datasets.rename(ds, "x"), lambda: importing.add_files(ds, [folder / "a.png"])):
        with pytest.raises(ValueError):
            call()
    assert datasets.list_datasets(home) == []


def test_resolve_says_what_is_wrong(home, three, nasty):
    assert datasets.resolve(home, three.name) == three and datasets.resolve(home, str(three.path)) == three
    for text, reason in (("nope", "no dataset called"), (str(nasty / "nope"), "no folder"), (str(write(nasty / "a.png")), "is a file")):
        with pytest.raises(ValueError, match=reason):
            datasets.resolve(home, text)


def test_importing_it_is_light():
    script = "import sys, training.data.datasets, training.data.importing, training.jobs.caption, captioning.florence2, captioning.filename, captioning.template\n"
    script += "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'pillow_heif', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_two_and_a_half_thousand_pictures(ds, nasty):
    folder = nasty / "many"
    folder.mkdir()
    for i in range(2500):
        (folder / f"{i}.png").write_bytes(encoded(scene(i, (72, 64)), compress_level=1))
        (folder / f"{i}.txt").write_text(f"picture number {i}")
    verdicts, _ = timed(importing.add_folder, ds, folder)
    assert sum(v.ok for v in verdicts) == 5000
    ds.page(0, 48)
    (page, total), page_s = timed(ds.page, 1200, 48)
    assert total == 2500 and page[0].caption == "picture number 1200"
    ds.page(0, 48, "number 249")
    (_, found), search_s = timed(ds.page, 0, 48, "number 249")
    assert found == 13, "249, 1249, 2249, 2490 to 2499"
    changed, bulk_s = timed(ds.prefix, "zibbo, ")
    assert changed == 2500
    print(f"computing time: page {page_s:.3f} s, search {search_s:.3f} s, bulk edit {bulk_s:.1f} s")
    assert page_s < 0.1 and search_s < 0.3 and bulk_s < 10


def timed(call, *args):
    """(what it returns, the seconds of computing that it took): the machine may be busy with other things."""
    start = time.process_time()
    return call(*args), time.process_time() - start
