"""Draws the pictures of README and of these pages anew, from a real Easel that trains its example: minutes.

    python -m docs.shots                  all of them, into docs/images
    python -m docs.shots --into DIR       somewhere else, to look at first
    python -m docs.shots --home DIR       the tabs alone, of a home that has the example trained

Needs what the tests need (requirements-dev.txt) and a Chromium: EASEL_CHROMIUM, or one on the PATH.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.browser.easel import Easel, wait

IMAGES = Path(__file__).resolve().parent / "images"
WINDOW = {"width": 1440, "height": 900}
TRAINED_WITHIN_S = 1800  # two busy cores
COLOURS = 256  # of a palette: a third of the bytes, and nobody sees it


def main() -> None:
    """Every picture is there, and its size is printed."""
    parser = argparse.ArgumentParser("python -m docs.shots", description=__doc__.partition("\n")[0])
    parser.add_argument("--into", type=Path, default=IMAGES, metavar="DIR", help="folder of the pictures; default: docs/images")
    parser.add_argument("--home", type=Path, default=None, metavar="DIR", help="a home in which the example is trained; without it, it is trained first")
    args = parser.parse_args()
    args.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app = Easel(args.home or Path(folder) / "easel").start()
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_context(viewport=WINDOW, color_scheme="light").new_page()
            page.set_default_timeout(120_000)
            page.goto(app.url)
            if args.home is None:
                train(page, app, args.into)
            tabs(page, args.into)
        finally:
            browser.close()
            app.end_everything()


def chromium() -> str:
    """The browser's path.  Raises SystemExit with what to do."""
    names = (os.environ.get("EASEL_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("no Chromium: install one, or set EASEL_CHROMIUM")
    return path


def train(page: Page, app: Easel, into: Path) -> None:
    """The example's run is finished; the first screen is drawn before."""
    page.locator("#ez-try").wait_for()
    take(page, into / "first-screen.png")
    page.locator("#ez-try").click()
    page.locator(".ez-run-card").first.wait_for()
    run = app.runs("train")[0]
    wait(lambda: run.status() == "finished", "the example is not trained", TRAINED_WITHIN_S)
    page.reload()


def tabs(page: Page, into: Path) -> None:
    """A picture of each tab."""
    for name, shows in (
        ("Dataset", "#ez-pictures .ez-tile"),
        ("Captions", "#ez-captioner"),
        ("Train", ".ez-plan"),
        ("Results", ".ez-shot"),
        ("Playground", "#ez-tabs"),
        ("Tools", "#ez-tabs"),
        ("Publish", "#ez-tabs"),
    ):
        page.get_by_role("tab", name=name, exact=True).click()
        page.locator(shows).first.wait_for()
        take(page, into / f"{name.lower()}.png")


def take(page: Page, path: Path) -> None:
    """A picture of the window, once what moves has come to rest and every picture in it is there."""
    page.wait_for_function("() => [...document.images].every(i => i.complete)")
    page.wait_for_timeout(1500)  # Gradio's own transitions
    page.screenshot(path=str(path), animations="disabled")
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}  {path.stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    main()
