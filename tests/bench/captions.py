"""Ten thousand captions: how long a bulk change, its undo and an answer of the Captions page take.  Run it: python -m tests.bench.captions [pictures]"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from training.data import datasets, rewriting, tags
from training.home import find_home
from ui.tabs.captions import panel, scope
from ui.tabs.captions.tab import look_at

PICTURES = 10_000
COMMON = ["1girl", "solo", "long_hair", "blue_eyes", "smile", "o_o", "^_^", "outdoors", "sky", "school_uniform", "red_ribbon", "(simple background:1.2)"]


def made(root: Path, count: int) -> datasets.Dataset:
    """A dataset of small pictures that all differ, each with some 25 tags."""
    drawn = random.Random(1)
    ds = datasets.create(find_home(root).made(), "many")
    rare = [f"tag_{n}" for n in range(3000)]
    for number in range(count):
        Image.frombytes("RGB", (4, 4), drawn.randbytes(48)).save(ds.path / f"pic_{number:05}.png", compress_level=1)
        (ds.path / f"pic_{number:05}.txt").write_text(", ".join(["zibbo", *drawn.sample(COMMON, 6), *drawn.sample(rare, 18)]), encoding="utf-8")
    ds.check()
    return ds


def timed(what: str, work: Callable[[], object], times: int = 3) -> None:
    """Prints the quickest of some times, in seconds."""
    best_s = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best_s = min(best_s, time.perf_counter() - began)
    print(f"{what:44} {best_s:7.3f} s", flush=True)


def answer(ds: datasets.Dataset, **view) -> str:
    """What the page needs of the dataset for one answer."""
    with ds.one_look():
        look = look_at(ds, scope.FIRST_VIEW | view, "zibbo")
        return panel.card(look.told, look.tags, look.view, len(look.reach), len(look.reach), "zibbo")


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ds = made(Path(folder), count)
        datasets.forget(ds.meta)
        timed("the first answer, nothing read yet", lambda: answer(ds), 1)
        timed("an answer", lambda: answer(ds))
        timed("an answer, two tags chosen", lambda: answer(ds, tags=["smile", "sky"]))
        timed("an answer, searched", lambda: answer(ds, query="smile tag_7"))
        texts = {p.id: p.caption for p in ds.pictures(check=False)}
        timed("a preview of an expression", lambda: rewriting.preview(texts, rewriting.replacing(r"(\w+)_hair", r"\1 hair", pattern=True)))
        timed("rename a tag that all have", lambda: ds.edit_tags(lambda c: tags.rename(c, ["zibbo"], "zobbi"), "tags"), 1)
        timed("the answer after it", lambda: answer(ds), 1)
        timed("undo", ds.undo, 1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
