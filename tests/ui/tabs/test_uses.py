"""Several datasets in the Train form: rows that are added, filled in and taken out, parts of a dataset, the sums, and the way back from a run."""

from __future__ import annotations

import itertools
import os
import re

import pytest

from tests.data.make import write
from tests.plan.test_presets import LAPTOP
from training.data import datasets, parts
from training.runs.run import create
from ui.tabs.train import draft, tab
from ui.tabs.train.draft import Draft
from ui.tabs.train.uses import Use

SEEDS = itertools.count(1)


@pytest.fixture
def pets(home, tmp_path):
    """A dataset out of two folders, cats (3) and dogs (2)."""
    return made(home, tmp_path, "pets", {"cats": 3, "dogs": 2})


def made(home, tmp_path, name: str, folders: dict[str, int]) -> str:
    """A dataset as an import leaves it."""
    ds, places = datasets.create(home, name), {}
    for place, count in folders.items():
        for n in range(count):
            path = ds.path / f"{place}{n}.png"
            write(path, next(SEEDS))
            path.with_suffix(".txt").write_text("a photo")
            places[path.name] = place
    parts.remember(ds, [(place, [id]) for id, place in places.items()], places)
    return ds.name


def act(ctx, dataset: str, kind: str, **data) -> Draft:
    tab.answer(ctx, dataset, {}, {"act": kind, **data})
    return tab.form_of(ctx)


def typed(ctx, dataset: str, **said: str) -> Draft:
    return tab.changed(ctx, lambda form: _all(form, dataset, said))


def _all(form: Draft, dataset: str, said: dict[str, str]) -> Draft:
    for where, text in said.items():
        key, _, field = where.partition("_")
        key = "own" if key == "own" else form.more[int(key.removeprefix("m"))].key
        form = form.edited(f"use.{key}.{field}", text).of(dataset, f"use.{key}.{field}")
    return form


def page(ctx, dataset: str) -> dict[str, str]:
    return dict(zip(tab.PIECES, tab.paint(ctx, dataset, tab.form_of(ctx), {})[1:], strict=True))


@pytest.mark.slow
def test_a_row_is_added_filled_in_counted_and_taken_out(ctx, pets, tmp_path):
    birds = made(ctx.home, tmp_path, "birds", {"": 4})
    alone = page(ctx, pets)
    assert "Add another dataset" in alone["essentials"] and "The datasets of this run" not in alone["essentials"]
    act(ctx, pets, "add-use")
    assert draft.plan(ctx.home, tab.form_of(ctx), pets, LAPTOP).config is None, "an empty row is nothing to start with"
    form = typed(ctx, pets, own_repeats="2", m0_name=birds, m0_trigger="quux", m0_repeats="3", m0_weight="0.5", m0_resolutions="48, 64")
    for name in (pets, birds):
        datasets.open_dataset(ctx.home, name).check()
    made_ = draft.plan(ctx.home, form, pets, LAPTOP)
    assert made_.wrong == {}
    first, second = made_.config.data.datasets
    assert (first.name, first.repeats) == (pets, 2)
    assert (second.name, second.repeats, second.weight, second.trigger, second.resolutions) == (birds, 3, 0.5, "quux", (48, 64))
    assert made_.pictures == 9 and made_.counts == (5, 4)
    assert any("quux" in prompt for prompt in made_.config.sample.prompts), "what each word calls up is seen in the samples"
    shown = page(ctx, pets)
    assert "2 datasets" in shown["plan"] and "4 pictures × 3, at 48, 64 px, weight 0.5, “quux”" in shown["plan"] and "9 pictures" in shown["plan"]
    assert "(5 pictures × 2 + 4 × 6) ×" in shown["settings"] and "34 pictures an epoch" in shown["plan"]
    assert tab.form_of(ctx) == form, "the form is there after a reload"
    form = act(ctx, pets, "drop-use", id=form.more[0].key)
    assert form.more == () and draft.plan(ctx.home, form, pets, LAPTOP).config.data.datasets[0].repeats == 2


