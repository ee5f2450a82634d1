"""Results: stars, notes, hidden prompts, looking for runs, runs beside each other, what can be taken away."""

from __future__ import annotations

import io
import re
import time

import gradio as gr
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.ui import story
from training.home import Home
from training.plan import unseen
from training.runs import journal, notes
from training.runs.events import RunView, fold
from training.runs.run import Run, delete
from ui import kept
from ui.api.endpoints import Api
from ui.language import speaking
from ui.server import media
from ui.shell import UiContext
from ui.tabs.results import comparing, gallery, looking, overlay
from ui.tabs.results import tab as results
from ui.theme import ASSETS


@pytest.fixture
def ctx(tmp_path):
    home = Home(tmp_path / "hömé").made()
    state = gr.BrowserState("")
    return UiContext(home, True, False, "", (), state, state, gr.Textbox(), gr.Tabs(render=False), gr.Timer(1, render=False))


def shown(ctx, run: Run, **view) -> dict[str, str]:
    return dict(zip(results.PIECES, results.paint(ctx, run.id, {}, looking.View(**view))[2:], strict=True))


def press(ctx, chosen: Run, act: str, /, **data) -> str:
    """The notice that it gives."""
    return str(results.answer(ctx, chosen.id, {}, {"act": act, **data})[0].get("notice", ("", ""))[1])


def test_stars_are_on_the_picture_that_was_rated_and_count_for_its_step(ctx):
    run, other = story.run(ctx.home, 60, "finished"), story.run(ctx.home, 40, "finished", name="other")
    press(ctx, run, "rate", shot="samples/000020_0.webp", value="4")
    press(ctx, run, "rate", shot="samples/000040_1.webp", value="2", run=other.id)  # pressed in the comparison
    press(ctx, run, "star", shot="samples/000020_0.webp", value="on")
    page = shown(ctx, run)["samples"]
    cell = re.search(r'<button[^>]*data-shot="samples/000020_0.webp".*?</button>', page)[0]
    assert 'data-stars="4" data-star="on"' in cell and "starred, rated 4 of 5" in cell and "★ 4" in cell
    assert page.count("ez-shot-mark") == 1 and "4.0" in page and "1 picture rated" in page and notes.of(other).rated == {"samples/000040_1.webp": 2}
    with speaking("de"):
        assert ">4,0</td>" in gallery.grid(run.view(), str, wall=gallery.Wall(notes=notes.of(run)))
    only = shown(ctx, run, starred=True)["samples"]
    assert only.count('class="ez-shot"') == 1 and "No picture is starred yet" in shown(ctx, other, starred=True)["samples"]
    assert "is not a picture of this run" in press(ctx, run, "rate", shot="../x", value="1") and "1 to 5" in press(ctx, run, "rate", shot="samples/000020_0.webp", value="six")


def test_a_hidden_prompt_is_gone_from_sight_and_comes_back(ctx):
    run = story.run(ctx.home, 40, "finished")
    assert "its pictures stay" in press(ctx, run, "hide", index="1", name=story.PROMPTS[1], value="on")
    page = shown(ctx, run)
    assert "snow" not in page["samples"] + page["pairs"] and "1 prompt hidden" in page["samples"] and run.samples("*_1.webp")
    assert "snow" in (all_ := shown(ctx, run, everything=True)["samples"]) and "Show again" in all_
    press(ctx, run, "hide", index="1", name=story.PROMPTS[1], value="off")
    assert "snow" in shown(ctx, run)["samples"] and "that prompt is gone" in press(ctx, run, "hide", index="7", name="no", value="on").lower()


def test_runs_are_looked_for_by_what_is_typed_and_by_their_tags(ctx):
    runs = [story.run(ctx.home, 20, "finished", name=name) for name in ("a cat", "a dog", "cow", "cat again")]
    press(ctx, runs[0], "tags", value="old, in the  house")
    press(ctx, runs[1], "note", value="for <i>Ann")
    found = shown(ctx, runs[0], find="cat")
    assert found["strip"].count("ez-run-card") == 2 and "2 of 4 runs" in found["find"] and 'value="tag:' not in found["find"] and "#in the house" in found["find"]
    assert shown(ctx, runs[0], find='tag:"in the house"')["strip"].count("ez-run-card") == 1
    assert not re.search(r'<input[^>]* value=', found["find"] + found["noted"]), "the page would write an older answer into a field that is typed in"
    none = shown(ctx, runs[0], find="zebra")
    assert "No run is like that" in none["strip"] and "a cat" in none["head"]
    assert "is no date" in shown(ctx, runs[0], find="after:soon")["find"]
    page = shown(ctx, runs[1])
    assert "for &lt;i&gt;Ann" in page["noted"] and "<i>Ann" not in "".join(page.values())
    assert looking.after(looking.USUAL, "find-tag", "in the house").find == 'tag:"in the house"' and looking.after(looking.USUAL, "choose", "x") is looking.USUAL
    press(ctx, runs[0], "note", value="x" * 10_001)
    assert notes.of(runs[0]).text == ""


