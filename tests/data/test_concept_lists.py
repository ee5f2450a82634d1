"""OneTrainer's concepts.json in a dropped folder: what is learnt there is learnt here, as often and with the same captions."""

from __future__ import annotations

import json

import pytest

from tests.data.make import encoded, scene, write, zipped
from training.data import datasets, importing
from training.data.folders import proportions


@pytest.fixture
def ds(home):
    return datasets.create(home, "of concepts")


def concept(path: str, **changes) -> dict:
    """As the program writes one, in short."""
    text = {"prompt_source": changes.pop("source", "sample"), "prompt_path": changes.pop("file", ""), "enable_tag_shuffling": changes.pop("shuffled", False)}
    return {"name": "", "path": path, "enabled": True, "type": "STANDARD", "balancing": 1.0, "image": {"enable_crop_jitter": True}, "text": text} | changes


def test_a_dropped_folder_counts_captions_and_keeps_as_its_concepts_say(ds, tmp_path):
    root = tmp_path / "mine"
    for seed, name in enumerate(("cats/a.png", "cats/b.png", "dogs/red fox.png", "dogs/in/c.png", "reg/woman.png", "off/x.png", "val/y.png", "loose/z.png")):
        write(root / name, seed)
    (root / "cats" / "a.txt").write_text("her own")
    (root / "all cats.txt").write_text("a cat\na cat of mine\n")
    listed = [
        concept("D:\\train\\cats", name="cats", balancing=2.0, source="concept", file="D:\\train\\all cats.txt", shuffled=True, loss_weight=0.5),
        concept("/elsewhere/dogs", source="filename", balancing=4, balancing_strategy="SAMPLES", include_subdirectories=True), concept("/x/reg", type="PRIOR_PREDICTION", source="filename"),
        concept("/x/off", enabled=False), concept("/x/val", type="VALIDATION"), concept("/x/not here", name="gone"),
    ]  # fmt: skip
    (root / "concepts.json").write_text(json.dumps(listed))
    verdicts = importing.add_folder(ds, root)
    found = {p.id: (p.captions, p.repeats) for p in ds.pictures()}
    assert found == {
        "a.png": (("her own",), 1), "b.png": (("a cat", "a cat of mine"), 1), "red fox.png": (("red fox",), 1), "c.png": (("c",), 1), "z.png": ((), 1),
    }  # fmt: skip
    kept = datasets.open_dataset(datasets.Home(ds.path.parent.parent), ds.prior)
    assert [(p.id, p.caption) for p in kept.pictures()] == [("woman.png", "woman")]
    said = {v.reason for v in verdicts if v.kind in ("folder", "unused")}
    assert any("“cats”: 2 pictures; switched on there, and no part of a dataset here: tag shuffling, a loss weight of 0.5" in s for s in said), said
    assert any("switched off" in s for s in said) and any("only measures" in s for s in said) and any("/x/not here did not come along" in s for s in said)
    assert "2 unused pictures left out" in datasets.summary(verdicts) and all(v.ok or v.kind == "unused" for v in verdicts)


def test_repeats_are_kept_in_their_proportions_and_a_folder_in_two_concepts_counts_for_both(ds, tmp_path):
    files = {f"{place}/{n}.png": encoded(scene(n + 10 * seed)) for seed, place in enumerate(("a", "b")) for n in range(2)}
    listed = [concept("/t/a", balancing=0.5), concept("/t/b", balancing=1), concept("/t/b", balancing=0.5)]
    verdicts = importing.add_files(ds, [zipped(tmp_path / "t.zip", files | {"lists/my concepts.json": json.dumps({"concepts": listed}).encode()})])
    assert sorted(p.repeats for p in ds.pictures()) == [1, 1, 3, 3], verdicts
    assert any("each counts 3 times in an epoch" in v.reason for v in verdicts)
    assert proportions([1.0, 1.5]) == [2, 3] and proportions([10, 1]) == [10, 1] and proportions([]) == [] and proportions([0.001, 1e6]) == [1, 1000]


def test_a_list_of_one_folder_means_the_one_that_it_lies_in_and_a_lost_file_of_captions_is_said(ds, tmp_path):
    write(tmp_path / "in" / "a.png", 1)
    (tmp_path / "in" / "concepts.json").write_text(json.dumps([concept("/home/me/whatever", source="concept", file="/home/me/words.txt")]))
    (verdict,) = [v for v in importing.add_folder(ds, tmp_path / "in") if not v.ok]
    assert "“whatever” are in /home/me/words.txt, which did not come along" in verdict.reason and ds.counts().usable == 1
