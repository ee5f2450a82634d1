"""Ten thousand pictures: how long it takes to bring them in, and to open their dataset.  Run it: python -m tests.bench.imports [pictures]

The pictures are JPEGs of the sizes that people have, each with a .txt beside it, in folders of five hundred.  Seconds by the clock, and seconds of
computing of this process and of the gate's: on a busy machine only those tell something.
"""

from __future__ import annotations

import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.data.scenes import photo
from training.data import datasets, importing
from training.home import find_home

PICTURES = 10_000
SIZES = ((1024, 768), (768, 1024), (512, 512), (1536, 1024), (640, 480), (1200, 1600), (896, 1152), (800, 600))  # px: of the web, of generators, of telephones made smaller
A_FOLDER = 500
MOST_S, OPEN_S = 90.0, 2.0  # what is promised on two cores


def made(folder: Path, count: int) -> int:
    """Bytes of the JPEGs in a folder.  A comment in each makes its bytes its own; the picture behind it is one of a few, as encoding all would take minutes."""
    encoded = []
    for seed, size in enumerate(SIZES):
        stream = io.BytesIO()
        photo(seed, size).save(stream, "JPEG", quality=90)
        encoded.append(stream.getvalue())
    total = 0
    for number in range(count):
        place = folder / f"part {number // A_FOLDER:02}"
        place.mkdir(parents=True, exist_ok=True)
        data, comment = encoded[number % len(SIZES)], f"{number:08}".encode()
        data = data[:2] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment + data[2:]
        (place / f"IMG_{number:05}.jpg").write_bytes(data)
        (place / f"IMG_{number:05}.txt").write_text(f"a scene, number {number}, in the light of the morning", encoding="utf-8")
        total += len(data)
    return total


def computed_s() -> float:
    """Seconds that this process and those that it has ended have computed, in their own code."""
    return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def timed(what: str, work: Callable[[], object]) -> float:
    """Seconds by the clock; prints them."""
    began, before = time.perf_counter(), computed_s()
    work()
    took_s = time.perf_counter() - began
    print(f"{what:52} {took_s:7.2f} s   computing {computed_s() - before:7.2f} s", flush=True)
    return took_s


def main(count: int) -> bool:
    """Whether what is promised was kept."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        size_bytes = made(source, count)
        print(f"{count} JPEGs, {size_bytes / 1e6 / count:.2f} MB each")
        ds = datasets.create(find_home(Path(folder) / "home").made(), "many")
        import_s = timed("import", lambda: importing.add_folder(ds, source))
        datasets.forget(ds.meta)
        open_s = timed("opening: its numbers and its first page", lambda: (ds.counts(), ds.page(0, 48)))
        timed("opening again", lambda: (ds.counts(), ds.page(0, 48)))
        again_s = timed("the same folder once more: nothing is new", lambda: importing.add_folder(ds, source))
        counts = ds.counts()
        print(f"{counts.usable} usable, {counts.captioned} with a caption; {again_s:.0f} s for the second time")
        return counts.usable == counts.captioned == count and import_s <= MOST_S and open_s <= OPEN_S


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else PICTURES) else 1)
