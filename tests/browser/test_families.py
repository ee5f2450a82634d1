"""Three base models of different families, chosen by hand on the Train tab and trained as toys: what the specs say is all that the page needs."""

from __future__ import annotations

import importlib

import pytest

from tests import tiny
from training import registry
from training.runs.run import list_runs

from .easel import wait
from .test_whole_path import set_setting, tab

CHOSEN = ("sdxl", "flux1", "lumina2")
STEPS = 3
RUN_S = 600


@pytest.fixture
def models(nasty):
    """{family: folder of a toy of it}."""
    return {id: importlib.import_module(f"tests.families.{id}").build(nasty / f"toy {id}") for id in CHOSEN}


def test_three_families_are_started_from_the_page(easel, open_page, models, nasty, shots):
    app = easel()
    page = open_page(app.url)
    page.locator("#ez-welcome input[type=file]").set_input_files([str(p) for p in sorted(tiny.pictures(nasty / "pictures", 4).iterdir())])
    page.locator("#ez-pictures .ez-tile").nth(3).wait_for()
    for id in CHOSEN:
        toy = importlib.import_module(f"tests.families.{id}")
        tab(page, "Train")
        chip = f".ez-base[data-id='{id}:{registry.get('families', id).SPEC.default_source}']"
        page.locator(chip).click()
        page.locator(f"{chip}[aria-checked=true]").wait_for()
        page.locator(f".ez-preset[data-id^='{id}-'][aria-checked=true]").wait_for()
        assert all(p.startswith(id) for p in page.locator(".ez-preset").evaluate_all("all => all.map(e => e.dataset.id)"))
        page.screenshot(path=str(shots / f"train-{id}.png"), full_page=True)
        page.locator("#train-name").fill(f"toy {id}")
        page.locator("#train-name").blur()
        if not page.locator("details.ez-group").first.is_visible():
            page.get_by_role("button", name="All settings").click()
        for path, value in {
            "model.source": models[id], "data.resolutions": toy.SIDE, "data.batch_size": 1, "steps": STEPS,
            "sample.width": toy.SIDE, "sample.height": toy.SIDE, "sample.steps": 2, "sample.every": STEPS, "data.held_out": 0,
        }.items():  # fmt: skip
            set_setting(page, path, value)
        page.locator(".ez-start").click()
        wait(lambda id=id: any(run.title == f"toy {id}" for run in list_runs(app.home.outputs, {"train"})), f"{id} does not start: {page.locator('.ez-plan').inner_text()}", 60)
        run = next(run for run in list_runs(app.home.outputs, {"train"}) if run.title == f"toy {id}")
        wait(lambda run=run: run.status() in ("finished", "failed"), f"{id} does not end", RUN_S)
        assert run.status() == "finished", run.why()
        assert run.config().model.family == id and run.result() is not None
        page.locator(".ez-shot").first.wait_for()
        page.screenshot(path=str(shots / f"results-{id}.png"), full_page=True)
        page.get_by_role("tab", name="Train", exact=True).click()
        page.locator("[data-act=reset-all]").first.click()
