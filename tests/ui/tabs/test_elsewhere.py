"""No card here?  What the panel below Start says of other machines, and what Start there makes."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from tests import tiny
from tests.plan.test_presets import CARD
from tests.ui import story
from training.away import state as states
from training.away.place import Machine
from training.data import datasets, importing
from training.home import REPO
from training.plan.cards import Gpu
from training.plan.hardware import machine
from training.runs import supervisor
from training.runs.run import list_runs
from ui.tabs.results import page as runpage
from ui.tabs.results import tab as results
from ui.tabs.train import elsewhere
from ui.tabs.train import tab as train
from ui.tabs.train.draft import Draft, plan


@pytest.fixture
def ctx(ctx, tmp_path):
    shutil.copytree(REPO / "docs" / "examples" / "cloud", ctx.home.plugins / "cloud")
    importing.add_folder(datasets.create(ctx.home, "zibbo"), tiny.pictures(tmp_path / "pictures", 4))
    return ctx


def press(ctx, seen: dict, **data) -> dict:
    """What this browser has seen after a button."""
    return train.answer(ctx, "zibbo", seen, data)[0]


def panel(ctx, seen: dict) -> str:
    return elsewhere.html(ctx.home, train.form_of(ctx), "zibbo", seen, machine(ctx.home.root))


@pytest.mark.slow
def test_the_panel_opens_and_says_why_a_place_is_not_ready(ctx):
    assert "No card here? Train on another machine" in panel(ctx, {}) or "Train on another machine" in panel(ctx, {})
    seen = press(ctx, {}, act="away")
    assert set(seen["away"]) == {"next_folder", "ssh"} | set(elsewhere.places(ctx.home))
    shown = panel(ctx, seen)
    assert "A machine of your own, by ssh" in shown and "not ready" in shown and "start-away" not in shown
    seen = press(ctx, seen, act="away-place", id="ssh")
    assert "Say which machine: its name" in panel(ctx, seen)
    assert "start-away" not in panel(ctx, press(ctx, seen, act="away-look", fields={"away.ssh.host": "-oProxyCommand=id"}))
    assert "give a name, an address" in panel(ctx, seen), "what is typed wrong stands beside its field"


def test_what_is_ready_stands_first_and_then_what_is_nearest(ctx):
    def order(seen):
        shown = panel(ctx, {"away_open": True, **seen})
        return re.findall(r'data-act="away-place" data-id="(\w+)"', shown), re.findall(r'aria-checked="true" tabindex="0" data-act="away-place" data-id="(\w+)"', shown)

    assert order({}) == (["ssh", "hf_jobs", "modal", "docker", "next_folder"], ["ssh"])
    ready = {"why": "", "leaves": "", "machines": [], "where": "", "asked": ""}
    assert order({"away": {"modal": ready, "next_folder": ready}}) == (["modal", "next_folder", "ssh", "hf_jobs", "docker"], ["modal"])


def test_start_there_makes_a_run_with_its_place_and_nothing_before_it_was_looked_at(ctx, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "tick", lambda home: [])  # what starts it is tested in tests/away
    seen = press(ctx, press(ctx, {}, act="away"), act="away-place", id="next_folder")
    folder = str(tmp_path / "far <b>")
    assert "Not started: look at the machine first" in press(ctx, seen, act="start-away", id="next_folder", fields={"away.next_folder.folder": folder})["away_fault"]
    seen = press(ctx, seen, act="away-look", fields={"away.next_folder.folder": folder})
    assert "far &lt;b&gt;; make it first" in panel(ctx, seen) and "<b>;" not in panel(ctx, seen)
    (tmp_path / "far <b>").mkdir()
    seen = press(ctx, seen, act="away-look")
    shown = panel(ctx, seen)
    assert "Nothing leaves this computer" in shown and 'data-act="start-away"' in shown
    assert list_runs(ctx.home.outputs) == []
    press(ctx, seen, act="start-away", id="next_folder")
    [run] = list_runs(ctx.home.outputs)
    assert run.config().place.kind == "next_folder" and run.config().place.options == {"folder": folder}
    assert "on Another folder" in results.about(run)


def test_a_base_model_that_cannot_be_had_is_told_before_anything_is_sent(ctx):
    fields = {"model.source": "owner/gated", "away.next_folder.folder": "/far"}
    seen = press(ctx, {}, act="away-place", id="next_folder", fields=fields)
    told = {"why": "", "leaves": "All of it.", "machines": [], "asked": elsewhere._key(train.form_of(ctx), "next_folder")}
    seen = press(ctx, {**seen, "away": {"next_folder": told}}, act="start-away", id="next_folder")
    assert seen["away_fault"].startswith("Not started: ") and "owner/gated" in seen["away_fault"] and list_runs(ctx.home.outputs) == []


@pytest.mark.slow
def test_price_times_time_stands_before_the_click_and_machines_that_are_too_small_are_left_out(ctx):
    machines = [Machine("l4", "NVIDIA <L4>", 24 << 30, 30 << 30, 0.8, "USD"), Machine("tiny", "A toy", 1 << 20, 1 << 20, 0.01, "USD"), Machine("h200", "NVIDIA H200", 141 << 30, 256 << 30, 5.0, "USD")]
    seen = press(ctx, press(ctx, {}, act="away"), act="away-place", id="next_folder", fields={"away.next_folder.folder": "/far"})
    told = {"why": "", "leaves": "All of it.", "machines": machines, "asked": elsewhere._key(train.form_of(ctx), "next_folder")}
    seen = {**seen, "away": {**seen["away"], "next_folder": told}}
    shown = panel(ctx, seen)
    assert "NVIDIA &lt;L4&gt;" in shown and "A toy" not in shown and "1 is too small for this run" in shown.replace("\n", "")
    assert "0.80 USD an hour × " in shown and 'aria-disabled="true" title="Choose a machine first' in shown
    assert shown.index("&lt;L4&gt;") < shown.index("H200"), "the cheapest first"
    seen = press(ctx, seen, act="away-machine", id="l4")
    shown = panel(ctx, {**seen, "away": {**seen["away"], "next_folder": told}})
    assert "Start on l4 for 0." in shown and 'aria-disabled="true"' not in shown.split("start-away")[1][:200]
    grown = press(ctx, seen, act="away-machine", id="tiny")
    shown = panel(ctx, grown)
    assert 'aria-disabled="true" title="A toy is too small for this run' in shown, "also where it was picked while it was large enough"
    assert "Start on tiny" in shown, "the machine that is picked now"
    fault = press(ctx, grown, act="start-away", id="next_folder")["away_fault"]
    assert fault.startswith("Not started: A toy is too small") and list_runs(ctx.home.outputs) == []
    press(ctx, seen, act="away-machine", id="l4")
    made, why = elsewhere.config_for(ctx.home, train.form_of(ctx), "zibbo", "next_folder", {"next_folder": told}, machine(ctx.home.root))
    assert why == "" and made.config.device == "cuda" and made.config.place.options["machine"] == "l4", "its preset is resolved for that machine"
    assert made.config.model.source == "builtin", "and it is the one that the form shows, not what would be recommended there"


def test_machines_with_several_cards_stand_there_for_a_run_that_takes_them(ctx):
    machines = [Machine(f"l4x{n}", f"{n}x L4", 24 << 30, 186 << 30, n * 0.8, "USD", (24 << 30,) * n) for n in (1, 4)]
    seen = press(ctx, press(ctx, {}, act="away"), act="away-place", id="next_folder", fields={"away.next_folder.folder": "/far"})
    told = {"next_folder": {"why": "", "leaves": "All of it.", "machines": machines, "asked": elsewhere._key(train.form_of(ctx), "next_folder")}}
    shown = panel(ctx, {**seen, "away": told})
    assert "4x L4" not in shown and "1 has more cards than this run takes: “Cards together” says how many, and 0 takes all" in shown.replace("\n", "")
    seen = press(ctx, seen, act="away-machine", id="l4x4", fields={"gpus": "0"})
    shown = panel(ctx, {**seen, "away": told})
    assert "4x L4" in shown and "4 × 24 GB VRAM" in shown and "more cards" not in shown and "3.20 USD an hour" in shown
    made, why = elsewhere.config_for(ctx.home, train.form_of(ctx), "zibbo", "next_folder", told, machine(ctx.home.root))
    assert why == "" and made.config.gpus == 0 and made.config.optimizer.accumulation >= 4, "each card has a batch of its own"


def test_several_cards_may_be_asked_for_where_nobody_knows_how_many_there_are(ctx):
    here = replace(CARD, cards=(Gpu(0, "GPU-0", CARD.gpu_name, CARD.driver, CARD.vram_bytes, CARD.vram_free_bytes),))
    edits = {"gpus": "2", "device": "cuda", "optimizer.accumulation": "2"}
    form = Draft(name="x", trigger="zibbo", preset="sd15-character", edits=edits, away={"away.next_folder.folder": "/far"})
    for machines in ([], [Machine("l4", "NVIDIA L4", 24 << 30, 30 << 30, 0.8, "USD")]):
        told = {"why": "", "leaves": "", "machines": machines, "where": "far", "asked": elsewhere._key(form, "next_folder")}
        made, why = elsewhere.config_for(ctx.home, form, "zibbo", "next_folder", {"next_folder": told}, here)
        assert why == "" and made.config and made.config.gpus == 2, made.wrong
    assert "was given 1 card" in plan(ctx.home, form, "zibbo", here).wrong["gpus"]


def test_results_say_what_is_still_elsewhere_before_a_run_is_deleted(ctx):
    run = story.run(ctx.home, 60, "stopped", step=60)
    page = results.page_of(ctx, run, "", ("", ""))
    assert not page.left_there and "still there" not in runpage.head(page, 0.0)
    states.keep(run.path, states.State("ssh", {"id": "0"}, "started"))
    page = results.page_of(ctx, run, "", ("", ""))
    assert page.left_there and "may run and cost money" in runpage.head(page, 0.0)
    states.keep(run.path, states.State("ssh", {"id": "0"}, states.ENDED))
    assert not results.page_of(ctx, run, "", ("", "")).left_there
