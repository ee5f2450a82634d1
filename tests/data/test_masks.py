"""Masks beside pictures: found, checked, imported, moved with their picture, never taken for pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.data.make import encoded, scene, write, zipped
from training.data import datasets, importing
from training.home import Home


def mask(path, size=(120, 80), shown=(0, 0, 60, 80), mode="L"):
    """A mask that shows one box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, 0)
    image.paste(255 if mode == "L" else (255,) * len(mode), shown)
    image.save(path)
    return path


@pytest.fixture
def ds(nasty):
    return datasets.create(Home(nasty), "masked")


def test_a_mask_is_no_picture_and_belongs_to_its_picture(ds, nasty):
    folder = nasty / "in"
    write(folder / "cat.jpg", 1), write(folder / "dög.png", 2)
    mask(folder / "cat.mask.png"), mask(folder / "dög.MASK.PNG", (240, 160))
    verdicts = importing.add_files(ds, sorted(folder.iterdir()))
    assert datasets.summary(verdicts) == "2 pictures added, 2 masks paired"
    assert [p.id for p in ds.pictures()] == ["cat.jpg", "dög.png"] and ds.counts().total == 2
    assert {p.id: p.mask.path.name for p in ds.pictures()} == {"cat.jpg": "cat.mask.png", "dög.png": "dög.mask.png"}
    assert all(p.mask.kind == "file" and not p.mask_note for p in ds.pictures())
    for not_a_picture in (lambda: ds.get("cat.mask.png"), lambda: ds.thumbnail("cat.mask.png"), lambda: ds.set_caption("cat.mask.png", "x")):
        with pytest.raises(ValueError, match="no picture called"):
            not_a_picture()


@pytest.mark.slow
def test_masks_pair_by_folder_in_a_zip_and_when_their_picture_got_another_name(ds, nasty):
    importing.add_files(ds, [write(nasty / "other" / "cat.png", 9)])
    files = {f"{where}/cat.{suffix}": encoded(scene(n), "PNG") for n, where in enumerate("ab") for suffix in ("png",)}
    files |= {"a/cat.mask.png": mask(nasty / "m.png").read_bytes(), "b/cat.mask.png": mask(nasty / "n.png", shown=(0, 0, 10, 10)).read_bytes()}
    importing.add_files(ds, [zipped(nasty / "z.zip", files)])
    masks = {p.id: p.mask and p.mask.path.name for p in ds.pictures()}
    assert masks == {"cat.png": None, "cat-2.png": "cat-2.mask.png", "cat-3.png": "cat-3.mask.png"}
    assert np.asarray(ds.get("cat-3.png").mask.load()).mean() < np.asarray(ds.get("cat-2.png").mask.load()).mean()


def test_a_mask_that_cannot_be_used_says_why(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1)])
    (nasty / "cut").mkdir()
    (nasty / "cut" / "cat.mask.png").write_bytes(encoded(scene(3), "PNG")[:400])
    offered = [mask(nasty / "wide" / "cat.mask.png", (300, 100)), nasty / "cut" / "cat.mask.png", mask(nasty / "dog.mask.png")]
    wide, cut, lost = (v.reason for v in importing.add_files(ds, offered))
    assert "300x100 px, which is another shape than its picture's 120x80 px" in wide
    assert "cut off" in cut or "damaged" in cut
    assert "no picture called 'dog'" in lost
    assert ds.get("cat.png").mask is None
    mask(ds.path / "cat.mask.png", (300, 100))  # put there by hand
    assert ds.pictures()[0].mask is None and "cat.mask.png is 300x100 px" in ds.pictures()[0].mask_note


@pytest.mark.slow
def test_a_newer_mask_takes_the_place_of_the_older_one(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1), mask(nasty / "a" / "cat.mask.png")])
    before = ds.get("cat.png").mask.sha256
    (verdict,) = importing.add_files(ds, [mask(nasty / "b" / "cat.mask.png", shown=(0, 0, 20, 20))])
    assert verdict.ok and ds.get("cat.png").mask.sha256 != before