def test_what_is_wrong_stands_beside_its_field_and_what_belongs_to_another_dataset_is_left_out(ctx, pets, tmp_path):
    act(ctx, pets, "add-use")
    typed(ctx, pets, own_part="cats", own_repeats="0", m0_name="gone", m0_weight="much")
    form = tab.form_of(ctx)
    wrong = draft.plan(ctx.home, form, pets, LAPTOP).wrong
    key = form.more[0].key
    assert "greater than or equal to 1" in wrong["use.own.repeats"] and "not a number" in wrong[f"use.{key}.weight"] and "no dataset called 'gone'" in wrong[f"use.{key}.name"]
    shown = page(ctx, pets)
    assert f'id="train-use.{key}.weight-fault"' in shown["essentials"] and "is not a number" not in shown["plan"]
    _, seen = tab.start(ctx, pets, form, {}, False)
    assert seen["fault"] == "Not started: look at The datasets of this run"
    other = made(ctx.home, tmp_path, "others", {"": 2})
    assert form.kept(ctx.home, other).own.said == {}, "folders and repeats were said of the dataset before"
    assert form.edited("use.nothing.name", "x") == form.edited("use.own.key", "x") == form, "what is gone changes nothing"


def test_the_folders_of_a_dataset_are_offered_and_set_apart(ctx, pets):
    essentials = page(ctx, pets)["essentials"]
    assert re.search(r'data-path="use.own.part".*All of its folders.*value="cats".*cats \(3\).*dogs \(2\)', essentials) and 'data-act="split-uses"' in essentials
    one = typed(ctx, pets, own_part="dogs")
    assert draft.plan(ctx.home, one, pets, LAPTOP).pictures == 2
    typed(ctx, pets, own_part="")
    form = act(ctx, pets, "split-uses")
    assert form.own.part == "cats" and [(use.name, use.part) for use in form.more] == [(pets, "dogs")]
    uses = draft.plan(ctx.home, form, pets, LAPTOP).config.data.datasets
    assert [(use.name, use.part) for use in uses] == [(pets, "cats"), (pets, "dogs")]
    assert f"{pets} / dogs" in page(ctx, pets)["plan"]


def test_folders_are_not_set_apart_where_some_pictures_lie_in_none(ctx, tmp_path):
    mixed = made(ctx.home, tmp_path, "mixed", {"": 1, "cats": 3, "dogs": 2})
    essentials = page(ctx, mixed)["essentials"]
    assert "cats (3)" in essentials and "split-uses" not in essentials, "one picture would be left out and nobody told"
    one = made(ctx.home, tmp_path, "one", {"": 2, "cats": 1})
    assert "cats (1)" in page(ctx, one)["essentials"]


def test_a_row_that_is_kept_as_it_is_gets_no_trigger_and_the_one_above_still_counts_alike(ctx, pets, tmp_path):
    old, reg = made(ctx.home, tmp_path, "old", {"": 2}), made(ctx.home, tmp_path, "reg", {"": 10})
    act(ctx, pets, "add-use")
    form = typed(ctx, pets, m0_name=old, m0_trigger="quux", m0_prior="on")
    uses = draft.plan(ctx.home, form, pets, LAPTOP).config.data.datasets
    assert [(use.name, use.prior, use.trigger) for use in uses] == [(pets, False, ""), (old, True, "")]
    form = form.edited("prior", reg)
    uses = draft.plan(ctx.home, form, pets, LAPTOP).config.data.datasets
    assert [(use.name, use.repeats, use.prior) for use in uses] == [(pets, 2, False), (old, 1, True), (reg, 1, True)]
    twice = draft.plan(ctx.home, form.edited("prior", old), pets, LAPTOP)
    assert "pictures to learn from" in twice.wrong["prior"]


def test_use_these_settings_again_brings_the_rows_back(ctx, pets, tmp_path):
    birds = made(ctx.home, tmp_path, "birds", {"": 4})
    made(ctx.home, tmp_path, "reg", {"": 8})
    act(ctx, pets, "split-uses")
    act(ctx, pets, "add-use")
    form = typed(ctx, pets, m1_name=birds, m1_trigger="quux", m1_resolutions="64", own_weight="2").edited("prior", "reg").edited("trigger", "zibbo")
    made_ = draft.plan(ctx.home, form, pets, LAPTOP)
    again, of = draft.of_run(ctx.home, create(ctx.home.outputs, made_.config), LAPTOP)
    assert of == pets and again.prior == "reg" and "data.datasets" not in again.edits and again.more[-1].said == {"trigger": "quux", "resolutions": "64"}
    assert draft.plan(ctx.home, again, of, LAPTOP).config == made_.config


