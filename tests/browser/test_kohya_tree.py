"""A folder made for kohya, from drop to Start: tags tidied, a crop mended, a change taken back, and a version restored."""

from __future__ import annotations

import pytest

from tests.data.scenes import drawing
from training.data import datasets

from .easel import wait
from .test_doors import drop
from .test_whole_path import set_setting


@pytest.fixture
def tree(tmp_path):
    """40 pictures in two folders that count three times and once, their tags beside them; regularisation pictures, a log and a model."""
    folder = tmp_path / "my trainset"
    for place, first, many in (("img/3_zibbo cat", 0, 24), ("img/1_zibbo cat far", 24, 16), ("reg/1_cat", 40, 4)):
        (folder / place).mkdir(parents=True)
        for n in range(first, first + many):
            drawing(n, (192, 64) if n == 0 else (96, 96)).save(folder / place / f"p{n:02}.png")
            if n < 40:
                (folder / place / f"p{n:02}.txt").write_text(f"zibbo, {'smile' if n % 2 else 'Smile'}, long_hair, tag {n}", encoding="utf-8")
    for place, name in (("log", "events.out"), ("model", "last.safetensors")):
        (folder / place).mkdir()
        (folder / place / name).write_bytes(b"x")
    return folder


@pytest.mark.slow
def test_from_drop_to_start(easel, open_page, tree):
    app = easel()
    page = open_page(app.url)
    page.wait_for_selector("#ez-try")
    drop(page, [tree], 300, 600)
    page.locator('[data-id="p39.png"]').wait_for(state="attached")
    wait(lambda: len(datasets.list_datasets(app.home)) == 2 and all(d.counts().usable in (4, 40) for d in datasets.list_datasets(app.home)), "not all pictures arrive", 60)
    ds, prior = sorted(datasets.list_datasets(app.home), key=lambda d: -d.counts().usable)
    assert (ds.title, ds.counts().captioned, prior.counts().usable, ds.prior) == ("my trainset", 40, 4, prior.name)
    assert {p.repeats for p in ds.pictures() if p.id < "p24"} == {3} and {p.repeats for p in ds.pictures() if p.id >= "p24"} == {1}

    page.locator('[data-zoom="p00.png"]').click()  # wide: its crop is moved to the left
    box = page.locator(".ez-crop").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - box["width"] / 2, y, steps=4)
    page.mouse.up()
    wait(lambda: ds.get("p00.png").focus[0] < 0.5, "the crop does not move", 30)
    page.keyboard.press("Escape")

    page.get_by_role("tab", name="Captions", exact=True).click()
    page.locator(".ez-cloud [data-act=tag]", has_text="smile").click()
    page.get_by_label("Rename to").fill("grin")
    page.get_by_role("button", name="Rename in 40 captions").click()
    wait(lambda: ds.caption("p00.png") == "zibbo, grin, long_hair, tag 0" and ds.caption("p39.png") == "zibbo, grin, long_hair, tag 39", "the tag is not renamed", 30)
    page.get_by_role("button", name="Show all again").click()
    page.locator(".ez-chosen").wait_for(state="detached")
    page.locator(".ez-cloud [data-act=tag]", has_text="long_hair").click()
    page.get_by_role("button", name="Remove in 40 captions").click()
    wait(lambda: ds.caption("p39.png") == "zibbo, grin, tag 39", "the tag is not removed", 30)
    page.get_by_role("button", name="Undo 40 captions").click()
    wait(lambda: ds.caption("p39.png") == "zibbo, grin, long_hair, tag 39", "undo does not take it back", 30)

    page.get_by_role("tab", name="Dataset", exact=True).click()
    page.get_by_role("button", name="Versions, and pictures that were removed").click()
    page.locator(".ez-version").last.get_by_role("button", name="Bring back").click()  # as it came
    wait(lambda: ds.caption("p00.png") == "zibbo, Smile, long_hair, tag 0" and ds.get("p00.png").focus == (0.5, 0.5), "the version does not come back", 30)

    page.get_by_role("tab", name="Train", exact=True).click()
    page.locator("#train-trigger").fill("zibbo")
    page.locator("#train-trigger").blur()
    page.get_by_role("radio", name="A character or thing, small").click()
    page.get_by_role("button", name="All settings").click()
    set_setting(page, "steps", 1)
    page.locator(".ez-start").click()
    page.locator(".ez-run-card").first.wait_for(timeout=300_000)
    run = app.runs("train")[0]
    used = run.config().data.datasets
    assert [(u.name, u.prior) for u in used] == [(ds.name, False), (prior.name, True)]
    wait(lambda: run.status() == "finished", "it does not come to its end", 300)
