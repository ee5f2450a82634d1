"""What a run's events look like in words, in a curve and in a grid."""

import json
import math
import re
from datetime import datetime

import pytest

from tests.ui import story
from training import clock, outside
from training.plan import estimate
from training.runs.events import RunView, fold
from ui import curves, views
from ui.kept import kept
from ui.language import speaking
from ui.poll import SETTLE_S, Seen, Watch, advance, changes
from ui.tabs.results import gallery
from ui.tabs.results.chart import POINTS, chart, nice_ticks


def view(*steps, of=100, per_s=2.0, **more) -> RunView:
    """A view after `steps`, one every `per_s` seconds."""
    events = [{"t": 100.0, "kind": "started", "pid": 1, "attempt": 1, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"}]
    events += [
        {"t": 100 + per_s * s, "kind": "step", "step": s, "of": of, "loss": 1 / s, "lr": 1e-4, "grad": 1, "images_per_s": 1, "memory_bytes": 5}
        for s in steps
    ]
    return fold(RunView(), events + more.get("then", []))


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h"), (4800, "1 h 20 min"), (180000, "2 d 2 h")])
def test_durations_read_like_speech(seconds, text):
    assert views.duration(seconds) == text


@pytest.mark.parametrize(("size_bytes", "text"), [(0, "0 bytes"), (999, "999 bytes"), (3_271_000, "3.3 MB"), (999_600, "1.0 MB"), (12_340_000_000, "12 GB")])
def test_sizes_read_like_a_file_manager(size_bytes, text):
    assert views.size(size_bytes) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.142312, "0.1423"), (1e-5, "1e-5"), (3.4e-8, "3.4e-8"), (12.5, "12.5")])
def test_numbers_are_short(value, text):
    assert views.number(value) == text


def test_numbers_and_days_are_written_as_the_language_does():
    now = datetime(2026, 1, 31, 14, 20).timestamp()
    long_ago, soon = datetime(2025, 10, 25, 9).timestamp(), datetime(2026, 2, 2, 2, 15).timestamp()
    assert (views.when(now - 3600, now), views.when(now - 86_400, now)) == ("today 13:20", "yesterday 14:20")
    assert (views.when(now - 9 * 86_400, now), views.when(long_ago, now)) == ("22 Jan 14:20", "25 Oct 2025")
    assert views.moment(soon, now) == clock.told(soon, now) == "Mon 2 Feb 02:15"
    assert views.about(soon + 60, now) == clock.about(soon + 60, now)
    with speaking("de"):
        assert (views.number(0.142312), views.size(3_271_000), views.gb(3.27e9)) == ("0,1423", "3,3 MB", "3,3 GB")
        assert (views.when(now - 9 * 86_400, now), views.when(long_ago, now), views.moment(soon, now)) == ("22. Jan. 14:20", "25. Okt. 2025", "Mo., 2. Feb. 02:15")
    with speaking("ja"):
        assert views.when(long_ago, now) == "2025年10月25日"


@pytest.mark.parametrize("seconds", [0, 40, 85, 89, 91, 5399, 5400, 7500, 35_999, 36_000, 90_000, 172_799, 172_800, 400_000])
def test_an_estimate_s_time_is_the_engine_s_in_english(seconds):
    assert views.about_duration(seconds) == estimate.duration(seconds)


@pytest.mark.parametrize("size_bytes", [0, 999, 1000, 3_271_000, 45_600_000_000])
def test_an_exact_size_is_the_engine_s_in_english(size_bytes):
    assert views.exact_size(size_bytes) == outside.size(size_bytes)
    with speaking("de"):
        assert views.exact_size(3_271_000) == "3,27 MB"


def test_what_is_kept_is_kept_for_each_language():
    of = (RunView(),)
    assert kept("word", "run", of, None, lambda: "English") == "English"
    with speaking("de"):
        assert kept("word", "run", of, None, lambda: "Deutsch") == "Deutsch"
    assert kept("word", "run", of, None, lambda: "never asked") == "English"


