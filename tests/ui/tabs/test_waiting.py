"""What waits, when it begins, who is told of its end, presets of one's own, and the search for a rate: what the pages show and their buttons do."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.ui import story
from training.jobs import lr_find
from training.plan import presets
from training.runs import journal, queueing, telling, tellside
from training.runs.events import RunView
from training.runs.queueing import Wait
from training.runs.run import create
from ui import drafts, sidebar, views
from ui import telling as panel
from ui.tabs.results import acts, queue
from ui.tabs.results import tab as results
from ui.tabs.train import finder, later, ownpresets
from ui.tabs.train import tab as train

SECRET = "https://ntfy.example/a-topic-that-nobody-guesses"


def test_the_end_is_said_as_a_clock_time_and_tomorrow_with_its_day():
    at = time.mktime((2026, 11, 29, 18, 0, 10, 0, 0, -1))
    now = RunView(step=11, of=111, first_step=1, first_step_t=at - 60, step_t=at)
    assert views.done_about(now) == "18:10" and "10 min left, done about 18:10" in views.progress(now, "running").detail
    assert views.done_about(replace(now, of=6000)) == "tomorrow (Mon 30 Nov) 03:55" or views.done_about(replace(now, of=6000)).startswith("tomorrow (Mon 30 Nov)")
    assert views.done_about(replace(now, step=1)) == ""


def test_the_card_of_what_waits_says_for_what_and_its_buttons_move_hold_and_take_out(ctx):
    assert queue.html(queue.look(ctx.home, None)) == ""
    a, b = story.run(ctx.home, None, name="a & b"), story.run(ctx.home, None, name="b")
    html = lambda: queue.html(queue.look(ctx.home, None), b.id)
    assert "a &amp; b" in html() and "next: it begins when the machine is free" in html() and "When Easel is closed" in html()
    assert html().count('draggable="true"') == 2 and 'aria-label="Move b up"' in html()
    assert queue.do(ctx.home, "up", {"id": b.id}) == "'b' is number 1 of 2."
    assert queue.do(ctx.home, "down", {"id": b.id}) == "'b' is number 2 of 2."
    assert queue.do(ctx.home, "move", {"id": b.id, "value": "1"}) == "'b' is number 1 of 2." and html().index(">b<") < html().index("a &amp; b</button>")
    assert queue.do(ctx.home, "at", {"id": b.id, "value": str(int(time.time()) + 7200)}).startswith("It begins ") and "As soon as it can" in html()
    for data, says in (({"value": ""}, "choose a day and a time"), ({"value": "1000"}, "that time is past")):
        with pytest.raises(ValueError, match=says):
            queue.do(ctx.home, "at", {"id": b.id, **data})
    queue.do(ctx.home, "free", {"id": b.id})
    assert not queueing.wait_of(b)
    queue.do(ctx.home, "after", {"id": b.id, "value": a.id})
    assert "it begins after" in html() and "is paused" in queue.do(ctx.home, "pause", {}) and "The queue is paused." in html()
    queue.do(ctx.home, "go-on", {})
    queue.do(ctx.home, "out", {"id": a.id})
    assert a.status() == "stopped" and "ez-error" in html() and "which was stopped" in html(), "nothing would ever start b"
    with pytest.raises(ValueError, match="does not wait any more"):
        queue.do(ctx.home, "up", {"id": a.id})


@pytest.mark.slow
def test_a_run_that_is_held_says_why_on_its_page_and_in_the_strip(ctx):
    story.pictures(ctx.home, 3)
    run = story.run(ctx.home, None)
    queueing.pause(ctx.home, True)
    shown = dict(zip(results.PIECES, results.paint(ctx, run.id, {})[2:], strict=True))
    assert "The queue is paused." in shown["head"] and "Let it go on" in shown["queue"] and "Waiting" in shown["strip"] and "Starting" not in shown["strip"]
    results.answer(ctx, run.id, {}, {"act": "queue-go-on"})
    assert not queueing.read(ctx.home).paused


def test_start_later_is_a_time_or_another_run(ctx):
    run = story.run(ctx.home, None, name="first")
    html = later.html(later.others(ctx.home, run))
    assert html.count("<option") == 1 and 'data-later="at"' in html and 'data-later="after"' in html and "After this run" not in later.html([])
    soon = int(time.time()) + 600
    assert later.wait_of(ctx.home, {"later": "at", "value": str(soon)}) == Wait(float(soon)) and later.wait_of(ctx.home, {}) is None
    assert later.wait_of(ctx.home, {"later": "after", "value": run.id}) == Wait(0.0, run.id)
    with pytest.raises(ValueError, match="choose a day"):
        later.wait_of(ctx.home, {"later": "at", "value": ""})
    assert "data-anyway" not in html and later.html(later.others(ctx.home, run), True).count("data-collect data-anyway>") == 2, "a run that does not fit starts later too"


def test_the_panel_keeps_an_address_only_when_a_test_has_arrived_and_never_shows_it_whole(ctx, monkeypatch):
    sent = []
    monkeypatch.setattr(telling, "send", lambda address, message: sent.append(message.state))
    assert "Turn on" in panel.browser_html("/easel/now") and 'data-tell="sound"' in panel.browser_html("/easel/now")
    wrong = panel.pressed(ctx, {"act": "save", "fields": {"kind": "webhook", "url": "http://far.example/x"}})
    assert "must begin with https" in wrong and 'value="http://far.example/x"' in wrong and sent == [] and telling.load(ctx.home) is None
    kept = panel.pressed(ctx, {"act": "save", "kind": "ntfy", "fields": {"url": SECRET}})
    assert sent == ["test"] and "https://ntfy.example/…" in kept and SECRET not in kept and SECRET not in panel.html(ctx)
    tellside.folder(ctx.home).mkdir()
    (tellside.folder(ctx.home) / "x.json").write_text(json.dumps({"attempt": 1, "t": 5.0, "why": "the message was not sent to https://ntfy.example/…: it answered with 500"}))
    assert "answered with 500" in panel.html(ctx), "said in the panel, and nowhere else"
    assert "forgotten" in panel.pressed(ctx, {"act": "forget"}) and telling.load(ctx.home) is None


def test_of_several_that_end_each_is_told_and_what_a_page_asks_for_unseen_is_little(ctx):
    last, a, b = sidebar.Last(), story.run(ctx.home, 40, name="a"), story.run(ctx.home, 40, name="b")
    last.after(ctx, [a, b])
    journal.append(a.events_path, {"t": 7.0, "kind": "failed", "error": "x", "hint": "", "trace": ""})
    ended = last.after(ctx, [b])
    assert (ended.title, ended.status, ended.t) == ("a", "failed", 7.0)
    assert sidebar.attributes(None, ended) == {"ended": a.id, "ended-title": "a", "ended-as": "failed", "ended-t": "7"}


@pytest.mark.slow
def test_a_runs_settings_become_a_preset_that_stands_apart_and_is_chosen(ctx):
    dataset, run = story.pictures(ctx.home, 14), story.run(ctx.home, 100, "finished")
    assert "Save as a preset" in results.paint(ctx, run.id, {})[2:][results.PIECES.index("head")]
    results.answer(ctx, run.id, {}, {"act": "save-preset", "value": "My way"})
    (mine,) = [p for p in presets.list_presets(plugins=ctx.home.plugins) if p.own]
    shown = lambda: train.paint(ctx, dataset, train.form_of(ctx), {})[1:][train.PIECES.index("presets")]
    assert "Your own presets" in shown() and "from your run my-zibbo" in shown() and f"/easel/preset/{mine.id}/picture" in shown()
    train.changed(ctx, lambda form: form.model_copy(update={"preset": mine.id}))
    assert f'aria-checked="true" tabindex="0" data-act="preset" data-id="{mine.id}"' in shown() and "100 steps" in shown()
    ownpresets.do(ctx.home, "own-rename", {"id": mine.id, "value": "Other"})
    assert ">Other<" in shown()
    ownpresets.do(ctx.home, "own-delete", {"id": mine.id})
    assert "Your own presets" not in shown()


def test_the_search_for_a_rate_is_offered_shown_and_taken(ctx):
    story.pictures(ctx.home, 3)
    config = story.config()
    assert 'data-act="rate-find"' in finder.row(config, ctx.home)
    prodigy = finder.row(story.config(optimizer={"type": "prodigy", "learning_rate": 1.0}), ctx.home)
    assert "finds the learning rate itself" in prodigy and "data-act" not in prodigy
    assert finder.html(ctx, finder.current(ctx.home), config) == ""
    run = create(ctx.home.outputs, lr_find.of_training(config))
    drafts.change(ctx.home, finder.NOTE, finder.Search, lambda _: finder.Search(run=run.id))
    assert "as soon as the machine is free" in finder.html(ctx, finder.current(ctx.home), config)
    journal.append(run.events_path, {"t": 2.0, "kind": "finished", "path": "", "summary": ""})
    (run.path / "rates.json").write_text(json.dumps({"rate": 3e-4, "said": "take 0.0003: it <fell>", "curve": [[1e-5, 0.0], [1e-3, -0.05], [1e-1, 0.4]]}))
    shown = finder.html(ctx, run, config)
    assert "Take 0.0003" in shown and "&lt;fell&gt;" in shown and "<svg" in shown and "have changed since" not in shown
    assert "have changed since" in finder.html(ctx, run, story.config(adapter={"rank": 4}))
    assert finder.do(ctx, "rate-take") == {"optimizer.learning_rate": "0.0003"}
    (run.path / "rates.json").write_text(json.dumps({"rate": 3e-4, "said": "x", "curve": [[-1, 0.0], [0, 1e999]]}))
    assert "cannot be read" in finder.html(ctx, run, config), "a run may come from anybody"
    finder.do(ctx, "rate-close")
    assert finder.current(ctx.home) is None


def test_one_search_at_a_time_and_its_card_stays_until_it_has_ended(ctx):
    story.pictures(ctx.home, 3)
    config = story.config()
    run = create(ctx.home.outputs, lr_find.of_training(config))
    drafts.change(ctx.home, finder.NOTE, finder.Search, lambda _: finder.Search(run=run.id))
    with pytest.raises(ValueError, match="is on already; stop it first"):
        finder.start(ctx.home, config)
    assert "data-act" not in finder.row(config, ctx.home) and "stop or close it" in finder.row(config, ctx.home)
    finder.do(ctx, "rate-close")
    assert finder.current(ctx.home).id == run.id, "a page that is behind does not take away the button that stops it"
    assert "Resume" not in queue.do(ctx.home, "out", {"id": run.id}) and run.status() == "stopped"
    assert 'data-act="rate-find"' in finder.row(config, ctx.home)


def test_the_text_encoders_rate_is_taken_along_as_it_was_in_the_search(ctx):
    config = story.config(adapter={"text_encoder": True, "text_learning_rate": 5e-5}, optimizer={"learning_rate": 1e-4})
    run = create(ctx.home.outputs, lr_find.of_training(config))
    drafts.change(ctx.home, finder.NOTE, finder.Search, lambda _: finder.Search(run=run.id))
    journal.append(run.events_path, {"t": 2.0, "kind": "finished", "path": "", "summary": ""})
    (run.path / "rates.json").write_text(json.dumps({"rate": 3e-4, "said": "x", "curve": [[1e-5, 0.0], [1e-3, -0.05]]}))
    assert finder.do(ctx, "rate-take") == {"optimizer.learning_rate": "0.0003", "adapter.text_learning_rate": "0.00015"}
    taken = story.config(adapter={"text_encoder": True, "text_learning_rate": 1.5e-4}, optimizer={"learning_rate": 3e-4})
    assert "goes along: 0.00015" in (shown := finder.html(ctx, run, taken)) and "have changed since" not in shown


def test_beside_a_finished_search_the_form_is_planned_again_only_when_it_changes(ctx, monkeypatch):
    run = create(ctx.home.outputs, lr_find.of_training(story.config()))
    drafts.change(ctx.home, finder.NOTE, finder.Search, lambda _: finder.Search(run=run.id))
    plans, plan = [], train.draft.plan
    monkeypatch.setattr(train.draft, "plan", lambda *given: plans.append(given) or plan(*given))
    assert "as soon as" in train.rate_look(ctx, "zibbo", {})[1] and not plans
    journal.append(run.events_path, {"t": 2.0, "kind": "finished", "path": "", "summary": ""})
    seen, html = train.rate_look(ctx, "zibbo", {})
    assert "What the search wrote cannot be read" in html and len(plans) == 1
    seen["rate"] = replace(seen["rate"], sure=True)  # as after the second time that it was sent
    assert train.rate_look(ctx, "zibbo", seen) == (gr.skip(), gr.skip()) and len(plans) == 1
    train.changed(ctx, lambda form: form.edited("steps", "77"))
    assert train.rate_look(ctx, "zibbo", seen)[0] != gr.skip() and len(plans) == 2
    assert train.rate_look(ctx, "other", seen)[0] != gr.skip() and len(plans) == 3


def test_train_longer_takes_what_was_typed(ctx, monkeypatch):
    run = story.run(ctx.home, 20, "finished")
    asked = []
    monkeypatch.setattr(acts.longer, "begin", lambda run, steps, home, rate: asked.append((steps, rate.way, rate.share)) or SimpleNamespace(id="x"))
    for fields in ({}, {"longer.steps": "70", "longer.way": "cosine", "longer.share": "40"}):
        acts.on_run(acts.Press(ctx, run, "longer", {"value": "50", "share": "30", "fields": fields}))
    assert asked == [(50, "stretch", 0.3), (70, "cosine", 0.4)]
    with pytest.raises(ValueError, match="at what % of its highest"):
        acts.on_run(acts.Press(ctx, run, "longer", {"value": "50", "fields": {"longer.way": "constant", "longer.share": "a lot"}}))
