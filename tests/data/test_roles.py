"""What other trainers keep beside pictures: masks and control pictures taken as such, regularisation pictures left out and said, pictures left alone."""

from __future__ import annotations

import pytest

from training.data import datasets, importing
from training.data.roles import Pairing, kohya_folder, roles

from .make import encoded, scene, write, zipped
from .test_masks import mask


def kinds(*files: str, texts: tuple[str, ...] = (), there: tuple[str, ...] = ()) -> dict[str, str]:
    """{file: kind} of what is no picture."""
    split = lambda f: (f.rpartition("/")[0], f.rpartition("/")[2])
    found = roles([split(f) for f in files], [split(t) for t in texts], there)
    return {f: role.kind for f, role in zip(files, found, strict=True) if role.kind != "picture"}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("a.png", "a-masklabel.png", "a-condlabel.png"), {"a-masklabel.png": "mask", "a-condlabel.png": "control"}),  # OneTrainer
        (("b.jpg", "B_MASK.PNG", "b.mask.jpg"), {"B_MASK.PNG": "mask", "b.mask.jpg": "mask"}),
        (("mask.png", "gas_mask.png", "control.png", "x/gas.png"), {}),  # pictures: nothing of that stem beside them
        (("a.png", "_controls/a.depth.jpg", "_controls/a.mask.jpg"), {"_controls/a.depth.jpg": "control", "_controls/a.mask.jpg": "mask"}),  # ai-toolkit
        (("control/a.png", "target/a.png"), {"control/a.png": "control"}),
        (("main/a.png", "control_1/a.png", "control_2/a_0.png"), {"control_1/a.png": "control", "control_2/a_0.png": "control"}),
        (("control/a.png", "control/b.png"), {}),  # a folder of that name alone holds pictures
        (("set/a.png", "set/conditioning/a.png", "set/conditioning/z.png"), {"set/conditioning/a.png": "control", "set/conditioning/z.png": "control"}),
        (("source/1.png", "target/1.png"), {"source/1.png": "control"}),
        (("source/1.png", "other/1.png"), {}),
        (("p/originals/1.png", "p/edited/1.png"), {"p/originals/1.png": "control"}),
        (("Input/1.jpg", "Output/1.png", "Output/1_mask.png"), {"Input/1.jpg": "control", "Output/1_mask.png": "mask"}),
        (("originals/1.png", "originals/2.png"), {}),  # whoever keeps originals has no pair yet
        (("img/a.png", "mask/a.png"), {"mask/a.png": "mask"}),
        (("r_start.png", "r_end.png"), {"r_start.png": "control"}),  # fal
        (("r_start.png", "r_end.png", "b.png", "c.png"), {}),
        (("img/10_my woman/a.png", "reg/1_woman/b.png", "model/sample/c.png"), {"reg/1_woman/b.png": "regular", "model/sample/c.png": "drawn"}),  # kohya
        (("reg/1_woman/b.png",), {}),  # added by itself: that is how it becomes a dataset that is kept
    ],
)
def test_names_and_neighbours_decide(files, found):
    assert kinds(*files) == found


def test_a_pair_of_start_and_end_is_known_by_its_caption_and_a_late_mask_by_the_dataset():
    assert kinds("r_start.png", "r_end.png", "b.png", "c.png", texts=("r.txt",)) == {"r_start.png": "control"}
    assert kinds("gas_mask.png", there=("gas.png",)) == {"gas_mask.png": "mask"}


def test_captions_are_found_by_stem_whole_name_and_in_any_case():
    pairs = Pairing([(n, n) for n in ("123.jpg", "IMG_1.JPG", "a.png", "A.jpg", "z_end.png", "Ab.png", "aB.jpg")])
    found = {stem: pairs.of(stem) for stem in ("123", "123.jpg", "img_1", "img_1.jpg", "a", "A", "z", "ab", "nope")}
    assert found == {
        "123": ["123.jpg"], "123.jpg": ["123.jpg"], "img_1": ["IMG_1.JPG"], "img_1.jpg": ["IMG_1.JPG"], "a": ["a.png"], "A": ["A.jpg"], "z": ["z_end.png"],
        "ab": [], "nope": [],
    }  # fmt: skip
    assert kohya_folder("img/10_my woman") == (10, "my woman") and kohya_folder("2023_summer") is None and kohya_folder("10_") is None


@pytest.fixture
def ds(home):
    return datasets.create(home, "of others")


