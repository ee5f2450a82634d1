"""Which pictures are held out: of every folder some, and none whose twin is learnt."""

from __future__ import annotations

import pytest

from tests.data.scenes import photo
from training.data import datasets, health
from training.data.health import Goal
from training.data.heldout import Candidate, candidates, chosen
from training.home import Home


def of(place: str, count: int, twins: str = "") -> list[Candidate]:
    return [Candidate(f"{place}{n}{twins}", ("cats", place), twins) for n in range(count)]


def test_every_folder_gives_its_share():
    pictures = of("a", 20) + of("b", 10) + of("c", 10)
    held = chosen(pictures, 4, list(range(40))[::-1])
    assert len(held) == 4 and sorted(sha[0] for sha in held) == ["a", "a", "b", "c"]
    assert held == chosen(pictures, 4, list(range(40))[::-1]) != chosen(pictures, 4, list(range(40)))


def test_a_picture_with_twins_is_learnt_where_others_are_there():
    pictures = of("a", 4) + of("a", 8, "burst")
    assert all("burst" not in sha for seed in range(5) for sha in chosen(pictures, 4, sorted(range(12), key=lambda n: (n * 7 + seed) % 12)))


def test_where_too_few_others_are_there_twins_go_together():
    pictures = of("a", 1) + of("a", 3, "one") + of("a", 5, "two")
    held = chosen(pictures, 3, list(range(9)))
    assert held == {"a0", "a0one", "a1one", "a2one"}
    assert chosen(of("a", 3, "one"), 2, [0, 1, 2]) == set(), "all are alike: none can be held out"


@pytest.mark.slow
def test_twins_are_those_that_the_health_check_knows(tmp_path):
    ds = datasets.create(Home(tmp_path), "judged")
    for n in range(3):
        photo(n, (256, 192)).save(ds.path / f"p{n}.jpg", quality=90)
    photo(0, (256, 192)).resize((320, 240)).save(ds.path / "again.jpg", quality=80)
    ds.check()
    assert not any(one.twins for one in candidates(ds, ds.pictures())), "nobody looked yet"
    health.check(ds, Goal(side_px=128))
    twins = {p.id: one.twins for p, one in zip(ds.pictures(), candidates(ds, ds.pictures()), strict=True)}
    assert twins["p0.jpg"] == twins["again.jpg"] != "" == twins["p1.jpg"] == twins["p2.jpg"]