def test_prompts_can_be_changed_where_a_training_runs_and_nowhere_else(ctx):
    run = story.run(ctx.home, 60)
    assert shown(ctx, run)["prompts"] == "" and "is not running" in press(ctx, run, "prompts", value="a cow")
    with story.alive(run):
        assert "at step 80" in (page := shown(ctx, run)["prompts"]) and "zibbo &lt;b&gt;in" in page
        assert press(ctx, run, "prompts", value="a cow\n\n a  cat ") == "The training takes them from its next step on."
        assert "at least one" in press(ctx, run, "prompts", value=" \n").lower()
        told = [r for r in journal.read(run.control_path)[0] if r["kind"] == "prompts"]
        assert [r["lines"] for r in told] == [["a cow", "a cat"]]
        journal.append(run.events_path, {"t": time.time(), "kind": "prompts", "step": 61, "rows": [[2, "a cow"], [3, "a cat"]]})
        assert "a cow\na cat</textarea>" in shown(ctx, run)["prompts"]
        api = Api(ctx)
        assert api.prompts(run.id)["prompts"] == [{"prompt": "a cow", "from_step": 61}, {"prompt": "a cat", "from_step": 61}]
        assert "next step" in api.prompts(run.id, ["a cow"])["said"]


def test_two_runs_beside_each_other_show_pictures_curves_and_settings_that_differ(ctx):
    one, other = story.run(ctx.home, 60, "finished"), story.run(ctx.home, 40, "finished", name="other")
    text = (other.path / "job.yaml").read_text(encoding="utf-8")
    (other.path / "job.yaml").write_text(text.replace("resolutions:\n  - 64", "resolutions:\n  - 96").replace("name: other", "name: <u>other"), encoding="utf-8")
    assert text != (other.path / "job.yaml").read_text(encoding="utf-8")
    assert "ez-overlay" not in shown(ctx, one)["compare"]
    page = shown(ctx, one, beside=(other.id, one.id, "gone"))["compare"]
    assert "data.resolutions" not in page and "Resolution" in page and "<td>64</td><td>96</td>" in page and "<u>other" not in page
    rows = re.findall(r'data-prompt="([AB]) · [^"]*: a photo of zibbo"', page)
    assert rows == ["A"] * 4 + ["B"] * 3 and 'data-run="' + other.id in page
    assert page.count('class="ez-over-0"') == page.count('class="ez-over-1"') == 1
    alone = comparing.settings([comparing.of(one, one.view(), str)] * 2)
    assert "All settings are the same" in alone
    assert comparing.told("data.datasets", [{"name": "a", "repeats": 2, "trigger": ""}, {"name": "b"}]) == "a, Repeats 2; b" and comparing.told("seed", 1234) == "1234"


def test_the_label_of_a_prompt_that_no_picture_shows_is_seen():
    prompt = unseen.prompt_for("object", False, ()).replace("[trigger]", "zibbo")
    page = gallery.grid(fold(RunView(), [{"t": 1.0, "kind": "sample", "step": 0, "index": 0, "prompt": prompt, "path": "samples/0.webp", "seed": 1}]), str)
    (look,) = re.findall(r'<span class="ez-chip ([\w-]+)"[^>]*>not in your pictures', page)
    hidden = re.findall(r"\.([\w-]+) \{[^}]*clip-path: inset\(50%\)", (ASSETS / "workbench.css").read_text(encoding="utf-8"))
    assert hidden and look not in hidden


def test_what_is_gone_takes_no_place_beside_a_run():
    full = looking.View(beside=("a", "b", "gone", "c"))
    assert looking.after(full, "with", "d") == full, "there is no place for it"
    assert looking.after(looking.among(full, {"a", "b", "c", "d"}, "a"), "with", "d").beside == ("b", "c", "d")