def test_the_table_in_all_settings_fills_the_rows_and_what_they_cannot_show_stays_there(ctx, pets, tmp_path):
    birds = made(ctx.home, tmp_path, "birds", {"": 4})
    form, of = draft.typed_rows(ctx.home, Draft(), f"{birds} | 2\n{pets} | 1 | 1 | no | quux | 64 | cats", "")
    assert of == birds and form.own.repeats == "2" and form.more[0].said == {"part": "cats", "trigger": "quux", "resolutions": "64"} and form.edits == {}
    folder = tmp_path / "birds"
    form, of = draft.typed_rows(ctx.home, Draft(), str(folder), pets)
    assert of == pets and form.edits == {"data.datasets": str(folder)}
    tab.changed(ctx, lambda _: form)
    essentials = page(ctx, pets)["essentials"]
    assert "1 folder, as" in essentials and "Choose a dataset instead" in essentials and str(folder) in essentials
    assert act(ctx, pets, "reset", field="data.datasets").edits == {}
    bad, _ = draft.typed_rows(ctx.home, Draft(), f"{pets} | many", pets)
    assert "not a number" in draft.plan(ctx.home, bad, pets, LAPTOP).wrong["data.datasets"]


def test_captions_are_judged_by_the_word_of_their_own_dataset(ctx, pets, tmp_path):
    birds = made(ctx.home, tmp_path, "birds", {"": 4})
    act(ctx, pets, "add-use")
    form = typed(ctx, pets, m0_name=birds, m0_trigger="quux").edited("trigger", "zibbo")
    assert (form.word_of(pets), form.word_of(birds)) == ("zibbo", "quux")
    assert form.edited(f"use.{form.more[0].key}.trigger", "-").word_of(birds) == ""
    act(ctx, pets, "add-use")
    form = typed(ctx, pets, m1_name=birds, m1_trigger="bob").edited("trigger", "zibbo")
    assert form.word_of(birds) == "", "its rows have different ones"
    assert form.edited(f"use.{form.more[1].key}.prior", "on").word_of(birds) == "quux", "what is kept as it is has none"
    form = form.edited(f"use.{form.more[1].key}.name", pets)
    assert form.word_of(pets) == "" and form.word_of("any other") == "zibbo"
    tab.changed(ctx, lambda _: form)
    assert [draft.aim(ctx.home, LAPTOP, name).trigger for name in (pets, birds)] == ["", "quux"]


def test_what_was_said_of_one_dataset_does_not_pass_on_to_another(ctx, pets, tmp_path):
    birds = made(ctx.home, tmp_path, "birds", {"owls": 2, "ducks": 2})
    form = Draft().left(pets, "use.own.part", "cats").left(pets, "use.own.repeats", "5")
    other = form.left(birds, "use.own.weight", "2")
    assert other.own == Use(name=birds, weight="2")
    assert form.left(birds, "steps", "9").own == form.own, "until something is said of the other one, it is kept"
    assert tab.pressed(form, {"act": "start", "fields": {"use.own.weight": "2"}}, birds).own == Use(name=birds, weight="2")
    assert tab.pressed(form, {"act": "add-use"}, birds).own == Use(name=birds)
    split = draft.apart(ctx.home, form, birds)
    assert split.own.said == {"part": "ducks"} and split.own.name == birds


@pytest.mark.parametrize("kind", ["start", "fit"])
def test_a_press_looks_at_each_folder_once_and_no_more_where_there_are_more_rows(ctx, pets, kind, monkeypatch):
    """Counted at the operating system, on the rows of one dataset."""
    counted = lambda: len([1 for one in seen if one == str(datasets.open_dataset(ctx.home, pets).path)])
    seen, real = [], os.scandir
    looks = []
    for _ in range(2):
        act(ctx, pets, "add-use")
        typed(ctx, pets, **{f"m{len(looks)}_name": pets, f"m{len(looks)}_part": "cats"})
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", lambda path=".": seen.append(str(path)) or real(path))
            if kind == "start":
                tab.start(ctx, pets, tab.form_of(ctx).edited("name", "a/b"), {}, False)
            else:
                tab.answer(ctx, pets, {}, {"act": kind})
        looks.append(counted())
    assert looks[0] == looks[1], looks
