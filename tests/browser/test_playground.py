"""The Playground in a real browser, with the built-in base model: drawn, drawn again, compared, closed; a training takes the machine."""

from __future__ import annotations

import time

from tests import tiny
from training import jobfile, registry
from training.runs import supervisor
from training.runs.run import create, list_runs

from .conftest import overflow
from .easel import BASE, wait
from .test_every_tab import axe, faults  # noqa: F401 a fixture


def draw(page, wait_s: float = 240) -> float:
    """Seconds from the click until the picture is there."""
    begun = time.monotonic()
    page.locator(".ez-play-draw").click()
    page.locator(".ez-play-now").wait_for(timeout=60_000)
    page.locator(".ez-play-now").wait_for(state="detached", timeout=1000 * wait_s)
    return time.monotonic() - begun


def trained(home):
    """A short real training on the built-in base."""
    pictures = tiny.pictures(home.root / "pictures", 4)
    job = tiny.train_job(BASE, pictures, name="kätzchen", steps=4, data__resolutions=[64], data__batch_size=1)
    run = create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, job))
    supervisor.start(run, home)
    wait(lambda: run.status() == "finished", "the training does not end", 300)
    return run


def test_play(easel, open_page, shots, axe):  # noqa: F811
    app = easel()
    trained(app.home)
    page = open_page(f"{app.url}#playground")
    page.locator("#ez-play-prompt").fill("a red circle on a blue background")
    print(f"the first picture after {draw(page):.1f} s")
    assert page.locator("#ez-play .ez-play-row img").count() == 1
    print(f"the second after {draw(page):.1f} s")
    for mode, pictures in (("Strengths", 5), ("Checkpoints", 3)):
        page.get_by_role("radio", name=mode).click()
        draw(page)
        assert page.locator("#ez-play .ez-play-row").first.locator("img").count() == pictures, mode
    page.get_by_role("radio", name="Before and after").click()
    draw(page)
    edge = page.locator("#ez-play .ez-pair-view")
    edge.locator("input").fill("20")
    assert edge.evaluate("e => e.style.getPropertyValue('--at')") == "20%"
    page.get_by_role("radio", name="Vote").click()
    draw(page)
    assert "step" not in page.locator("#ez-play .ez-play-row").first.inner_text()
    page.get_by_role("button", name="A is better").click()
    page.get_by_text("Ranking").wait_for(timeout=30_000)
    assert faults(page, axe) == []
    for width in (900, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(300)
        assert not overflow(page), width
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator("[data-act=again]").last.click()
    page.wait_for_function("document.querySelector('#ez-play [aria-checked=true]').innerText === 'One picture'", timeout=30_000)
    page.reload()
    page.locator("#ez-play-prompt").wait_for()
    assert page.locator("#ez-play-prompt").input_value() == "a red circle on a blue background"
    (studio,) = list_runs(app.home.outputs, {"play"})
    late = create(app.home.outputs, jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(BASE, app.home.root / "pictures", name="late", steps=3, data__resolutions=[64])))
    wait(lambda: late.status() in ("running", "finished"), "the training does not get the machine", 120)
    assert studio.status() == "stopped"
