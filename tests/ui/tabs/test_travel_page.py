"""A run goes out of one page and into another; a failed one says its number, and what to do is one press away."""

import html
import json
import re

import numpy as np
import pytest
from safetensors.numpy import save
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.ui import story
from tests.ui.tabs.test_pages import buttons, shown
from training import jobfile
from training.config import config_hash
from training.data import datasets
from training.home import Home
from training.plan.fromrun import drawing_like
from training.runs import origin, packing, room
from training.runs.run import Run, delete, list_runs
from ui import reporting, shell
from ui.server import media
from ui.tabs.results import tab as results
from ui.tabs.results import travel
from ui.tabs.train import tab as train


def client(ctx):
    app = Starlette(routes=media.routes(ctx.home))
    app.auth = app.auth_dependency = None
    return TestClient(app)


def test_a_run_is_taken_from_one_page_and_brought_to_another(ctx, tmp_path, state):
    story.pictures(ctx.home)
    run = story.run(ctx.home, 60, "stopped", validate=True)
    for step, folder in run.checkpoints():
        (folder / "adapter.safetensors").write_bytes(save({"a": np.zeros(3, np.float32)}))
        (folder / "MANIFEST.json").write_text(json.dumps({"step": step, "config_hash": config_hash(run.config())}))
    head = shown(ctx, run.id)["head"]
    links = [html.unescape(url) for url in re.findall(r'href="(/easel/run/[^"]+)"', head)]
    assert [link.rsplit("/")[-1] for link in links] == ["run", "run-pictures"], "the built-in base comes with every Easel"
    answer = client(ctx).get(links[1])
    assert answer.status_code == 200 and f"{run.id}.zip" in answer.headers["content-disposition"] and client(ctx).get("/easel/run/x/run").status_code == 404
    assert client(ctx).get(links[1].replace("run-pictures", "everything")).status_code == 404
    (tmp_path / "gift.zip").write_bytes(answer.content)

    there = shell.UiContext(Home(tmp_path / "there").made(), True, False, "", (), state, state, state, state, state)
    said, chosen = travel.bring(there, tmp_path / "gift.zip", "")
    assert chosen == run.id and "is here as" in said and "With it came the dataset" in said
    page = shown(there, chosen)
    assert page["samples"].count('class="ez-shot"') == 8 and "<svg" in page["chart"] and "Step 60" in page["checkpoints"] and "rank: 16" in page["details"]
    assert buttons(page["head"])["resume"] and "was not made here" in page["head"] and "it needs what is not" not in page["head"]
    assert drawing_like(Run.open(there.home.outputs, chosen))["model"]["source"] == "builtin", "the Playground draws with it"
    results.answer(there, chosen, {}, {"act": "duplicate"})
    assert train.form_of(there).name == "my-zibbo"
    assert "There is no" in travel.bring(there, tmp_path / "none.zip", "x")[0] and travel.bring(there, tmp_path / "none.zip", "x")[1] == "x"


def test_what_a_brought_run_lacks_is_asked_for_and_named(ctx, tmp_path):
    run = story.run(ctx.home, 40, "stopped")
    packing.write(packing.parcel(run, ctx.home), tmp_path / "x.zip")
    delete(run)
    datasets.create(ctx.home, "other")
    said, chosen = travel.bring(ctx, tmp_path / "x.zip", "")
    assert "needs dataset" in said
    head = shown(ctx, chosen)["head"]
    assert "Dataset zibbo" in head and buttons(head)["stands"] and "ez-lack-0" in head
    refused = results.answer(ctx, chosen, {}, {"act": "resume"})[0]["notice"]
    assert refused[0] == "ez-bad" and "It needs dataset" in refused[1].replace("it needs", "It needs")
    assert "Say first what stands" in results.answer(ctx, chosen, {}, {"act": "stands", "name": "zibbo", "value": ""})[0]["notice"][1]
    assert "no dataset called" in results.answer(ctx, chosen, {}, {"act": "stands", "name": "zibbo", "value": "nowhere"})[0]["notice"][1]
    assert results.answer(ctx, chosen, {}, {"act": "stands", "name": "zibbo", "value": "other"})[0]["notice"][0] == "ez-ok"
    assert "ez-lacks" not in shown(ctx, chosen)["head"] and list_runs(ctx.home.outputs)[0].job()["data"]["datasets"][0]["name"] == "other"