def test_a_button_acts_on_the_run_that_the_page_shows_and_saving_chooses_none(ctx):
    run = story.run(ctx.home, 20, name="first")
    with story.alive(run):
        seen = results.paint(ctx, "", {})[0]
        assert seen["run"] == run.id
    other = story.run(ctx.home, 20, name="other")  # the one that a browser without a choice would see now
    with story.alive(other):
        results.answer(ctx, "", seen, {"act": "save"})
        assert not other.control_path.exists()
        noted = results.answer(ctx, "", seen, {"act": "note", "run": run.id, "value": "x"})
        assert noted[-4] == gr.skip() and results.answer(ctx, other.id, seen, {"act": "save"})[-4] == gr.skip() and other.control_path.exists()
        delete(run)
        told = results.answer(ctx, "", seen, {"act": "stop"})[0]["notice"][1]
        assert "the page has changed" in told.lower() and len(journal.read(other.control_path)[0]) == 1
        assert results.answer(ctx, "", {"run": other.id}, {"act": "stop"})[-4] == other.id


def test_an_overlay_of_odd_curves_is_drawn():
    step = lambda n, loss: {"t": 1.0 + n, "kind": "step", "step": n, "of": 0, "loss": loss, "lr": 0, "grad": 0, "images_per_s": 0, "memory_bytes": 0}
    flat, wild, empty = (fold(RunView(), [step(n, f(n)) for n in range(1, 40)]) for f in (lambda n: 0, lambda n: -1e38 * n / 40, lambda n: None))
    page = overlay.overlay([("flat", flat), ("wild", wild), ("empty", empty)])
    assert "C has no curve yet" in page and "nan" not in page and "inf" not in page
    assert "None of these runs" in overlay.overlay([("empty", empty)])


def test_what_has_not_changed_is_not_made_again():
    made, view = [], (1, 2)
    make = lambda: made.append(1) or str(len(made))
    assert [kept.kept("x", "run", (view,), 1, make) for _ in range(3)] == ["1"] * 3
    assert kept.kept("x", "run", (view,), 2, make) == "2" and kept.kept("x", "run", ((1, 2),), 2, make) == "2" and kept.kept("x", "run", ([1, 2],), 2, make) == "3"
    for n in range(200):
        kept.kept("y", str(n), (), n, make)
    assert len(kept._made) <= kept.MOST


@pytest.mark.slow
def test_the_table_and_the_sheet_are_downloads_with_names_of_their_own(ctx):
    run = story.run(ctx.home, 40, "finished", validate=True)
    notes.hide(run, 1, story.PROMPTS[1], True)
    page = shown(ctx, run)
    client = TestClient(Starlette(routes=media.routes(ctx.home)))
    client.app.auth = client.app.auth_dependency = None
    links = re.findall(r'href="([^"]*(?:losses\.csv|contact-sheet\.(?:jpg|png)))"', page["chart"] + page["samples"])
    assert len(links) == 3
    table = client.get(next(link for link in links if link.endswith("csv")))
    assert f"{run.id}-losses.csv" in table.headers["content-disposition"] and table.text.splitlines()[40].startswith("40,") and table.headers["content-type"].startswith("text/csv")
    sheet = client.get(next(link for link in links if link.endswith("png")))
    assert f"{run.id}-contact-sheet.png" in sheet.headers["content-disposition"]
    with Image.open(io.BytesIO(sheet.content)) as image:
        assert image.format == "PNG" and image.size[1] < 450  # one row: the other prompt is hidden
    assert client.get(f"/easel/file/{run.id}/contact-sheet.exe").status_code == 404


def test_programs_find_runs_and_fetch_their_numbers(ctx):
    run = story.run(ctx.home, 60, "finished", validate=True)
    notes.tag(run, ["keep"])
    notes.rate(run, "samples/000020_0.webp", 5)
    api = Api(ctx)
    found = api.find_runs("tag:keep zibbo")
    assert [row["run"] for row in found] == [run.id] and found[0]["tags"] == ["keep"] and found[0]["family"] == "sd15" and api.find_runs("tag:none") == []
    with pytest.raises(ValueError, match="is no date"):
        api.find_runs("before:then")
    told = api.losses(run.id, 10)
    assert told["rows"] == 60 and len(told["csv"].splitlines()) == 11 and told["url"].endswith("/losses.csv")
    assert next(s for s in api.result(run.id)["samples"] if s["file"] == "samples/000020_0.webp")["rating"] == 5
