"""Sample prompts that are changed while a run goes on."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from training.runs import prompting
from training.runs.events import RunView, fold
from training.runs.prompting import Standing

from .conftest import state_files


def _drawn(run) -> list[tuple[int, int, str, int]]:
    return sorted((step, index, prompt, seed) for step, index, prompt, _, seed in run.view().samples)


def test_a_prompt_keeps_its_place_and_a_change_holds_from_its_step_on():
    begun = Standing(prompting.of_lines(["a cat", "a dog"]))
    once = begun.changed(4, ["a dog", "a bird"])
    twice = once.changed(9, ["a cat", "a fish", "a dog"])
    assert [twice.at(step) for step in (3, 4, 8, 9)] == [((0, "a cat"), (1, "a dog")), ((1, "a dog"), (2, "a bird")), ((1, "a dog"), (2, "a bird")), ((0, "a cat"), (3, "a fish"), (1, "a dog"))]
    assert [twice.since(place) for place in range(4)] == [0, 0, 4, 9] and twice.lines() == ["a cat", "a dog", "a bird", "a fish"]
    assert twice.changed(6, ["a cow"]).changes == (once.changes[0], (6, ((3 + 1, "a cow"),)))  # a resumed attempt stood before step 9
    with pytest.raises(ValueError, match="changed too often"):
        for n in range(40):
            begun = begun.changed(n, [f"{n} {m}" for m in range(16)])


def test_prompts_that_no_run_can_take_are_refused():
    assert prompting.checked([" a  cat ", "", "a cat", "a dog"]) == ["a cat", "a dog"]
    for lines, said in (([" "], "at least one"), ([f"{n}" for n in range(17)], "these are 17"), (["x" * 2001], "2001 characters")):
        with pytest.raises(ValueError, match=said):
            prompting.checked(lines)


def test_the_fold_takes_back_what_a_resumed_attempt_had_not_reached_and_no_nonsense():
    said = [{"t": 1.0, "kind": "prompts", "step": step, "rows": [[0, line]]} for step, line in ((3, "a"), (9, "b"), (5, "c"))]
    assert fold(RunView(), said).prompts == ((3, ((0, "a"),)), (5, ((0, "c"),)))
    broken = [{"t": 1.0, "kind": "prompts", "step": 1, "rows": rows} for rows in ("ab", [["a", 1]], [[0]], [[0, "x"]] * 17, [[-1, "x"]], None)]
    view = fold(RunView(), broken)
    assert view.prompts == () and view.bad_lines == len(broken)


@pytest.mark.slow
def test_prompts_changed_in_the_middle_are_drawn_from_then_on_and_by_the_next_attempt_too(lab):
    settings = dict(sample__prompts=["a red cat", "a blue cat"], sample__every=2, save__every=2)

    def change(run):
        run.path.joinpath("control.jsonl").write_text('{"t": 1.0, "kind": "prompts", "lines": ["a blue cat", "  a green cat --d 7 "]}\n')

    def once(run, step):
        return {"training": lambda: change(run) if run.view().step == step and not run.view().prompts else None}

    whole = lab.make(**settings)
    lab.go(whole, at=once(whole, 3))
    assert whole.status() == "finished", whole.view().error
    assert whole.view().prompts == ((4, ((1, "a blue cat"), (2, "a green cat --d 7"))),)
    by_step = {step: [(index, prompt) for s, index, prompt, _ in _drawn(whole) if s == step] for step in (0, 2, 4, 6)}
    assert by_step[0] == by_step[2] == [(0, "a red cat"), (1, "a blue cat")]
    assert by_step[4] == by_step[6] == [(1, "a blue cat"), (2, "a green cat")]
    assert next(seed for _, index, _, seed in _drawn(whole) if index == 2) == 7

    # cut off after the change, back at a checkpoint before it: every step draws what it drew, and what had not been drawn yet
    parts = lab.make(**settings)
    lab.go(parts, stop_at=4, at=once(parts, 3))
    (parts.path / "samples/000004_2.webp").unlink(missing_ok=True)
    (parts.path / "checkpoints/000004/MANIFEST.json").write_text("torn")
    (parts.path / "control.jsonl").unlink()  # a new attempt hears only what is said to it
    lab.go(parts)
    assert parts.status() == "finished" and _drawn(parts) == _drawn(whole) and parts.view().prompts == whole.view().prompts
    assert state_files(parts, 6) == state_files(whole, 6)  # no training step is another one
    for name in ("000004_1", "000004_2", "000006_2"):
        assert Image.open(parts.path / f"samples/{name}.webp").tobytes() == Image.open(whole.path / f"samples/{name}.webp").tobytes()


@pytest.mark.slow
def test_what_was_wished_is_heard_with_stop_too_and_what_cannot_be_leaves_the_prompts_as_they_are(lab):
    run = lab.make(sample__prompts=["a red cat"], sample__every=2)
    control = run.path / "control.jsonl"

    def wish(lines: str) -> dict:
        return {"training": lambda: control.write_text(f'{{"t": 1.0, "kind": "prompts", "lines": {lines}}}\n') if run.view().step == 3 and not control.exists() else None}

    lab.go(run, stop_at=3, at=wish('["a green cat"]'))
    assert run.status() == "stopped" and run.view().prompts == ((4, ((1, "a green cat"),)),)
    control.unlink()
    lab.go(run)
    assert [row[:3] for row in _drawn(run) if row[0] >= 4] == [(4, 1, "a green cat"), (6, 1, "a green cat")]
    other = lab.make(sample__prompts=["a red cat"], sample__every=2)
    other.path.joinpath("control.jsonl").write_text('{"t": 1.0, "kind": "prompts", "lines": []}\n')
    lab.go(other)
    assert not other.view().prompts and any("stay as they were: at least one" in text for text in other.view().warnings)


@pytest.mark.slow
def test_a_prompt_for_whose_encoders_there_is_no_room_waits_for_the_next_attempt(lab, monkeypatch):
    """The allocator's own refusal; fixed prompts, one that is asked for by hand, and the run goes on."""
    from training import registry

    family, room = registry.get("families", "sd15"), []
    encode = family.encode_text

    def crowded(m, texts):
        torch.empty(1 if room or not any("violet" in text for text in texts) else 1 << 50, dtype=torch.uint8)
        return encode(m, texts)

    monkeypatch.setattr(family, "encode_text", crowded)
    run = lab.make(sample__prompts=["a red cat"], sample__every=2)
    control = run.path / "control.jsonl"
    asked = [{"t": 1.0, "kind": "prompts", "lines": ["a red cat", "a violet cat"]}, {"t": 1.0, "kind": "sample", "prompt": "a violet dog"}]
    lab.go(run, stop_at=4, at={"training": lambda: control.write_text("".join(json.dumps(one) + "\n" for one in asked)) if not control.exists() else None})
    assert run.status() == "stopped" and {row[2] for row in _drawn(run)} == {"a red cat"}
    assert sum("drawn only after the run was resumed" in text for text in run.view().warnings) == 2
    room.append(True)
    control.unlink()
    lab.go(run)
    assert [row[:3] for row in _drawn(run) if row[0] == 6] == [(6, 0, "a red cat"), (6, 1, "a violet cat")]
