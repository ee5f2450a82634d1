"""The curve of the noise levels shows what the engine will draw, and follows the settings."""

from __future__ import annotations

import re

from training import registry
from training.config import LossPart
from training.plan.timelaw import Shift, expected, of_config
from ui.tabs.train import lawchart

from ..story import config


def curve(html: str, look: str) -> list[float]:
    """Heights of a line of the chart, 0 at the bottom to 1 at the top."""
    path = re.search(rf'<path class="{look}" d="([^"]+)"', html)[1]
    return [1 - float(y) / lawchart.HEIGHT for y in re.findall(r"L[\d.]+ (-?[\d.]+)", path)]


def of(**loss):
    return of_config(LossPart(**loss), None, 1), 64


def test_the_curve_is_flat_for_an_even_law_and_leans_where_the_law_does():
    even = lawchart.chart(of(), of())
    assert set(curve(even, "ez-law-line")) == {0.5} and "ez-law-usual" not in even
    assert "between 25 % and 75 % noise, the middle one at 50 %" in even
    assert "almost clean" in even and "pure noise" in even
    noisy = curve(lawchart.chart(of(timestep_law="content"), of()), "ez-law-line")
    assert noisy == sorted(noisy) and noisy[-1] > 0.9
    limited = curve(lawchart.chart(of(timestep_max=0.5), of()), "ez-law-line")
    assert set(limited[51:]) == {0} and min(limited[:50]) > 0.8


def test_another_law_than_the_presets_is_shown_beside_it():
    html = lawchart.chart(of(timestep_law="logit_normal"), of())
    assert len(set(curve(html, "ez-law-usual"))) == 1 and ">the preset</span>" in html
    middle = curve(html, "ez-law-line")
    assert middle.index(max(middle)) in range(45, 55)


def test_the_shift_is_read_from_the_base_models_own_scheduler_and_else_is_the_familys_usual_one(tmp_path):
    from dataclasses import replace

    spec = replace(registry.get("families", "sd15").SPEC, prediction="flow", shift={"shift": 3.0})
    unknown = config(model={"family": "sd15", "source": "someone/never-downloaded"})
    assert expected(unknown, spec)[0].shift == Shift(3.0)
    base = tmp_path / "base"
    (base / "scheduler").mkdir(parents=True)
    (base / "scheduler" / "scheduler_config.json").write_text('{"shift": 5.0}')
    assert expected(config(model={"family": "sd15", "source": str(base)}), spec)[0].shift == Shift(5.0)
    assert expected(config(), registry.get("families", "sd15").SPEC)[1] == (64 // 8) ** 2


def test_the_train_page_draws_it_above_the_settings_that_it_follows(home):
    from types import SimpleNamespace

    from training.data import datasets
    from training.plan.hardware import machine
    from ui.tabs.train import draft
    from ui.tabs.train import tab as train

    datasets.create(home, "cats")
    ctx = SimpleNamespace(home=home)
    form = draft.Draft()
    for law, says in (("uniform", "the middle one at 50 %"), ("content", "the middle one at 88 %")):
        form = form.edited("loss.timestep_law", law)
        made = draft.plan(home, form, "cats", machine(home.root))
        html = train._drawn(ctx, made)["loss.timestep_law"]
        assert says in html
    settings = train._pieces(ctx, form, made, [("cats", "cats")], {}, machine(home.root))["settings"]
    assert settings.index("ez-law-plot") < settings.index('data-path="loss.timestep_law"') < settings.index('data-path="loss.timestep_max"')