@pytest.mark.slow
def test_a_folder_of_another_trainer_gives_its_pictures_masks_and_captions(ds, nasty):
    folder = nasty / "in"
    write(folder / "a.png", 1), write(folder / "B.PNG", 2), write(folder / "c.jpg", 3)
    mask(folder / "a-masklabel.png"), mask(folder / "_controls" / "c.mask.jpg")
    write(folder / "_controls" / "c.depth.jpg", 4)
    (folder / "a.png.txt").write_text("whole name")
    (folder / "b.txt").write_text("other case")
    (folder / "c.txt").write_text(" \n")
    for name in ("c.npz", "set.toml", "a.png~", "a.png.bak", "a.pngZone.Identifier", "x.safetensors"):
        (folder / name).write_bytes(b"x")
    for hidden in ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", ".Trash-1000"):
        write(folder / hidden / "old.png", 9)
    (folder / "more.7z").write_bytes(b"7z\xbc\xaf'\x1c")
    verdicts = importing.add_folder(ds, folder)
    assert {p.id: (p.caption, p.mask.kind if p.mask else "") for p in ds.pictures()} == {
        "a.png": ("whole name", "file"), "B.png": ("other case", ""), "c.jpg": ("", "file"),
    } or {p.id.lower(): (p.caption, p.mask.kind if p.mask else "") for p in ds.pictures()} == {
        "a.png": ("whole name", "file"), "b.png": ("other case", ""), "c.jpg": ("", "file"),
    }  # fmt: skip
    by_file = {v.file: v for v in verdicts}
    assert by_file["_controls/c.depth.jpg"].ok and by_file["_controls/c.depth.jpg"].id == "c.jpg" and "unpack it" in by_file["more.7z"].reason
    assert ds.get("c.jpg").control.path.name == "c.control.png"
    assert by_file["c.txt"].ok and "no caption" in by_file["c.txt"].reason
    assert datasets.summary(verdicts).endswith(
        "2 masks paired, 1 control picture paired, 1 refused, 6 files of other programs (.npz, .toml, ~, .bak, …) left out"
    ) or "6 files of other programs" in datasets.summary(verdicts)
    assert sum(not v.ok and v.kind not in ("skipped", "control") for v in verdicts) == 1, "only the archive is refused"


def test_a_zip_with_target_and_control_is_learnt_by_its_target(ds, nasty):
    files = {f"{where}/{n}.png": encoded(scene(n + 10 * (where == "control"))) for where in ("target", "control") for n in range(2)}
    files |= {"target/0.txt": b"the target", "control/0.txt": b"the control", "control/1.txt": b"the other control"}
    verdicts = importing.add_files(ds, [zipped(nasty / "edit.zip", files)])
    assert {p.id: p.caption for p in ds.pictures()} == {"0.png": "the target", "1.png": ""}
    assert datasets.summary(verdicts).startswith("2 pictures added, 1 caption paired, 2 control pictures paired")
    assert {p.id: p.control.path.name for p in ds.pictures()} == {"0.png": "0.control.png", "1.png": "1.control.png"}


@pytest.mark.slow
def test_kohyas_folders_are_used_and_said(ds, nasty):
    write(nasty / "k" / "img" / "10_zibbo woman" / "a.png", 1), write(nasty / "k" / "img" / "10_zibbo woman" / "b.png", 2)
    write(nasty / "k" / "img" / "3_zibbo hat" / "c.png", 3), write(nasty / "k" / "reg" / "1_woman" / "r.png", 4)
    (nasty / "k" / "img" / "10_zibbo woman" / "a.txt").write_text("her own caption")
    verdicts = {v.file: v for v in importing.add_folder(ds, nasty / "k")}
    assert {p.id: p.caption for p in ds.pictures()} == {"a.png": "her own caption", "b.png": "zibbo woman", "c.png": "zibbo hat"}
    assert {p.id: p.repeats for p in ds.pictures()} == {"a.png": 10, "b.png": 10, "c.png": 3}
    assert "10 repeats: its pictures count 10 times in an epoch" in verdicts["10_zibbo woman"].reason
    home = datasets.Home(ds.path.parent.parent)
    kept = datasets.open_dataset(home, ds.prior)
    assert [(p.id, p.caption) for p in kept.pictures()] == [("r.png", "woman")] and kept.title == "of others (kept as it is)"
    assert "1 regularisation picture came along" in verdicts[""].reason
    write(nasty / "k" / "reg" / "1_woman" / "s.png", 5)
    importing.add_folder(ds, nasty / "k")  # once more: the same two datasets, the new picture is added
    assert [p.id for p in kept.pictures()] == ["r.png", "s.png"] and len(datasets.list_datasets(home)) == 2
    assert len(importing.add_folder(datasets.create(home, "regs"), nasty / "k" / "reg")) == 3


def test_repeats_are_relative_counted_by_the_engine_and_part_of_what_a_run_is_made_of(ds, nasty):
    for repeats, name in ((20, "a"), (10, "b")):
        write(nasty / "k" / f"{repeats}_thing" / f"{name}.png", repeats)
    before = datasets.create(datasets.Home(ds.path.parent.parent), "before")
    importing.add_folder(before, nasty / "k" / "10_thing")
    importing.add_folder(before, nasty / "k" / "20_thing")
    importing.add_folder(ds, nasty / "k")
    assert {p.id: p.repeats for p in ds.pictures()} == {"a.png": 2, "b.png": 1}
    before.set_captions({"a.png": "thing", "b.png": "thing"}, "typed")
    assert ds.fingerprint() != before.fingerprint()
    ds.set_repeats({"a.png": 1})
    assert ds.fingerprint() == before.fingerprint()
    with pytest.raises(ValueError, match="cannot count 0 times"):
        ds.set_repeats({"a.png": 0})


def test_a_folder_used_in_place_is_read_the_same_way(home, nasty):
    folder = nasty / "own"
    write(folder / "a.png", 1), mask(folder / "a_mask.png"), write(folder / "a_depth.png", 3), write(folder / "gas_mask.png", 4)
    write(folder / "a_canny.png", 5)
    (folder / "A.png.txt").write_text("near")
    found = {p.id: p for p in datasets.resolve(home, str(folder)).pictures()}
    assert sorted(found) == ["a.png", "a_depth.png", "gas_mask.png"] and found["a.png"].mask.path.name == "a_mask.png"
    assert found["a.png"].control.path.name == "a_canny.png" and found["gas_mask.png"].usable
    assert not found["a_depth.png"].usable and "a control picture of a, which has another one, a_canny.png" in found["a_depth.png"].note
    assert found["a.png"].caption == "near"
