"""The health check on the page: it runs beside it, its findings filter the grid, and it is judged again when something has changed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.data.scenes import drawing
from training.data import datasets, health
from training.data.health import Bucket, Finding, Goal, Health
from training.home import Home
from ui.tabs.dataset import imports as importing
from ui.tabs.dataset import judged, tiles
from ui.tabs.dataset.imports import Imports
from ui.tabs.dataset.tab import _page_of, outcome_html

EVIL = '"><img src=x onerror=alert(1)>'
GOAL = Goal(256, divisor=32)


@pytest.fixture
def ds(tmp_path):
    made = datasets.create(Home(tmp_path), "judged")
    for n in range(4):
        drawing(n, (400, 300) if n else (300, 300)).save(made.path / f"{n}.png")
    return made


def checked(imports: Imports, ds) -> Health:
    job = imports.check(ds, GOAL)
    job.thread.join(60)
    assert job.ended and not job.error and outcome_html(job) == ""
    return imports.health(ds, GOAL)[0]


def test_the_check_runs_beside_the_page_and_says_how_far_it_is(ds, tmp_path):
    imports = Imports(tmp_path / "uploads")
    assert imports.health(ds, GOAL) == (None, False) and judged.health_html(None, "", False) == ""
    assert "Looking closely" in outcome_html(importing.Import(checks=True)) and "Checking pictures" in outcome_html(importing.Import())
    found = checked(imports, ds)
    assert found == health.check(ds, GOAL)
    html = judged.health_html(found, "bare", False)
    assert f">{found.grade}</b>" in html and 'data-key="bare" aria-pressed="true"' in html and 'data-key="few" aria-pressed="false"' in html
    imports.forget_health(ds.name)
    assert imports.health(ds, GOAL) == (None, False)


def test_a_finding_and_a_size_filter_the_grid(ds, tmp_path):
    found = checked(Imports(tmp_path / "uploads"), ds)
    for key, ids in (("bare", {"0.png", "1.png", "2.png", "3.png"}), (judged.key_of(found.buckets[0]), {"1.png", "2.png", "3.png"}), (judged.key_of(found.buckets[1]), {"0.png"})):
        title, among = judged.shown(found, key)
        pictures, total, _ = _page_of(ds, {"page": 0, "query": "", "only": ""}, among)
        assert {p.id for p in pictures} == ids and total == len(ids) and title
    assert _page_of(ds, {"page": 3, "query": "2", "only": ""}, among)[1] == 0
    assert judged.shown(found, "gone") is None and judged.shown(found, "") is None and judged.shown(None, "bare") is None


@pytest.mark.slow
def test_what_changed_is_judged_again_at_once_where_nothing_new_must_be_measured(ds, tmp_path, monkeypatch):
    imports = Imports(tmp_path / "uploads")
    first = checked(imports, ds)
    ds.remove(["3.png"])
    again, stale = imports.health(ds, GOAL)
    assert again.count == 3 and first.count == 4 and not stale
    assert imports.health(ds, Goal(64, divisor=32))[0].goal.side_px == 64
    drawing(9, (400, 300)).save(ds.path / "new.png")
    old, stale = imports.health(ds, GOAL)
    assert stale and old.count == 3 and "Check again" in judged.health_html(old, "", stale)
    assert checked(imports, ds).count == 4
    drawing(7, (400, 300)).save(ds.path / "1.control.png")
    ds.check()
    assert imports.health(ds, GOAL)[1] and checked(imports, ds).count == 4 and not imports.health(ds, GOAL)[1], "what it is made from is looked at too"
    (ds.path / "1.control.png").unlink()
    monkeypatch.setattr(importing, "JUDGED_AGAIN", 2)
    ds.remove(["new.png"])
    assert imports.health(ds, GOAL)[1]


def test_the_large_view_is_told_the_crop_and_what_is_cut_off(ds):
    address = lambda p: "/easel/x"
    html = tiles.picture_tile(ds.get("0.png"), address, address, None, goal=GOAL)
    assert 'data-crop="0.00000 0.00000 1.00000 1.00000" data-size="learnt at 256 × 256"' in html
    drawing(8, (1600, 300)).save(ds.path / "long.png")
    ds.set_focus("long.png", 0.0, 0.5)
    picture = ds.get("long.png")
    crop = GOAL.crop(picture)
    assert f'data-crop="0.00000 0.00000 {crop.width / crop.scaled[0]:.5f}' in judged.crop_attributes(picture, GOAL) and "% cut off" in judged.crop_attributes(picture, GOAL)
    assert "data-crop" not in tiles.picture_tile(picture, address, address)
    (ds.path / "bad.png").write_bytes(b"nothing")
    assert judged.crop_attributes(ds.get("bad.png"), GOAL) == ""


def test_batches_that_are_not_full_are_counted():
    of = lambda *counts: SimpleNamespace(goal=Goal(batch=4), buckets=tuple(Bucket(64, 64, ("a",) * n) for n in counts), partial=sum(n % 4 > 0 for n in counts))
    assert "2 of 4 in an epoch hold fewer" in judged._batches(of(5, 4, 3))
    assert "every step is full" in judged._batches(of(4, 8))


def test_user_text_never_becomes_markup():
    found = Health("C", EVIL, 1, (Finding("bare", "warn", EVIL, EVIL, EVIL, (EVIL,)),), (Bucket(64, 64, (EVIL,)),), GOAL, "")
    html = judged.health_html(found, "bare", True) + judged.filter_html(EVIL, 3)
    assert "<img src=x" not in html and "&lt;img src=x" in html
