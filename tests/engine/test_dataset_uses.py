"""Several datasets in one run: each with its own trigger word, sides and sub-folder; batches, epochs, record and resume are right."""

from __future__ import annotations

import json
import os
from collections import Counter

import pytest

from tests import tiny
from tests.data.make import write
from training import jobfile
from training.config import TrainConfig
from training.data import datasets, importing, parts, twin, versions
from training.engine.data import bare_captions, caption_record, plan
from training.families import sd15
from training.formats.modelspec import modelspec_metadata
from training.plan.estimate import buckets_of_epoch, steps_per_epoch
from training.plan.fit import _smaller_pictures, all_with
from training.plan.pace import _sides
from training.runs import exactly
from training.runs.context import Context
from training.runs.run import create
from ui.tabs.results.tab import about
from ui.tabs.train import uses

from .conftest import state_files

PARTED = {"cats": 3, "dogs": 2, "dogs/small": 1}


@pytest.fixture
def parted(home, tmp_path):
    """A dataset out of three sub-folders."""
    number = 0
    for part, count in PARTED.items():
        for n in range(count):
            path = tmp_path / "all" / part / f"{n}.png"
            write(path, number := number + 1)
            path.with_suffix(".txt").write_text(f"a {part.split('/')[0]} photo")
    ds = datasets.create(home, "pets")
    importing.add_folder(ds, tmp_path / "all")
    return ds


def job(*uses: dict, **changes) -> TrainConfig:
    return jobfile.parse(TrainConfig, tiny.train_job("base", "none", **{"data__datasets": list(uses), "sample__every": 0} | changes))


def planned(home, *uses: dict, said: list | None = None, **changes):
    return plan(job(*uses, **changes), home, sd15.SPEC, 4, [].append if said is None else said.append)


def test_where_pictures_came_from_is_remembered_and_a_part_is_only_those(home, parted):
    assert parts.counts(parted) == {"cats": 3, "dogs": 3, "dogs/small": 1}
    whole, dogs, small = (planned(home, {"name": "pets", "part": part}) for part in ("", "dogs", "dogs/small"))
    assert [len(p.items) for p in (whole, dogs, small)] == [6, 3, 1]
    assert all("dogs" in item.captions[0] for item in dogs.items)
    assert len({p.fingerprint for p in (whole, dogs, small)}) == 3
    with pytest.raises(ValueError, match="came from a folder 'birds'; there are: cats, dogs, dogs/small"):
        planned(home, {"name": "pets", "part": "birds"})
    for bad in ("../pets", "a/../b", "a/ .. /b", "a\0b", *(("C:/pets", "a\\..\\b") if os.name == "nt" else ())):
        with pytest.raises(ValueError, match="is no folder inside the dataset"):
            job({"name": "pets", "part": bad})


def test_a_part_is_as_it_was_when_only_others_change(home, parted):
    before = planned(home, {"name": "pets", "part": "cats"}).fingerprint
    dog = next(p for p in parted.pictures() if "dogs" in p.caption)
    parted.set_caption(dog.id, "another")
    assert planned(home, {"name": "pets", "part": "cats"}).fingerprint == before
    assert planned(home, {"name": "pets"}).fingerprint != before
    parted.remove([dog.id])
    assert parts.counts(parted)["dogs"] == 2
    parted.undo()
    assert parts.counts(parted)["dogs"] == 3