@pytest.mark.slow
def test_many_masks_take_one_look_at_the_folder(ds, nasty, monkeypatch):
    importing.add_files(ds, [*(write(nasty / f"{n}.png", n) for n in range(3)), *(mask(nasty / "a" / f"{n}.mask.png") for n in range(3))])
    looks, aside = [], importing.bin.put_aside
    monkeypatch.setattr(importing.bin, "put_aside", lambda ds, scan, names, op: looks.append(list(names)) or aside(ds, scan, names, op))
    monkeypatch.setattr(datasets.Dataset, "get", lambda ds, id: pytest.fail("a look at the whole folder for each mask"))
    verdicts = importing.add_files(ds, [mask(nasty / "b" / f"{n}.mask.png", shown=(0, 0, 20, 20)) for n in range(3)])
    assert all(v.ok for v in verdicts) and looks == [["0.mask.png", "1.mask.png", "2.mask.png"]], verdicts
    assert len(list((ds.meta / "removed").rglob("*.mask.png"))) == 3 and all(p.mask for p in ds.pictures())


def test_a_mask_of_a_picture_that_cannot_be_used_says_so(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1)])
    (ds.path / "dog.png").write_bytes(b"no picture")
    (verdict,) = importing.add_files(ds, [mask(nasty / "a" / "dog.mask.png")])
    assert not verdict.ok and verdict.reason == "belongs to dog.png, which cannot be used"


def test_transparency_is_a_mask_unless_there_is_a_file(ds, nasty):
    clear = scene(1).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 60, 80))
    clear.save(nasty / "clear.png")
    write(nasty / "plain.png", 2, mode="RGBA")  # fully opaque
    importing.add_files(ds, [nasty / "clear.png", nasty / "plain.png"])
    pictures = {p.id: p for p in ds.pictures()}
    assert pictures["clear.png"].mask.kind == "alpha" and pictures["plain.png"].mask is None
    shown = np.asarray(pictures["clear.png"].mask.load())
    assert (shown[:, :60] == 0).all() and (shown[:, 60:] == 255).all()
    importing.add_files(ds, [mask(nasty / "clear.mask.png")])
    assert ds.get("clear.png").mask.kind == "file"


def test_a_mask_may_say_it_by_its_own_transparency_and_lies_upright_as_its_picture(ds, nasty):
    turned = scene(1)
    exif = turned.getexif()
    exif[0x0112] = 6  # shown turned by 90 degrees: 80 x 120
    turned.save(nasty / "cat.jpg", exif=exif)
    white = Image.new("RGBA", (80, 120), (255, 255, 255, 0))
    white.paste((255, 255, 255, 255), (0, 0, 80, 30))
    white.save(nasty / "cat.mask.png")
    importing.add_files(ds, [nasty / "cat.jpg", nasty / "cat.mask.png"])
    shown = np.asarray(ds.get("cat.jpg").mask.load())
    assert shown.shape == (120, 80) and (shown[:30] == 255).all() and (shown[30:] == 0).all()


def test_a_mask_goes_with_its_picture_and_comes_back_with_it(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1), mask(nasty / "cat.mask.png")])
    ds.remove(["cat.png"])
    assert not (ds.path / "cat.mask.png").exists()
    ds.undo()
    assert ds.get("cat.png").mask.kind == "file"


def test_the_fingerprint_holds_the_masks_where_they_count(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1)])
    plain, masked = ds.fingerprint(), ds.fingerprint(masks=True)
    assert plain == masked
    importing.add_files(ds, [mask(nasty / "cat.mask.png")])
    assert ds.fingerprint() == plain and ds.fingerprint(masks=True) != masked


def test_the_grid_shows_which_pictures_have_a_mask(ds, nasty):
    from ui.tabs.dataset.tiles import picture_tile

    importing.add_files(ds, [write(nasty / "cat.png", 1), mask(nasty / "cat.mask.png"), write(nasty / "dog.png", 2), write(nasty / "owl.png", 3)])
    mask(ds.path / "owl.mask.png", (300, 100))
    tiles = {p.id: picture_tile(p, lambda p: "t", lambda p: "f") for p in ds.pictures()}
    assert ">Mask</span>" in tiles["cat.png"] and "cat.mask.png" in tiles["cat.png"]
    assert "Mask" not in tiles["dog.png"] and ">Mask?</span>" in tiles["owl.png"]
