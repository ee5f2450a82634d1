"""Captions by the hundred, as a person tidies them: filter by a tag, rename it for some, preview an expression, apply it, take it back."""

from __future__ import annotations

from PIL import Image

from training.data import datasets

from .easel import wait

CAPTIONS = ["zibbo, smile, long_hair", "zibbo, Smile, o_o", "zibbo, smile, red_sky", "zibbo, frown", "a photo of zibbo, who smiles"]


def test_tags_and_expressions(easel, open_page, shots):
    app = easel()
    ds = datasets.create(app.home, "zibbo")
    for number in range(60):
        Image.new("RGB", (64, 64), (4 * number, 90, 30)).save(ds.path / f"p{number:02}.png")
        (ds.path / f"p{number:02}.txt").write_text(CAPTIONS[number] if number < len(CAPTIONS) else f"zibbo, tag {number}", encoding="utf-8")
    ds.check()
    said = lambda number: ds.caption(f"p{number:02}.png")
    page = open_page(f"{app.url}#captions")
    tiles = page.locator("#ez-caption-grid .ez-tile")
    smile = page.locator(".ez-cloud [data-act=tag]", has_text="smile")
    smile.wait_for()
    page.wait_for_timeout(2000)  # the page's first questions are answered
    for _ in range(3):  # on a busy machine a late first answer may still take the filter back
        smile.click()
        page.wait_for_timeout(4000)
        if tiles.count() == 3:
            break
    wait(lambda: tiles.count() == 3, "the tag does not filter", 30)

    tiles.nth(0).locator("[data-zoom]").click(modifiers=["Control"])
    tiles.nth(1).locator("[data-zoom]").click(modifiers=["Shift"])
    page.get_by_label("Rename to").fill("grin")
    page.get_by_role("button", name="Rename in 2 captions").click()
    page.get_by_text("2 captions changed").wait_for()
    assert [said(n) for n in range(3)] == ["zibbo, grin, long_hair", "zibbo, grin, o_o", "zibbo, smile, red_sky"]

    page.locator("#ez-caption-grid").get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Show all again").click()
    wait(lambda: tiles.count() == 48, "the filter does not go", 30)
    page.get_by_role("button", name="Edit several captions at once").click()
    page.get_by_label("Find", exact=True).fill(r"([a-z]{2,})_([a-z]{2,})")
    page.get_by_label("Replace with").fill(r"\2 \1")
    page.get_by_label("Regular expression").check()
    page.get_by_role("button", name="Preview").click()
    preview = page.locator(".ez-previewed")
    preview.get_by_text("2 captions would change.").wait_for()
    assert preview.locator("del").all_inner_texts() == ["long_hair", "red_sky"] and preview.locator("ins").all_inner_texts() == ["hair long", "sky red"]
    assert said(0) == "zibbo, grin, long_hair", "a preview changes nothing"
    page.screenshot(path=str(shots / "captions-preview.png"))
    page.get_by_role("button", name="Replace in 60 captions").click()
    page.get_by_role("button", name="Undo 2 captions (replaced)").click()
    wait(lambda: said(0) == "zibbo, grin, long_hair", "undo does not take it back", 30)

    tiles.nth(46).locator("[data-zoom]").click()  # large, by keyboard, over the end of the page
    text = page.locator(".ez-zoom textarea")
    text.fill("zibbo, typed large")
    page.keyboard.press("Control+Enter")
    wait(lambda: said(46) == "zibbo, typed large", "the large picture's caption is not saved", 30)
    page.keyboard.press("PageDown")
    wait(lambda: text.input_value() == "zibbo, tag 48", "the next page does not come", 30)
    page.keyboard.press("Escape")
    assert page.locator(".ez-zoom").count() == 0
