"""A dataset of 2,500 pictures: taken in from a folder, turned over, searched, and the app stays small."""

from __future__ import annotations

import random
import time

import psutil
import pytest
from PIL import Image

from .easel import quick

PICTURES = 2500
MAX_GROWTH_BYTES = 100_000_000


@pytest.fixture
def folder(nasty):
    """Pictures that all differ, each with a caption."""
    where = nasty / "many"
    where.mkdir()
    for number in range(PICTURES):
        Image.frombytes("RGB", (4, 4), random.Random(number).randbytes(48)).resize((256, 192)).save(where / f"pic_{number:04}.png", compress_level=1)
        (where / f"pic_{number:04}.txt").write_text(f"zibbo number {number}", encoding="utf-8")
    return where


@pytest.mark.slow
def test_thousands_of_pictures_are_no_burden(easel, open_page, folder):
    app = easel()
    page = open_page(app.url)
    page.locator("#ez-welcome input[type=file]").set_input_files([str(folder / "pic_0000.png"), str(folder / "pic_0000.txt")])
    first = page.locator("#ez-pictures .ez-tile").first
    first.wait_for()
    process = psutil.Process(app.process.pid)
    before_bytes = process.memory_info().rss

    page.get_by_text("Add a folder of this computer").click()
    page.get_by_label("Folder").fill(str(folder))
    began = time.monotonic()
    page.get_by_role("button", name="Add folder").click()
    page.locator("#ez-outcome").get_by_text("2499 pictures added").wait_for(timeout=300_000)
    print(f"{PICTURES} pictures taken in after {time.monotonic() - began:.0f} s")

    page.locator("#ez-pictures .ez-tile").nth(47).wait_for()
    for _ in range(3):
        shown = first.get_attribute("data-id")
        began = time.monotonic()
        page.get_by_role("button", name="Next page").click()
        page.wait_for_function("id => document.querySelector('#ez-pictures .ez-tile').dataset.id !== id", arg=shown)
        assert quick(time.monotonic() - began, 2.0)
    began = time.monotonic()
    page.get_by_placeholder("Search names and captions").fill("number 2477")
    page.wait_for_function("document.querySelectorAll('#ez-pictures .ez-tile').length === 1")
    assert quick(time.monotonic() - began, 2.0)
    grown_bytes = process.memory_info().rss - before_bytes
    print(f"the app grew by {grown_bytes / 1e6:.0f} MB")
    assert grown_bytes < MAX_GROWTH_BYTES
