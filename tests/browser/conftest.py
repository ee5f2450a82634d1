"""A real Chromium, and pages that remember what went wrong in them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .easel import BASE, Easel

SIZES = {"desktop": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium():
    """The browser.  Playwright's own is never downloaded: EASEL_CHROMIUM, or the one on the PATH."""
    names = (os.environ.get("EASEL_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    if path is None:
        raise RuntimeError("no Chromium: bash launchers/test.sh --all installs it, or set EASEL_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def shots(tmp_path) -> Path:
    """Where screenshots go: EASEL_SHOTS where it is set, so that a person can look at them afterwards."""
    folder = Path(os.environ.get("EASEL_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def easel(nasty):
    """A maker of apps: easel(HF_ENDPOINT=…) is one on this test's own home, closed at the end."""
    made: list[Easel] = []

    def make(**environment: str) -> Easel:
        made.append(Easel(nasty / "home", **environment).start())
        return made[-1]

    yield make
    for app in made:
        app.end_everything()


@pytest.fixture
def open_page(chromium, shots) -> Callable:
    """A maker of pages; at the end none of them may have had an error.  The last look of each is kept as a picture."""
    contexts, faults = [], []

    def make(url: str, size: str = "desktop", scheme: str = "light", language: str = "en-US"):
        context = chromium.new_context(viewport=SIZES[size], color_scheme=scheme, has_touch=size == "phone", accept_downloads=True, locale=language)
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("console", lambda message: message.type == "error" and not _harmless(message) and faults.append(f"console: {message.text}"))
        page.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status} {r.request.method} {r.url}"))
        page.goto(url)
        page.wait_for_selector("#ez-tabs")
        return page

    yield make
    seen = list(faults)  # what closing a page cuts off is no fault of it
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=str(shots / f"end-{number}.png"), full_page=True)
        context.close()
    assert not seen, "\n".join(dict.fromkeys(seen))


def _harmless(message) -> bool:
    # requests that a refresh or the end of the page cut off: Gradio ends its stream before a page unloads, and browsers word that differently
    cut_off = r"net::ERR_(ABORTED|NETWORK_CHANGED|CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING)|(signal is|BodyStreamBuffer was) aborted|Connection errored out"
    return bool(re.search(cut_off, message.text))


@pytest.fixture(scope="session")
def base() -> Path:
    """The built-in base model."""
    assert (BASE / "model_index.json").is_file(), "presets/builtin/base belongs to the repository; get it again, whole"
    return BASE


def overflow(page) -> list[str]:
    """The elements that make the page wider than the window; empty where none does."""
    return page.evaluate(
        """() => {
            const wide = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= wide) return [];
            return [...document.querySelectorAll("body *")].filter(e => {
                const box = e.getBoundingClientRect();
                return box.width && box.right > wide + 1;
            }).slice(0, 5).map(e => `${e.tagName}.${e.className}`);
        }"""
    )
