"""Pictures that are turned, mirrored, trimmed or left out: as they are seen, beside the file, and back."""

from __future__ import annotations

import io
import zipfile
from itertools import product

import numpy as np
import pytest
from PIL import Image

from tests.data.make import clip, encoded, scene
from training.data import datasets, exporting, importing, restoring, states, treatment, versions
from training.data.masks import Mask
from training.data.treatment import ACTS, PLAIN, Treatment
from training.home import Home


@pytest.fixture
def ds(tmp_path):
    made = datasets.create(Home(tmp_path), "turned")
    for seed, name in enumerate(("a.png", "b.jpg", "c.png")):
        scene(seed, (120, 80)).save(made.path / name)
        (made.path / name).with_suffix(".txt").write_text(f"number {seed}", encoding="utf-8")
    return made


EVERY = [Treatment(turns, mirror) for turns, mirror in product(range(4), (False, True))]


@pytest.mark.parametrize("how", EVERY, ids=lambda t: t.view or "plain")
def test_a_point_goes_where_its_pixel_goes_and_back(how):
    picture = Image.new("L", (8, 4))
    picture.putpixel((1, 3), 255)
    seen = how.apply(picture)
    assert seen.size == how.size(8, 4)
    y, x = np.argwhere(np.asarray(seen) == 255)[0]
    at = how.point((1.5 / 8, 3.5 / 4))
    assert at == pytest.approx(((x + 0.5) / seen.width, (y + 0.5) / seen.height))
    assert how.back(at) == pytest.approx((1.5 / 8, 3.5 / 4))
    assert np.array_equal(how.undo(seen), picture) and treatment.of_text(how.text) == how


def test_each_press_acts_on_what_is_seen():
    picture = scene(1, (12, 8))
    how, seen = PLAIN, picture
    for act in ("right", "mirror", "right", "left", "mirror", "left", "left", "mirror"):
        how = ACTS[act](how)
        seen = Treatment(mirror=True).apply(seen) if act == "mirror" else Treatment(turns=1 if act == "right" else 3).apply(seen)
        assert np.array_equal(how.apply(picture), seen), act


@pytest.mark.parametrize("text", ["4", "mm", "x1", "1 m", None, 1, ["1"], "1mxx"])
def test_what_is_no_treatment_is_none(text):
    assert treatment.of_text(text) is None


def test_it_is_kept_beside_the_file_counted_apart_and_undone(ds):
    before = {p.name: p.read_bytes() for p in ds.path.iterdir() if p.is_file()}
    plain = ds.fingerprint()
    assert ds.treat(["a.png"], "right") == 1 and ds.treat(["a.png", "b.jpg"], "mirror") == 2 and ds.treat(["c.png"], "out") == 1
    a, b, c = ds.pictures()
    assert (a.width, a.height, a.treatment.view) == (80, 120, "1m") and b.treatment.view == "m"
    assert c.verdict == "out" and not c.usable and ds.counts().out == 1 and ds.counts().usable == 2 and ds.counts().refused == 0
    assert ds.matching(only="out") == ["c.png"] and "a.png" not in ds.matching(only="refused")
    assert ds.fingerprint() != plain and {p.name: p.read_bytes() for p in ds.path.iterdir() if p.is_file()} == before
    again = datasets.Dataset(ds.path, ds.meta)
    assert again.can_undo() == "1 picture left out" and again.undo() == "1 picture as before"
    assert again.can_undo() == "2 pictures mirrored" and again.undo() == "2 pictures as before"
    assert again.can_undo() == "1 picture turned" and again.undo() and again.fingerprint() == plain and again.can_undo() == ""


def test_taking_back_and_turning_round_leave_nothing_behind(ds):
    for act in ("out", "in", "left", "right", "mirror", "mirror"):
        ds.treat(["a.png"], act)
    assert ds.get("a.png").treatment == PLAIN and (ds.meta / treatment.FILE).read_text() == "{}"
    assert ds.treat(["a.png"], "in") == 0


def test_the_focus_is_turned_along_and_is_set_on_what_is_seen(ds):
    ds.set_focus("a.png", 0.25, 0.1)
    ds.treat(["a.png"], "right")
    assert ds.get("a.png").focus == pytest.approx((0.9, 0.25))
    ds.set_focus("a.png", 0.2, 0.6)
    assert ds.get("a.png").focus == pytest.approx((0.2, 0.6))
    ds.treat(["a.png"], "left")
    assert ds.get("a.png").focus == pytest.approx((0.6, 0.8))


