"""Pictures that came along to be kept as they are are chosen on the Train tab by themselves, and can be left out."""

from __future__ import annotations

import pytest

from tests.data.make import write
from tests.plan.test_presets import LAPTOP
from training.data import datasets, importing
from ui.tabs.train import draft
from ui.tabs.train.draft import NOTHING, Draft


@pytest.mark.slow
def test_what_came_along_is_kept_until_somebody_says_otherwise(home, tmp_path):
    for n in range(4):
        write(tmp_path / "k" / "img" / "5_zibbo" / f"{n}.png", n)
        write(tmp_path / "k" / "reg" / "1_thing" / f"r{n}.png", 10 + n)
    ds = datasets.create(home, "zibbo")
    importing.add_folder(ds, tmp_path / "k")
    made = draft.plan(home, Draft(), ds.name, LAPTOP)
    assert [(use.name, use.prior) for use in made.base.data.datasets] == [("zibbo", False), (ds.prior, True)]
    none = Draft().edited("prior", "")
    assert none.prior == NOTHING
    assert [use.name for use in draft.plan(home, none, ds.name, LAPTOP).base.data.datasets] == ["zibbo"]
    datasets.delete(datasets.open_dataset(home, ds.prior))
    gone = draft.plan(home, Draft(), ds.name, LAPTOP)
    assert "prior" not in gone.wrong
    assert [use.name for use in gone.base.data.datasets] == ["zibbo"]
