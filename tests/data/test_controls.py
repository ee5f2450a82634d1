"""Control pictures beside pictures: found, checked, imported, moved with their picture, never learnt as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.data.make import encoded, scene, write, zipped
from training.data import controls, datasets, importing
from training.home import Home


@pytest.fixture
def ds(nasty):
    return datasets.create(Home(nasty), "controlled")


def test_a_control_picture_is_no_picture_and_belongs_to_its_picture(ds, nasty):
    folder = nasty / "in"
    write(folder / "cat.jpg", 1), write(folder / "cat.control.png", 2), write(folder / "dög.png", 3), write(folder / "dög_canny.jpg", 4)
    write(folder / "control.png", 5), write(folder / "owl.control.png", 6)  # pictures: nothing of that stem beside them
    verdicts = importing.add_files(ds, sorted(folder.iterdir()))
    assert datasets.summary(verdicts) == "4 pictures added, 2 control pictures paired"
    assert {p.id: p.control and p.control.path.name for p in ds.pictures()} == {
        "cat.jpg": "cat.control.png", "control.png": None, "dög.png": "dög.control.png", "owl.control.png": None,
    }  # fmt: skip
    assert np.abs(np.asarray(ds.get("dög.png").control.load(), int) - np.asarray(Image.open(folder / "dög_canny.jpg"), int)).max() == 0
    with pytest.raises(ValueError, match="no picture called"):
        ds.get("cat.control.png")


@pytest.mark.slow
def test_folders_of_the_same_names_pair_and_only_one_of_several_is_used(ds, nasty):
    files = {f"{where}/{n}.png": encoded(scene(n + 10 * at), "PNG") for at, where in enumerate(("set", "set/canny", "set/depth")) for n in range(2)}
    verdicts = {v.file: v for v in importing.add_files(ds, [zipped(nasty / "z.zip", files)])}
    assert datasets.summary(list(verdicts.values())) == "2 pictures added, 2 control pictures paired, 2 control pictures left out"
    assert {p.id: p.control.path.name for p in ds.pictures()} == {"0.png": "0.control.png", "1.png": "1.control.png"}
    second = next(v for v in verdicts.values() if "depth/0" in v.file)
    assert not second.ok and "a control picture of 0.png, which has another one" in second.reason


def test_one_that_cannot_be_used_says_why(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1)])
    (verdict,) = importing.add_files(ds, [write(nasty / "wide" / "cat.control.png", 2, size=(300, 100))])
    assert verdict.ok and "300x100 px, which is another shape than its picture's 120x80 px; an edit can be learnt from it" in verdict.reason
    found = ds.get("cat.png")
    assert found.control is None and "cat.control.png is 300x100 px" in found.control_note
    assert [(r.path.name, r.width, r.height) for r in found.references] == [("cat.control.png", 300, 100)], "an edit may begin with another shape"


def test_it_goes_with_its_picture_and_comes_back_with_it(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1), write(nasty / "cat.control.png", 2)])
    ds.remove(["cat.png"])
    assert not (ds.path / "cat.control.png").exists()
    ds.undo()
    assert ds.get("cat.png").control is not None


def test_the_fingerprint_holds_control_pictures_where_they_count(ds, nasty):
    importing.add_files(ds, [write(nasty / "cat.png", 1)])
    plain = ds.fingerprint()
    assert plain == ds.fingerprint(controls=True)
    importing.add_files(ds, [write(nasty / "cat.control.png", 2)])
    assert ds.fingerprint() == plain and ds.fingerprint(controls=True) != plain


def test_the_grid_shows_which_pictures_have_one(ds, nasty):
    from ui.tabs.dataset.tiles import picture_tile

    importing.add_files(ds, [write(nasty / "cat.png", 1), write(nasty / "cat.control.png", 2), write(nasty / "dog.png", 3), write(nasty / "owl.png", 4)])
    write(ds.path / "owl.control.png", 5, size=(300, 100))
    tiles = {p.id: picture_tile(p, lambda p: "t", lambda p: "f", None, [("small", "large")] * len(p.references)) for p in ds.pictures()}
    assert 'href="large" data-zoom="cat.control.png"' in tiles["cat.png"] and 'src="small"' in tiles["cat.png"]
    assert "control" not in tiles["dog.png"].lower() and ">Other shape</span>" in tiles["owl.png"]


def test_control_pictures_are_made_where_there_are_none(ds, nasty):
    for n, name in enumerate(("a", "b", "c")):
        write(nasty / f"{name}.png", n)
    own = write(nasty / "b.control.png", 9)
    importing.add_files(ds, [nasty / "a.png", nasty / "b.png", own, nasty / "c.png"])
    said = []
    verdicts = importing.make_controls(ds, "edges", lambda done, of, name: said.append((done, of, name)))
    assert datasets.summary(verdicts) == "2 control pictures paired" and said == [(0, 2, "a.png"), (1, 2, "c.png")]
    assert (ds.path / "b.control.png").read_bytes() == own.read_bytes()
    assert all(p.control.load().size == (p.width, p.height) for p in ds.pictures())
    assert importing.make_controls(ds, "lines") == []
    with pytest.raises(ValueError, match="cannot be made as 'depth'; they can be: edges, lines, grey, blur"):
        importing.make_controls(ds, "depth")


def test_one_that_came_while_others_were_made_stays(ds, nasty):
    importing.add_files(ds, [write(nasty / f"{name}.png", n) for n, name in enumerate("abcd")])
    came = {"b.png": "b.control.png", "c.png": "c_canny.png"}  # the second under a name that is no control picture's of ours
    own = {}

    def told(done, of, name):
        if name in came:
            own[came[name]] = write(ds.path / came[name], 9).read_bytes()

    verdicts = {v.id: v for v in importing.make_controls(ds, "edges", told)}
    assert {id: v.ok for id, v in verdicts.items()} == {"a.png": True, "b.png": False, "c.png": False, "d.png": True}
    assert verdicts["b.png"].reason == verdicts["c.png"].reason == "got one of its own meanwhile, which stays"
    assert {name: (ds.path / name).read_bytes() for name in own} == own and not (ds.path / "c.control.png").exists()


def test_edges_are_thin_closed_and_where_the_picture_changes():
    picture = Image.new("RGB", (80, 60), (200, 30, 30))
    picture.paste((30, 30, 200), (20, 10, 60, 50))
    found = np.asarray(controls.made(picture, "edges").convert("L")) > 0
    near = np.zeros_like(found)
    near[8:52, 18:62], near[13:47, 23:57] = True, False
    assert found.any() and not (found & ~near).any()
    assert found[30, 18:24].sum() == found[30, 56:62].sum() == found[8:14, 40].sum() == found[46:52, 40].sum() == 1  # a line of one px on each side
    flat = np.asarray(controls.made(Image.new("RGB", (40, 40), "teal"), "edges"))
    assert not flat.any()


def test_every_kind_is_made_of_the_size_of_its_picture_and_differs():
    picture = scene(3)
    made = {kind: np.asarray(controls.made(picture, kind)) for kind in controls.KINDS}
    assert all(m.shape == (80, 120, 3) and m.any() for m in made.values())
    assert len({m.tobytes() for m in made.values()}) == len(made)
