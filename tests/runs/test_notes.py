"""What people say of runs: notes, tags, stars; looking for runs by it; the numbers as a table; which settings differ; a contact sheet."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest
from PIL import Image

from tests.test_cli import typed
from tests.ui import story
from training import report
from training.runs import contactsheet, differing, figures, journal, notes, packing, searching, shown, unpacking
from training.runs.events import RunView, fold
from training.runs.run import create


def _tell(t: float, kind: str, **more) -> dict:
    return {"t": t, "kind": kind, **more}


def _step(t: float, step: int, loss: float, **more) -> dict:
    return _tell(t, "step", step=step, of=10, loss=loss, lr=1e-4, grad=0.5, images_per_s=4.0, memory_bytes=10**9, **more)


def _started(t: float, attempt: int = 1) -> dict:
    return _tell(t, "started", pid=1, attempt=attempt, boot_id="", oom_kills=-1, versions={}, device="cpu")


def test_what_is_said_of_a_run_is_there_again_and_is_the_last_that_was_said(home):
    run = story.run(home, 60, "finished")
    picture = "samples/000020_0.webp"
    for stars in (2, 5):
        notes.rate(run, picture, stars)
    notes.rate(run, "000040_1.webp", 1)
    notes.star(run, picture, True)
    notes.star(run, "samples/000040_1.webp", True)
    notes.star(run, "samples/000040_1.webp", False)
    notes.hide(run, 1, story.PROMPTS[1], True)
    notes.say(run, " too soft ")
    notes.tag(run, ["#keep", "faces  of cats", "keep", " "])
    said = notes.of(run)
    assert said == notes.Notes("too soft", ("keep", "faces of cats"), {picture: 5, "samples/000040_1.webp": 1}, frozenset({picture}), frozenset({(1, story.PROMPTS[1])}))
    notes.rate(run, picture, 0)
    assert notes.of(run).rated == {"samples/000040_1.webp": 1}
    for wrong in ("samples/999.webp", "../job.yaml", "samples/../job.yaml", ""):
        with pytest.raises(ValueError, match="is not a picture of this run"):
            notes.rate(run, wrong, 3)
    for say in (lambda: notes.rate(run, picture, 6), lambda: notes.say(run, "x" * 10_001), lambda: notes.tag(run, ["x" * 41]), lambda: notes.tag(run, map(str, range(31)))):
        with pytest.raises(ValueError):
            say()


def test_a_strangers_notes_say_nothing_that_no_page_writes(home):
    run = story.run(home, 20, "finished")
    odd = [None, 7, True, "x" * 20_000, [], {"a": 1}, float("inf")]
    for value in odd:
        for kind in ("note", "tags", "rate", "star", "hide", "from the future"):
            journal.append(run.path / notes.FILE, {"kind": kind, "value": value, "picture": value, "prompt": value, "index": value})
    said = notes.of(run)
    assert len(said.text) == notes.MOST_TEXT_CHARS and not said.rated and not said.starred and said.tags == ()
    records = [{"kind": "rate", "picture": "samples/1.webp", "value": n % 6} for n in range(20)] + [{"kind": "tags", "value": ["a", "b"]}]
    assert notes.fold(notes.fold(notes.Notes(), records[:7]), records[7:]) == notes.fold(notes.Notes(), records)


def test_ratings_are_votes_between_checkpoints_of_the_same_prompt():
    view = fold(RunView(), [_tell(1.0, "sample", step=s, index=i, prompt="pq"[i], path=f"samples/{s}_{i}", seed=1) for s in (0, 10, 20) for i in (0, 1)])
    said = notes.Notes(rated={"samples/0_0": 1, "samples/10_0": 5, "samples/20_0": 2, "samples/20_1": 5})
    assert notes.preferred(view, said) == [("10", "20", 1.0)]
    assert notes.means(view, said) == {0: (1.0, 1), 10: (5.0, 1), 20: (3.5, 2)}
    draw = notes.Notes(rated={"samples/10_0": 3, "samples/20_0": 3})
    assert notes.preferred(view, draw) == [("10", "20", 0.5)]
    ended = [_step(2.0, 20, 0.1) | {"of": 20}, _tell(3.0, "finished", path="a.safetensors", summary="")]
    assert notes.preferred(fold(view, ended), draw) == [("10", "final", 0.5)]
    assert notes.preferred(fold(view, [*ended, ended[1] | {"step": 10}]), draw) == [("final", "20", 0.5)], "the result was chosen anew"


def test_notes_travel_with_an_exported_run_without_a_place_of_this_computer(home, tmp_path):
    run = story.run(home, 20, "finished")
    notes.say(run, f"see {home.root}/other")
    notes.rate(run, "samples/000020_0.webp", 4)
    packing.write(packing.parcel(run, home), tmp_path / "run.zip")
    brought = unpacking.bring(tmp_path / "run.zip", home).run
    said = notes.of(brought)
    assert said.text == "see home/other" and said.rated == {"samples/000020_0.webp": 4} and str(home.root) not in (brought.path / notes.FILE).read_text()


def test_runs_are_found_by_words_and_by_what_they_are(home):
    cat = create(home.outputs, story.config("my cat"))
    dog = create(home.outputs, story.config("a dog", trigger="woffo", preset="builtin-object", model={"family": "sdxl", "source": "a/b"}))
    notes.tag(cat, ["faces", "old"])
    notes.say(dog, "for Grandmother")
    ids = lambda text: {run.title for run in searching.find([cat, dog], text)}
    both, today = {"my cat", "a dog"}, time.strftime("%Y-%m-%d")
    cases = {
        "": both, "  ": both, "CAT": {"my cat"}, "cat dog": set(), "grandm": {"a dog"}, "woffo": {"a dog"}, "tag:face": {"my cat"}, "tag:faces tag:old": {"my cat"}, "tag:faces tag:new": set(),
        "preset:object": {"a dog"}, "family:sdxl": {"a dog"}, "family:XL family:sd15": both, 'family:"own small"': {"my cat"}, "status:queued": both, "status:fin": set(), f"after:{today}": both,
        f"before:{today}": both, "before:2020": set(), "after:2099-01": set(), "after:yesterday": both, "tag:": both, "dataset:zib": both, "a:b": set(),
    }  # fmt: skip
    assert {text: ids(text) for text in cases} == cases
    assert searching.problem("after:soon cat") == "'soon' is no date; write it as 2026-01-31" and "there is no status 'wild'" in searching.problem("status:wild")
    assert searching.problem("tag:x after:2026-01-31 before:2026 status:run") == ""


def test_the_table_has_each_step_once_with_what_was_measured_there(home):
    run = create(home.outputs, story.config())
    said = [
        _started(0.0), _step(1.0, 1, 1.0), _step(3.0, 3, 0.5), _tell(3.5, "validation", step=3, loss=0.7), _step(4.0, 4, 0.4), _started(10.0, 2), _step(11.0, 3, 0.5), _tell(11.5, "validation", step=4, loss=0.6),
        _step(12.0, 5, 0.3), _step(12.5, 6, None), _tell(13.0, "validation", step=5, loss=0.65),
    ]  # fmt: skip
    for record in said:
        journal.append(run.events_path, record)
    head, *rows = csv.reader(io.StringIO(b"".join(figures.table(run)).decode()))
    assert tuple(head) == figures.COLUMNS
    seen = [(r["step"], r["attempt"], r["loss"], r["validation_loss"], r["seconds_per_step"], r["seconds"]) for r in (dict(zip(head, row, strict=True)) for row in rows)]
    assert seen == [("1", "1", "1", "", "", "0.0"), ("3", "2", "0.5", "", "", "10.0"), ("4", "2", "", "0.6", "", "10.5"), ("5", "2", "0.3", "0.65", "0.5", "11.0")]
    empty = create(home.outputs, story.config("none"))
    assert b"".join(figures.table(empty)).decode().split("\r\n") == [",".join(figures.COLUMNS), ""]


def test_settings_that_differ_are_told_with_both_values_and_names_are_none(home):
    one = create(home.outputs, story.config("one"))
    other = create(home.outputs, story.config("other", steps=200, adapter={"rank": 4}, data={"datasets": [{"name": "cats"}], "resolutions": [64], "batch_size": 4}))
    found = {path: (a, b) for path, a, b in differing.between(differing.settings(one), differing.settings(other))}
    assert set(found) == {"steps", "data.datasets", "adapter.rank"} and found["steps"] == (100, 200) and found["adapter.rank"][1] == 4
    assert differing.between(differing.settings(one), differing.settings(one)) == []
    (other.path / "job.yaml").write_text("kind: train\nname: x\nfrom_the_future: {a: 1}\nsteps: 100\n")
    assert ("from_the_future.a", None, 1) in differing.between(differing.settings(one), differing.settings(other))


def _rows(steps: int, prompts: int = 2):
    said = [_tell(1.0, "sample", step=s, index=i, prompt=f"prompt {i}", path=f"samples/{s:06d}_{i}.webp", seed=1) for s in range(steps) for i in range(prompts)]
    return shown.rows(fold(RunView(), said), prompts)


def test_a_contact_sheet_of_many_steps_stays_small_and_says_what_it_leaves_out():
    small, large = contactsheet.plan("x", _rows(3)), contactsheet.plan("x", _rows(100, 61))
    assert small.side_px == 256 and small.about == "" and small.columns == ("start", "step 1", "step 2")
    assert len(large.columns) == contactsheet.MOST_COLUMNS and large.columns[-1] == "step 99" and large.columns[0] == "start" and len(large.lines) == contactsheet.MOST_ROWS
    assert large.about == "40 of 100 steps, 60 of 61 prompts" and large.size_px()[0] * large.size_px()[1] <= contactsheet.MOST_PX and large.side_px < 256
    with pytest.raises(ValueError, match="no samples"):
        contactsheet.plan("x", [])


def test_the_sheet_shows_each_picture_in_its_place(tmp_path):
    for file, colour in (("a.webp", "#ff0000"), ("b.webp", "#00ff00")):
        Image.new("RGB", (64, 32), colour).save(tmp_path / file, lossless=True)
    (tmp_path / "broken.webp").write_bytes(b"RIFF0000WEBP")
    (tmp_path / "link.webp").symlink_to(tmp_path / "a.webp")
    lines = (contactsheet.Line("ein Kätzchen 日本 " * 9, ("a.webp", ""), ("* 4/5", "")), contactsheet.Line("two", ("broken.webp", "b.webp"), ("", "")), contactsheet.Line("three", ("../a.webp", "link.webp"), ("", "")))
    plan = contactsheet.Plan("my cat", "", ("start", "step 5"), lines, 96)
    for kind in ("PNG", "JPEG"):
        with Image.open(io.BytesIO(contactsheet.drawn(plan, tmp_path, kind))) as sheet:
            assert sheet.size == plan.size_px() and sheet.format == kind
            left, top, cell = contactsheet.EDGE_PX + contactsheet.LABEL_PX, contactsheet.EDGE_PX + contactsheet.HEAD_PX + contactsheet.STEP_PX, 96 + contactsheet.GAP_PX
            at = lambda column, row, dx=60, dy=40, sheet=sheet, left=left, top=top, cell=cell: tuple(round(v / 32) for v in sheet.convert("RGB").getpixel((left + cell * column + dx, top + cell * row + dy)))
            assert at(0, 0) == (8, 0, 0) and at(1, 1) == (0, 8, 0) and at(1, 0) == (8, 8, 8)
            assert at(0, 0, 4, 17) == (1, 1, 1)  # the mark in its corner
            assert at(0, 1) == at(0, 2) == at(1, 2) == (8, 7, 7)  # what cannot be read, lies elsewhere, or is a link
    words = contactsheet._wrapped("aaa bbb " + "c" * 25, len, 10, 3)
    assert words == ["aaa bbb cc", "c" * 10, "c" * 10 + "…"]


def test_a_row_says_from_which_step_its_prompt_exists():
    said = [_tell(1.0, "sample", step=s, index=i, prompt=p, path=f"samples/{s}_{i}", seed=1) for s, i, p in ((0, 0, "a"), (20, 0, "a"), (20, 1, "b"), (20, 1000, "once"))]
    view = fold(RunView(), [*said, _tell(2.0, "prompts", step=11, rows=[[0, "a"], [1, "b"]])])
    assert [(row.prompt, row.since) for row in shown.rows(view, 1)] == [("a", 0), ("b", 11), ("once", 0)]
    assert json.dumps(shown.fixed_of({"sample": {"prompts": ["a"]}})) == "1" and shown.fixed_of({"sample": 3}) == 0


def test_a_report_of_a_problem_has_nothing_of_what_was_said_and_no_new_prompt(home):
    run = story.run(home, 20, "failed")
    notes.say(run, "Grandmother Erna likes these")
    notes.tag(run, ["Ernas hund"])
    journal.append(run.events_path, _tell(time.time(), "prompts", step=11, rows=[[2, "Ernas dachshund in the garden"]]))
    journal.append(run.events_path, _tell(time.time(), "warning", text="Ernas dachshund in the garden is long"))
    text = report.report(home, run).text
    assert "other sample prompts from step 11" in text and not any(word in text for word in ("Erna", "dachshund", "notes.jsonl"))


def test_the_command_line_finds_runs_and_writes_their_numbers(home, tmp_path, monkeypatch, capsys):
    run = story.run(home, 20, "finished", name="my-cat")
    story.run(home, 20, "finished", name="a-dog")
    notes.tag(run, ["keep"])
    code, said = typed(home, monkeypatch, capsys, "runs", "--search", "tag:keep")
    assert code == 0 and "my-cat" in said and "a-dog" not in said
    assert "is no date" in typed(home, monkeypatch, capsys, "runs", "--search", "after:x")[1]
    code, said = typed(home, monkeypatch, capsys, "losses", run.id, "--out", str(tmp_path / "x.csv"))
    assert code == 0 and "20 rows" in said and (tmp_path / "x.csv").read_bytes().startswith(b"step,time_utc")
    assert story.PROMPTS[0] in typed(home, monkeypatch, capsys, "prompts", run.id)[1]
    assert "is not running" in typed(home, monkeypatch, capsys, "prompts", run.id, "a cow")[1]
