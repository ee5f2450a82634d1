"""How long the health check takes: 1,000 JPEGs of a megapixel, looked at for the first time, and again.

    python -m tests.bench.health

Aims, on two cores that do nothing else: 60 s for the first time, 3 s for the second.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.data.scenes import photo
from training.data import datasets, health
from training.home import Home

COUNT = 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ds = datasets.create(Home(Path(folder).resolve()), "many")
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
        again = health.check(ds, health.Goal(1024))
        print(f"{found.count} pictures: {first_s:.1f} s, again {time.monotonic() - start:.2f} s")
        assert again == found and found.count == COUNT


if __name__ == "__main__":
    main()
