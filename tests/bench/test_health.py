"""How long the health check takes: 1,000 JPEGs of a megapixel, looked at for the first time, and again."""

from __future__ import annotations

import time

import pytest

from tests.data.scenes import photo
from training.data import datasets, health
from training.home import Home

COUNT = 1000
MOST_S = 60.0  # on two cores
AGAIN_S = 3.0


@pytest.mark.slow
def test_a_thousand_pictures_are_judged_within_a_minute(tmp_path):
    ds = datasets.create(Home(tmp_path), "many")
    scenes = [photo(seed, (1152, 896)) for seed in range(20)]
    for n in range(COUNT):
        scene = scenes[n % 20]
        scene.paste((n % 251, n % 241, n % 239), (8 * (n % 100), 8 * (n // 100), 8 * (n % 100) + 60, 8 * (n // 100) + 60))
        scene.save(ds.path / f"{n:04}.jpg", quality=90)
    ds.check()  # as they were imported
    start = time.monotonic()
    found = health.check(ds, health.Goal(1024))
    first_s = time.monotonic() - start
    start = time.monotonic()
    assert health.check(ds, health.Goal(1024)) == found
    again_s = time.monotonic() - start
    print(f"\n{found.count} pictures: {first_s:.1f} s, again {again_s:.2f} s")
    assert found.count == COUNT
    assert first_s <= MOST_S and again_s <= AGAIN_S
