"""One walk through every tab, filled, in both schemes: axe finds nothing, nothing overflows, no sentence speaks of settings by path."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.ui import story
from training.plan.presets import setting_paths
from training.runs import journal

from .conftest import overflow
from .easel import REPO

TABS = ("Dataset", "Captions", "Train", "Results", "Playground", "Tools", "Publish")
INSTALLED = sorted((REPO / ".easel").glob("axe-*/node_modules/axe-core/axe.min.js"))
TECHNICAL = re.compile(rf"(?<![\w/.])(?:{'|'.join(re.escape(p) for p in setting_paths() if '.' in p)})(?![\w/])|\[Errno")
LONG = "a run with a very long name that goes on and on and does not end where one would think it ends"


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core as text.  Its absence is a failure: bash launchers/test.sh --all installs it."""
    path = Path(os.environ.get("EASEL_AXE") or (INSTALLED[-1] if INSTALLED else "axe.min.js"))
    assert path.is_file(), "no axe-core: bash launchers/test.sh --all installs it, or set EASEL_AXE to its axe.min.js"
    return path.read_text(encoding="utf-8")


def faults(page, axe: str) -> list[str]:
    """What axe finds, a line each; what the page mends a moment after Gradio drew it is no fault."""
    page.evaluate(axe)
    for _ in range(10):
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        if not found:
            break
        page.wait_for_timeout(500)
    return [f"{v['id']}: {node['html'][:160]}" for v in found for node in v["nodes"]]


def filled(app) -> None:
    """Pictures, a run that finished and one that failed."""
    story.pictures(app.home, 14)
    story.run(app.home, 100, "finished", validate=True, warnings=("optimizer.warmup_steps has no effect",))
    story.run(app.home, 60, "failed", name=LONG, error="[Errno -2] Name or service not known; lower data.resolutions")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_is_clean(easel, open_page, shots, axe, scheme):
    app = easel()
    page = open_page(app.url, "desktop", scheme)
    page.locator("#ez-try").wait_for()
    assert faults(page, axe) == [], "the first screen"
    filled(app)
    page.reload()
    page.locator("#ez-pictures .ez-tile").first.wait_for()
    for name in TABS:
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_timeout(1500)
        if name == "Train":
            page.locator(".ez-all > .label-wrap").click()
            page.evaluate("document.querySelectorAll('.ez-group').forEach(g => g.open = true)")
        assert page.locator("h1:visible").count() >= 1, name
        assert faults(page, axe) == [], name
        assert not (told := TECHNICAL.search(page.locator(f"#ez-tab-{name.lower()}").inner_text())), (name, told)
        page.screenshot(path=str(shots / f"{name.lower()}-filled-{scheme}.png"))
        for width in (900, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_timeout(300)
            assert not overflow(page), (name, width)
            if name == "Captions" and width == 390:
                assert page.evaluate("document.documentElement.scrollHeight") < 4000, "14 captions are no endless page"
                assert not page.locator("#ez-captioner").is_visible(), "a phone begins with the captions"
        page.set_viewport_size({"width": 1440, "height": 900})


def test_what_a_hand_meets(easel, open_page, axe):
    """A range of tiles, an edit of what was found, a picture's checkpoint, and the browser tab's title when a run ends."""
    app = easel()
    filled(app)
    page = open_page(app.url)
    ticks = page.locator("#ez-pictures [data-pick]")
    ticks.first.wait_for(state="attached")
    ticks.nth(1).click(force=True)
    ticks.nth(5).click(force=True, modifiers=["Shift"])
    assert page.locator("#ez-pictures .ez-picks [data-count]").inner_text() == "5 selected"
    assert page.evaluate("String(getSelection())") == ""

    page.get_by_role("tab", name="Captions", exact=True).click()
    page.get_by_placeholder("Search captions and names").fill("number 13")
    page.get_by_role("button", name="Edit several captions at once").click()
    page.get_by_label("Put behind").fill(", dusk")
    page.get_by_role("button", name="Add behind in 1 caption").click()
    page.get_by_text("1 caption changed").wait_for()
    page.wait_for_timeout(400)
    toast = page.locator(".toast-body").bounding_box()
    assert toast["x"] + toast["width"] <= page.locator("#ez-tabs").bounding_box()["x"], "a message covers nothing that can be pressed"
    assert faults(page, axe) == []

    page.get_by_role("tab", name="Results", exact=True).click()
    page.locator(".ez-run-card", has_text="my-zibbo").click()
    page.locator('.ez-shot[data-step="40"]').first.click()
    assert "step-40" in page.get_by_role("link", name="Download step 40").get_attribute("href")
    assert page.locator('tr[data-checkpoint="40"].is-chosen').count() == 1
    page.keyboard.press("Escape")

    going = story.run(app.home, 40, name="my cat")
    with story.alive(going):
        page.wait_for_function("document.title === '40 % · my cat'", timeout=30_000)
        page.evaluate("Object.defineProperty(document, 'hasFocus', {value: () => false, configurable: true})")
        journal.append(going.events_path, {"t": 1.0, "kind": "failed", "error": "The disk is full.", "hint": "", "trace": ""})
    page.wait_for_function("document.title === '! my cat failed'", timeout=30_000)
    assert page.locator('link[rel~="icon"]').first.get_attribute("href").startswith("data:image/svg")
    page.evaluate("Object.defineProperty(document, 'hasFocus', {value: () => true, configurable: true}); window.dispatchEvent(new Event('focus'))")
    page.wait_for_function("document.title === 'Easel'", timeout=30_000)
