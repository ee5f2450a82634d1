"""One click on the first screen, and how every tab looks at both sizes, in both schemes."""

from __future__ import annotations

import time

import pytest

from training.data.examples import install_example

from .conftest import overflow
from .easel import Easel, quick, wait


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An app with nothing in its home; the tests that share it only look."""
    app = Easel(tmp_path_factory.mktemp("empty") / "home").start()
    yield app
    app.end_everything()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """One with the example's pictures; so with this one."""
    app = Easel(tmp_path_factory.mktemp("filled") / "home")
    install_example(app.home)
    yield app.start()
    app.end_everything()


TABS = ("Dataset", "Captions", "Train", "Results", "Playground", "Tools", "Publish")


def test_one_click_trains_the_example(base, easel, open_page, shots):
    app = easel()
    page = open_page(app.url)
    page.screenshot(path=str(shots / "welcome.png"))
    began = time.monotonic()
    page.locator("#ez-try").click()
    page.locator(".ez-run-card").first.wait_for(timeout=300_000)
    assert quick(time.monotonic() - began)
    run = app.runs("train")[0]
    wait(lambda: run.view().step > 0, "no step is done", 300)
    page.locator(".ez-shot").first.wait_for()

    # closing the app ends no training, and the next app shows it
    app.close()
    page.context.close()
    step = run.view().step
    again = easel()
    wait(lambda: run.view().step > step, "the training did not go on without the app", 120)
    other = open_page(again.url)
    other.get_by_role("tab", name="Results", exact=True).click()
    other.locator(".ez-run-card").first.wait_for()
    other.locator(".ez-shot").first.wait_for()


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "dark"), ("phone", "light")])  # every width in both schemes: test_every_tab.py
def test_every_tab_fits_and_is_without_errors(empty, filled, open_page, shots, size, scheme):
    page = open_page(empty.url, size, scheme)
    page.locator("#ez-try").wait_for()
    assert not overflow(page)
    page.screenshot(path=str(shots / f"welcome-{size}-{scheme}.png"))
    page = open_page(filled.url, size, scheme)
    page.locator("#ez-pictures .ez-tile").first.wait_for()
    picker, new = (page.locator(where).bounding_box() for where in ("#ez-picker", "#ez-work button:text-is('New')"))
    assert abs(picker["y"] - new["y"]) < 8 and new["width"] < 100, "the choice of a dataset and New stand side by side"
    for name in TABS:
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_timeout(700)
        assert not overflow(page), name
        page.screenshot(path=str(shots / f"{name.lower()}-{size}-{scheme}.png"))


def test_the_address_names_the_tab(filled, open_page):
    """A refresh, Back and a bookmark show the tab that was meant."""
    page = open_page(f"{filled.url}#captions")
    page.locator("#ez-captioner").wait_for()
    page.get_by_role("tab", name="Train", exact=True).click()
    page.locator(".ez-start").wait_for()
    assert page.url.endswith("#train")
    page.reload()
    page.locator(".ez-start").wait_for()
    page.go_back()
    page.locator("#ez-captioner").wait_for()


@pytest.mark.parametrize("chosen", ["", "dark"])
def test_the_page_is_never_empty_while_it_loads(empty, open_page, shots, chosen):
    """A slow line: before any script has come, the first picture is there in the colours that were chosen; afterwards it is out of the way."""
    page = open_page(empty.url)
    page.evaluate("theme => theme && localStorage.setItem('easel-theme', theme)", chosen)
    page.route("**/assets/index-*.js", lambda route: (time.sleep(1), route.continue_()))
    page.reload(wait_until="commit")
    first = page.locator("#ez-first")
    first.get_by_text("Easel").wait_for()
    assert page.locator("#ez-tabs").count() == 0
    page.screenshot(path=str(shots / f"first{chosen}.png"))
    ground = first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground == ("rgb(19, 18, 20)" if chosen else "rgb(246, 244, 240)")
    page.locator("#ez-try").wait_for()
    first.wait_for(state="hidden")
    page.locator("#ez-try").click(trial=True)


def test_the_keyboard_reaches_start(empty, open_page):
    """Tab alone gets from the top of the page to the one-click button, and the focus can be seen there."""
    page = open_page(empty.url)
    page.locator("#ez-try").wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement?.id === 'ez-try' || !!document.activeElement?.closest('#ez-try')"):
            break
    else:
        raise AssertionError("40 times Tab does not reach 'Try it now'")
    outline = page.evaluate("(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.boxShadow })()")
    assert outline != "nonenone"