def test_all_left_out_is_said_and_the_same_file_is_not_added_again(ds, tmp_path):
    ds.treat(["a.png", "b.jpg", "c.png"], "out")
    assert "all pictures that can be used are left out; take some back" in ds.readiness()
    (tmp_path / "again.png").write_bytes((ds.path / "a.png").read_bytes())
    assert [v.kind for v in importing.add_files(ds, [tmp_path / "again.png"])] == ["duplicate"]


@pytest.mark.slow
def test_a_mask_of_the_file_shape_fits_a_turned_picture_and_control_pictures_are_made_as_it_lies(ds, tmp_path):
    ds.treat(["a.png"], "right")
    (tmp_path / "a.mask.png").write_bytes(encoded(scene(8, (120, 80), mode="L")))
    importing.add_files(ds, [tmp_path / "a.mask.png"])
    assert ds.get("a.png").mask.kind == "file"
    importing.make_controls(ds, "grey")
    a = ds.get("a.png")
    assert np.array_equal(a.control.load(), scene(0, (120, 80)).convert("L").convert("RGB")) and not a.control_note


def test_a_clip_is_left_out_but_not_turned(ds, tmp_path):
    clip(ds.path / "clip.mp4", count=4)
    with pytest.raises(ValueError, match="video editor"):
        ds.treat(["clip.mp4"], "right")
    assert ds.treat(["clip.mp4", "a.png"], "right") == 1 and ds.treat(["clip.mp4"], "out") == 1


def test_what_somebody_else_wrote_there_is_left_alone(ds):
    ds.meta.mkdir(exist_ok=True)
    for text in ("[]", "{", '{"x": 3}', '{"' + "0" * 64 + '": "9"}'):
        (ds.meta / treatment.FILE).write_text(text)
        assert all(p.treatment == PLAIN for p in ds.pictures())
    with open(ds.meta / "edits.jsonl", "a") as file:
        file.write('{"op": "x", "treated": {"a": ["nonsense", "1"]}}\n')
    assert ds.undo() == "nothing was left to put back"


def test_packed_is_what_is_learnt(ds):
    rgba = scene(9, (120, 80)).convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize((120, 80)))
    rgba.save(ds.path / "b.png")  # beside b.jpg, whose PNG may not take its name
    (ds.path / "b.txt").write_text("both", encoding="utf-8")
    (ds.path / "a.mask.png").write_bytes(encoded(scene(8, (120, 80), mode="L")))
    ds.treat(["a.png", "b.jpg", "b.png"], "left")
    ds.treat(["a.png"], "mirror")
    ds.treat(["c.png"], "out")
    seen = {p.id: p for p in ds.pictures() if p.usable}
    packed = zipfile.ZipFile(io.BytesIO(b"".join(exporting.stream(ds, "text", exporting.check(ds, "text")))))
    assert set(packed.namelist()) == {"a.png", "a.txt", "a.mask.png", "b turned.png", "b turned.txt", "b.png", "b.txt", "b.mask.png"}
    for id, name in (("a.png", "a.png"), ("b.jpg", "b turned.png"), ("b.png", "b.png")):
        p = seen[id]
        assert np.array_equal(Image.open(packed.open(name)), p.treatment.apply(datasets.load_pixels(p.path))), name
        if p.mask:
            mask = Mask(p.path if p.mask.kind == "alpha" else ds.path / "a.mask.png", "", p.mask.kind).load()
            assert np.array_equal(Image.open(packed.open(name.replace(".png", ".mask.png"))), p.treatment.apply(mask))


def test_a_version_knows_how_pictures_were_treated_and_brings_it_back(ds):
    first = versions.gather(ds) or versions.newest(ds)
    plain = states.now(ds)
    assert "treated" not in plain.told()  # versions of before have the digests that they had
    ds.treat(["a.png"], "right"), ds.treat(["b.jpg"], "out")
    assert "2 pictures turned, mirrored, trimmed or left out" in versions.pending(ds)
    second = versions.gather(ds)
    assert "2 pictures turned, mirrored, trimmed or left out otherwise" in states.compare(plain, states.now(ds)).says() and second.id != first.id
    restoring.restore(ds, first.id)
    assert [p.treatment for p in ds.pictures()] == [PLAIN] * 3
    restoring.restore(ds, second.id)
    assert [p.treatment.text for p in ds.pictures()] == ["1", "x", ""]