def test_time_left_follows_from_the_steps_of_this_attempt():
    now = view(1, 2, 11)
    assert views.seconds_per_step(now) == pytest.approx(2.0)
    assert views.seconds_left(now) == pytest.approx(89 * 2)
    assert views.seconds_left(view(5)) == 0, "one step says nothing about the rate"
    started = {"t": 500.0, "kind": "started", "pid": 1, "attempt": 2, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"}
    assert views.seconds_left(view(1, 50, then=[started])) == 0, "nor do the steps of an earlier attempt"


def test_progress_is_the_phase_first_and_the_steps_then():
    loading = fold(RunView(), [{"t": 1, "kind": "phase", "name": "downloading the base model", "done": 5e8, "of": 2e9, "unit": "bytes"}])
    told = views.progress(loading, "running")
    assert (told.share, told.text, told.detail) == (0.25, "Downloading the base model", "500 MB of 2.0 GB")
    assert views.progress(RunView(), "running").share is None, "a length nobody knows is not zero"
    told = views.progress(view(1, 50), "running")
    assert told.share == 0.5 and told.text == "Training" and "step 50 of 100" in told.detail
    drawing = view(1, 50, then=[{"t": 300, "kind": "phase", "name": "drawing samples", "done": 1, "of": 4, "unit": "pictures"}])
    assert views.progress(drawing, "running").text == "Drawing samples, 1 of 4 pictures"


def test_how_long_it_took_is_told_from_its_first_attempt_on():
    end = {"t": 7400.0, "kind": "finished", "path": "a.safetensors", "summary": ""}
    again = {"t": 7300.0, "kind": "started", "pid": 1, "attempt": 2, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"}
    assert "in 2 h 2 min. " in views.ending(view(1, 60, then=[end]), "finished", "")[1]
    assert "in 2 h 2 min, pauses included. " in views.ending(view(1, 60, then=[again, end]), "finished", "")[1]


def test_every_end_has_its_sentence():
    kept = view(1, 60, then=[{"t": 1, "kind": "checkpoint", "step": 40, "path": "checkpoints/000040"}])
    assert views.ending(view(1, 60), "stopped", "") == ("", "Stopped at step 60 — everything is saved.")
    assert "step 40" in views.resume_says(kept) and "20 steps after it are repeated" in views.resume_says(kept)
    assert "step 0" in views.resume_says(view(1, 60))
    assert views.next_step(view(1, 60), "interrupted", "desk") == "Resume finds it again on desk."
    assert views.ending(kept, "interrupted", "") == ("ez-warn", "Training ended without a word. Everything up to step 40 is saved.")
    failed = fold(kept, [{"t": 2, "kind": "failed", "error": "E", "hint": "H", "trace": ""}])
    assert views.ending(failed, "failed", "")[1] == "E" and views.next_step(failed, "failed") == "H"
    assert views.ending(view(1), "running", "") == ("", "")


def test_the_best_checkpoint_comes_with_its_reason():
    assert views.best_checkpoint([], ()) == (0, "")
    step, why = views.best_checkpoint([20, 40], ())
    assert step == 40 and "no validation loss" in why
    step, why = views.best_checkpoint([20, 40, 60], ((19, 0.3), (40, 0.2), (60, 0.25)))
    assert step == 40 and "by heart" in why and "0.2" in why and "0.25" in why
    assert views.best_checkpoint([20, 40], ((20, 0.3), (40, 0.2)))[0] == 40


def test_a_long_run_makes_a_light_chart():
    long = RunView(of=200_000, losses=tuple((s, 1 / s, 1e-4) for s in range(1, 72_001)))
    html = chart(long)
    assert len(json.loads(re.search(r'data-points="([^"]+)"', html)[1].replace("&quot;", '"'))) == POINTS
    assert len(html) < 80_000
    assert "The loss curve begins" in chart(RunView())


def test_the_chart_stands_anything_a_loss_can_be():
    for losses in [((1, 0.0, 0.0), (2, 0.0, 0.0)), ((1, 1e9, 1.0), (2, 1e-9, 1.0)), ((5, 1.0, 1e-9), (900, 1.0, 1e-9))]:
        html = chart(RunView(losses=losses))
        assert "nan" not in html and "inf" not in html


def test_smoothing_begins_unbiased_and_follows():
    flat = curves.smoothed(tuple((s, 2.0, 0.0) for s in range(1, 50)))
    assert flat == pytest.approx([2.0] * 49)


def test_a_curve_that_grew_is_averaged_as_one_that_is_seen_whole():
    """Points are appended, the last one gives way to a newer one, every second one goes, and a resumed run takes some back."""
    points = [(n, math.sin(n) + 5, 0.0) for n in range(1, 3000)]
    seen = [points[:n] for n in range(900, 1000)] + [[*points[:1000], points[1005]], points[:1500], points[:1400], points[:2999:2], [*points[:2999:2], points[-1]]]
    for part in seen:
        fresh = tuple((*point,) for point in [list(point) for point in part])
        assert curves.smoothed(tuple(part)) == pytest.approx(curves.smoothed(fresh), rel=1e-12), len(part)


def test_ticks_are_round_numbers():
    assert nice_ticks(0, 600, 5) == [0, 200, 400, 600]
    assert nice_ticks(0.03, 0.11) == [0.04, 0.06, 0.08, 0.1]
    assert nice_ticks(1, 1) == [1]


def test_the_gallery_is_prompts_by_steps_and_escapes_what_people_typed(tmp_path):
    from training.home import Home

    run = story.run(Home(tmp_path).made(), 60)
    html = gallery.grid(run.view(), lambda path: f"/s/{path}")
    assert html.count("<tr>") == 3 and html.count('class="ez-shot"') == 8
    assert ">Start</th>" in html and ">60</th>" in html
    assert "<b>in</b>" not in html and "&lt;b&gt;in&lt;/b&gt;" in html
    assert "data-video" not in html
    clips = gallery.grid(run.view(), lambda path: f"/s/{path}", frozenset({"samples/000020_1.mp4"}))
    assert clips.count("data-video") == 1 and 'data-video="/s/samples/000020_1.mp4"' in clips
    pairs = gallery.before_after(run.view(), lambda path: f"/s/{path}")
    assert pairs.count("<figure") == 2 and "samples/000000_0.webp" in pairs and "samples/000060_0.webp" in pairs
    assert gallery.before_after(RunView(), str) == "" and "No samples yet" in gallery.grid(RunView(), str)


def test_a_prompt_that_was_tried_by_hand_has_its_own_row():
    shots = ((0, 0, "a", "samples/0.webp", 1), (10, 0, "a", "samples/1.webp", 1), (5, 1000, "tried", "samples/2.webp", 1))
    rows = gallery.rows(RunView(samples=shots))
    assert [(r.prompt, [s.step for s in r.shots]) for r in rows] == [("a", [0, 10]), ("tried", [5])]


def test_polling_reads_each_event_once_and_agrees_with_reading_all(tmp_path):
    from training.home import Home
    from training.runs import journal

    run = story.run(Home(tmp_path).made(), 20)
    seen = advance(run, Seen())
    assert seen.view == run.view() and advance(run, seen) is seen
    with open(run.events_path, "ab") as file:
        file.write(b'{"t": 5, "kind": "war')
    assert advance(run, seen) is seen, "a torn line waits"
    with open(run.events_path, "ab") as file:
        file.write(b'ning", "text": "careful"}\n')
    later = advance(run, seen)
    assert later.view.warnings == ("careful",) and later.view == run.view()
    journal.append(run.events_path, {"t": 6.0, "kind": "stopped", "step": 20})
    watch = Watch()
    assert watch.status(run)[1] == "stopped" and watch.view(run) == run.view()


def test_only_what_changed_is_sent():
    prints, values = changes({}, {"a": "1", "b": "2"})
    assert values == ["1", "2"]
    again, values = changes(prints, {"a": "1", "b": "3"})
    assert values[0] != "1" and values[1] == "3" and again != prints


def test_every_change_is_sent_once_more():
    """An older answer may reach the browser last: what it then shows is put right without another change."""
    prints, _ = changes({}, {"a": "running"}, now=0.0)
    prints, values = changes(prints, {"a": "stopped"}, now=1.0)
    assert values == ["stopped"]
    prints, values = changes(prints, {"a": "stopped"}, now=1.5)
    assert values != ["stopped"]
    prints, values = changes(prints, {"a": "stopped"}, now=1.0 + SETTLE_S)
    assert values == ["stopped"]
    again, values = changes(prints, {"a": "stopped"}, now=100.0)
    assert values != ["stopped"] and again == prints