def test_a_failed_run_says_its_number_and_what_to_do_is_a_press_away(ctx):
    large = story.run(ctx.home, 40, "failed", error="The graphics card ran out of memory.", hint="Duplicate the run.")
    head = shown(ctx, large.id)["head"]
    assert "E-101" in head and buttons(head)["fit"] and f'data-report="{large.id}"' in head and "quantises or lowers" in head
    answered = results.answer(ctx, large.id, {}, {"act": "fit"})
    assert train.form_of(ctx).name == "my-zibbo" and answered[0]["notice"][0] == "ez-ok", answered[0]["notice"]
    assert train.form_of(ctx).edits, "it ran out where it was reckoned to fit, so something has to become smaller"
    full = story.run(ctx.home, 40, "failed")
    assert "E-201" in shown(ctx, full.id)["head"] and buttons(shown(ctx, full.id)["head"])["room"]
    (ctx.home.cache / "aa").mkdir(parents=True)
    (ctx.home.cache / "aa" / "x").write_bytes(b"x" * 3000)
    opened = results.answer(ctx, full.id, {}, {"act": "room"})
    assert "Empty the cache (3 kB)" in str(opened) and room.look(ctx.home).cache_bytes == 3000
    assert "3 kB are free again" in results.answer(ctx, full.id, {}, {"act": "empty-cache"})[0]["notice"][1] and not any(ctx.home.cache.iterdir())
    with story.alive(story.run(ctx.home, 20)), pytest.raises(ValueError, match="reads the cache"):
        room.empty_cache(ctx.home)


def test_what_failed_on_another_machine_has_no_button_that_acts_on_this_one(ctx):
    for error, act in (("The graphics card ran out of memory.", "fit"), ("The disk is full.", "room"), ("a setting is not valid: x", "duplicate")):
        run = story.run(ctx.home, 40, "failed", error=error, hint="")
        there = [buttons(shown(ctx, run.id)["head"]).get(act)]
        (run.path / "job.yaml").write_text(jobfile.dump_yaml(jobfile.parse(type(run.config()), {**run.job(), "place": {"kind": "ssh", "options": {"host": "desk"}}})), encoding="utf-8")
        origin.adopt(run.path)
        assert run.title in shown(ctx, run.id)["head"] and "on desk" in shown(ctx, run.id)["head"]
        there.append(buttons(shown(ctx, run.id)["head"].partition("ez-fault-acts")[2].partition("data-report")[0]).get(act))
        assert there[0] and bool(there[1]) == (act == "duplicate"), (act, there)


def test_what_is_saved_of_a_report_is_to_the_letter_what_was_shown(ctx):
    run = story.run(ctx.home, 40, "failed", name="secret-name")
    state, panel = reporting.pressed(ctx, {}, {"act": "open", "run": run.id})
    text = html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", panel, re.DOTALL)[1])
    assert "secret-name" not in panel.replace(f'data-run="{run.id}"', "") and "E-201" in text
    url = re.search(r'href="(/easel/report/[^"]+)"', panel)[1]
    assert client(ctx).get(url).text == text and client(ctx).get("/easel/report/x").status_code == 404
    state, panel = reporting.pressed(ctx, state, {"act": "tick", "field": "names", "value": "on"})
    assert "secret-name" in panel and re.search(r'data-path="names"[^>]* checked', panel)
    state, panel = reporting.pressed(ctx, state, {"act": "tick", "field": "pictures", "value": "on"})
    zipped = client(ctx).get(re.search(r'href="(/easel/report/[^"]+)"', panel)[1])
    assert "Save as ZIP" in panel and zipped.headers["content-type"] == "application/zip"
    assert reporting.pressed(ctx, state, {"act": "close"}) == ({}, reporting.CLOSED)
    assert "== The run ==" not in reporting.pressed(ctx, {}, {"act": "open", "run": ""})[1]
    assert "there is no run" in reporting.pressed(ctx, {}, {"act": "open", "run": "../x"})[1].lower()
