"""A dataset is checked on its page, a finding filters it, a crop is dragged and put back, and a version and a removed picture come back."""

from __future__ import annotations

import pytest

from tests.data.scenes import drawing
from training.data import datasets

from .easel import wait


@pytest.mark.slow
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_dataset_is_checked_and_a_crop_is_dragged(easel, open_page, nasty, size):
    app = easel()
    ds = datasets.create(app.home, "judged")
    for n in range(11):
        drawing(n, (400, 400)).save(ds.path / f"{n}.png")
    drawing(20, (1600, 400)).save(ds.path / "wide.png")
    page = open_page(app.url, size)
    page.get_by_role("button", name="Check this dataset").click()
    page.locator("#ez-health .ez-grade").wait_for()
    page.locator('#ez-health [data-key="cut"]').click()
    page.locator(".ez-filtered").wait_for()
    assert page.locator("#ez-pictures .ez-tile").count() == 1
    page.locator('[data-zoom="wide.png"]').click()
    box = page.locator(".ez-crop").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - box["width"] / 2, y, steps=4)
    page.mouse.up()
    wait(lambda: ds.get("wide.png").focus[0] < 0.5, "the crop did not move", 20)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Undo 1 crop").click()
    wait(lambda: ds.get("wide.png").focus == (0.5, 0.5), "the crop was not put back", 20)

    page.get_by_role("button", name="Versions, and pictures that were removed").click()
    page.locator(".ez-version", has_text="1 crop moved").get_by_role("button", name="Compare").click()
    page.locator(".ez-compared").get_by_text("1 crop moved").wait_for()
    page.locator(".ez-version", has_text="1 crop moved").get_by_role("button", name="Bring back").click()
    wait(lambda: ds.get("wide.png").focus[0] < 0.5, "the version did not come back", 30)
    ds.remove(["3.png"])
    page.reload()
    page.get_by_role("button", name="Versions, and pictures that were removed").click()
    page.locator(".ez-binned [data-pick]").check(force=True)
    page.get_by_role("button", name="Put back").click()
    wait(lambda: len(ds.pictures()) == 12, "the picture did not come back", 30)

    page.locator('[data-id="3.png"]').wait_for(state="attached")
    page.locator('[data-zoom="wide.png"]').click()
    page.locator(".ez-zoom-tools").get_by_role("button", name="Turn right").click()
    wait(lambda: ds.get("wide.png").treatment.turns == 1, "the picture was not turned", 20)
    page.locator('[data-zoom="wide.png"][data-turned="1"]').wait_for()

    def turned():
        shown, part = (page.locator(f".ez-zoom {where}").bounding_box() for where in (".ez-shown", ".ez-crop > i"))
        return shown["height"] > 2 * shown["width"] and part["y"] < shown["y"] + 2  # what lay at the left lies above now, and so does the crop

    wait(turned, "the crop did not turn with its picture", 20)
    page.locator(".ez-zoom-tools").get_by_role("button", name="Leave out").click()
    wait(lambda: ds.counts().out == 1, "the picture was not left out", 20)
    page.keyboard.press("Escape")
    for undo in ("left out", "turned"):
        page.get_by_role("button", name=f"Undo 1 picture {undo}").click()
    wait(lambda: ds.counts().usable == 12 and not ds.get("wide.png").treatment.view, "the picture is not as before", 20)