def test_the_sub_folders_of_a_folder_in_place_are_its_parts(home, tmp_path):
    for part, count in {"cats": 3, "dogs": 2}.items():
        tiny.pictures(tmp_path / "mine" / part, count)
    ds = datasets.resolve(home, str(tmp_path / "mine"))
    assert parts.counts(ds) == {"cats": 3, "dogs": 2}
    assert [item.id for item in planned(home, {"name": str(ds.path), "part": "dogs"}).items] == ["dogs/picture 0.png", "dogs/picture 1.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_folder_that_is_offered_can_be_taken_whatever_it_is_called(home, tmp_path):
    odd = ["a:b", "a\\b", "blank ", "~tilde"]
    for part in odd:
        tiny.pictures(tmp_path / "mine" / part, 1)
    ds = datasets.resolve(home, str(tmp_path / "mine"))
    assert list(parts.counts(ds)) == odd
    for part in odd:
        assert [item.id for item in planned(home, {"name": str(ds.path), "part": part}).items] == [f"{part}/picture 0.png"]
        assert uses.rows(home, uses.Use().edited("part", part), [], str(ds.path)) == (({"name": str(ds.path), "part": part},), {})


def test_a_part_of_a_folder_in_place_is_trained_on_again_as_it_was(home, tmp_path):
    for part, count in {"cats": 1, "dogs": 2}.items():
        tiny.pictures(tmp_path / "mine" / part, count)
    config = job({"name": str(tmp_path / "mine"), "part": "dogs"}, {"name": str(tmp_path / "mine" / "cats")})
    run = create(home.outputs, config)
    exactly.note(config, Context(run, home, attempt=1))
    dogs = f"{tmp_path / 'mine'}/dogs"
    assert list(exactly.learnt(run)) == [dogs, str(tmp_path / "mine" / "cats")] and exactly.hindrance(run, home) == ""
    assert "mine (version 1)" in about(run)
    datasets.resolve(home, dogs).set_caption("picture 0.png", "another one")
    names, _ = exactly.again(run, home)
    first, second = exactly.with_datasets(config, names, home).data.datasets
    assert (first.name, first.part, second) == (names[dogs], "", config.data.datasets[1])
    assert datasets.open_dataset(home, first.name).caption("picture 0.png") != "another one"
    record = json.loads(run.path.joinpath(exactly.RECORD).read_text())
    run.path.joinpath(exactly.RECORD).write_text(json.dumps({str(tmp_path / "mine"): record[dogs]} | {k: v for k, v in record.items() if k != dogs}))
    assert exactly.hindrance(run, home), "an older record is of the whole folder"
    run.path.joinpath(exactly.RECORD).write_text(json.dumps({k: v for k, v in record.items() if k != dogs}))
    assert f"which pictures of {dogs!r}" in exactly.hindrance(run, home)


def test_a_picture_that_lies_in_two_folders_of_an_import_stays_in_the_first(home, tmp_path):
    for place in ("a", "b", "c"):
        write(tmp_path / "all" / place / "same.png", 1)
        write(tmp_path / "all" / place / "own.png", ord(place))
    ds = datasets.create(home, "pets")
    importing.add_folder(ds, tmp_path / "all")
    assert parts.counts(ds) == {"a": 2, "b": 1, "c": 1}


@pytest.mark.slow
def test_each_dataset_is_learnt_with_its_own_word_and_none_of_them_is_held(home, dataset, tmp_path):
    kept = {"name": str(tiny.pictures(tmp_path / "kept", 2)), "prior": True, "trigger": "never"}
    uses = {"name": str(dataset)}, {"name": str(tiny.pictures(tmp_path / "b", 2)), "trigger": "quux"}, {"name": str(tiny.pictures(tmp_path / "c", 2)), "trigger": "-"}
    said: list[str] = []
    made = planned(home, *uses, kept, said=said)
    words = {item.id.split("/")[0]: item.captions[0].split(",")[0] for item in made.items}
    assert (words[dataset.name], words["b"]) == ("zibbo", "quux")
    assert words["c"].startswith("a ") and words["kept"].startswith("a ")
    assert job(*uses, kept).triggers == ("zibbo", "quux")
    assert any("a trigger word of its own" in s and "kept as it is" in s for s in said)
    bare = {item.id.split("/")[0]: bare_captions(item, ("zibbo", "quux")) for item in made.items}
    assert all(bare[name] and not any(w in c for c in bare[name] for w in ("zibbo", "quux")) for name in (dataset.name, "b"))
    assert bare["c"] == bare["kept"] == []
    said.clear()
    planned(home, *uses[1:], said=said)
    assert any(s.startswith("trigger has no effect on what is learnt") for s in said)


def test_sides_of_its_own_never_share_a_batch_with_others_and_epochs_count_all(home, dataset, tmp_path):
    config = job({"name": str(dataset), "repeats": 3}, {"name": str(tiny.pictures(tmp_path / "b", 4)), "resolutions": [64, 48], "weight": 2.0})
    made = plan(config, home, sd15.SPEC, 4, [].append)
    area = lambda item: round((item.crop.width * item.crop.height) ** 0.5 / 16) * 16
    assert {item.id.split("/")[0]: item.weight for item in made.items} == {dataset.name: 1.0, "b": 2.0}
    assert Counter((item.id.split("/")[0], area(item)) for item in made.items) == {(dataset.name, 32): 15, ("b", 64): 4, ("b", 48): 4}
    buckets, _ = buckets_of_epoch(config, sd15.SPEC, 9, 4, home)
    assert Counter(buckets) == Counter(item.bucket for item in made.items)
    assert config.data.all_sides == (32, 48, 64) and _sides(config.model_dump(mode="json")) == [32, 48, 64]
    from training.engine.buckets import plan_epoch

    batches = plan_epoch([item.bucket for item in made.items], 2, 0, 0)
    assert all(len({made.items[n].bucket for n in batch}) == 1 for batch in batches)
    assert len(batches) == steps_per_epoch(buckets, 2)
    rows = caption_record(made)
    assert {(row["id"].split("/")[0], row["times"], row.get("weight", 1.0)) for row in rows} == {(dataset.name, 3, 1.0), ("b", 1, 2.0)}


def test_a_picture_that_two_datasets_have_is_held_out_of_both(home, dataset):
    made = planned(home, {"name": str(dataset)}, {"name": str(dataset), "trigger": "quux", "resolutions": [48]}, data__held_out=2)
    assert not {i.sha256 for i in made.held_out} & {i.sha256 for i in made.items}
    assert len({i.sha256 for i in made.held_out}) == 2
    assert len(caption_record(made)) == 10  # each use of each picture is on record


def test_what_the_file_says_of_itself_and_what_makes_it_fit_know_of_all_of_them():
    config = job({"name": "a"}, {"name": "b", "trigger": "quux", "resolutions": [512, 1024]}, {"name": "c", "prior": True}, data__resolutions=[768])
    told = modelspec_metadata(config, sd15.SPEC, prediction_type="epsilon", pictures=3, date="2026-01-31T00:00:00")
    assert (told["modelspec.trigger_phrase"], told["modelspec.resolution"]) == ("zibbo, quux", "1024x1024")
    assert told["modelspec.usage_hint"] == "Trigger words: zibbo, quux"
    smaller = all_with(config, next(_smaller_pictures(config)).settings)
    assert smaller.data.all_sides == (512, 768) and [use.resolutions for use in smaller.data.datasets] == [(), (512, 768), ()]
    assert next(_smaller_pictures(job({"name": "a"}, data__resolutions=[768]))).settings == {"data.resolutions": (576,)}


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"trigger": "quux"}, {"trigger": "-"}, {"resolutions": [48]}, {"part": "inner"}])
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, dataset, tmp_path, change):
    tiny.pictures(tmp_path / "b" / "inner", 2)
    other = {"name": str(tiny.pictures(tmp_path / "b", 3))}
    changes = {"steps": 4, "sample__every": 0, "loss__min_snr_gamma": 5.0}
    uses = [{"name": str(dataset)}, other | change]
    whole = lab.run(data__datasets=uses, **changes)
    again = lab.go(lab.run(stop_at=2, data__datasets=uses, **changes))
    assert whole.status() == again.status() == "finished"
    assert state_files(again, 4) == state_files(whole, 4) and again.result().read_bytes() == whole.result().read_bytes()
    plain = lab.run(data__datasets=[{"name": str(dataset)}, other], **changes)
    assert plain.view().losses != whole.view().losses
    rows = json.loads((whole.path / "pictures.json").read_text(encoding="utf-8"))
    assert len({tuple(row["bucket"]) for row in rows}) >= 2 and all(row["times"] == 1 for row in rows)


def test_a_version_as_a_dataset_of_its_own_still_has_its_parts(home, parted):
    first = versions.gather(parted)
    parted.set_caption(parted.pictures()[0].id, "another")
    made = twin.twin(home, parted, first.id).dataset
    assert made.name != parted.name and parts.counts(made) == parts.counts(parted) == {"cats": 3, "dogs": 3, "dogs/small": 1}
