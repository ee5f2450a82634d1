import random

from training.runs.events import KINDS, RunView, fold

VALUES = {
    "pid": 7, "attempt": 1, "boot_id": "b", "oom_kills": 0, "versions": {"torch": "2"}, "device": "cpu", "name": "encoding", "done": 1, "of": 10, "unit": "px",
    "step": 3, "loss": 0.5, "lr": 1e-4, "grad": 1.0, "images_per_s": 2.0, "memory_bytes": 5, "index": 0, "prompt": "a 日本", "path": "samples/1.webp", "seed": 1,
    "id": "a.png", "status": "done", "text": "x", "summary": "s", "error": "e", "hint": "h", "trace": "t", "rows": [[0, "a cat"]],
    "seen": {"d/a.png": [[40, 0.2], [41, 0.3, 0.4]], "d/b.png": [[40, 0.1]]}, "picture": "d/a.png", "sha256": "ab", "weight": 0.5,
    "settings": {"data.batch_size": 1}, "said": "milder", "since": 2, "how": "slower",
}  # fmt: skip


def event(kind, t=1.0, **changes):
    return {"t": t, "kind": kind, **{key: VALUES[key] for key in KINDS[kind]}, **changes}


def some_events(rng, count):
    events = []
    for t in range(count):
        kind = rng.choice(list(KINDS))
        changes = {"step": rng.randrange(20), "index": rng.randrange(3), "path": f"samples/{rng.randrange(20)}", "text": rng.choice("ab"), "name": rng.choice("xy")}
        made = event(kind, float(t + 1), **{key: value for key, value in changes.items() if key in KINDS[kind]})
        if rng.random() < 0.2:  # a record that lacks something, or whose kind nobody knows
            made.pop(rng.choice(list(made)))
        if rng.random() < 0.05:
            made["kind"] = rng.choice(["from the future", ["a", "list"], None, 5])
        events.append(made)
    return events


def test_a_view_folded_in_pieces_is_the_view_folded_at_once():
    rng = random.Random(1)
    for _ in range(300):
        events = some_events(rng, rng.randrange(30))
        cut = rng.randrange(len(events) + 1)
        assert fold(fold(RunView(), events[:cut]), events[cut:]) == fold(RunView(), events)


def test_a_broken_record_is_counted_and_changes_nothing_else():
    before = fold(RunView(), [event("started"), event("phase"), event("step")])
    for kind, keys in KINDS.items():
        for key in keys:
            broken = event(kind, 9.0)
            del broken[key]
            after = fold(before, [broken])
            if after.bad_lines == before.bad_lines:
                assert key in ("grad", "oom_kills")
                continue
            assert after == fold(RunView(), [event("started"), event("phase"), event("step"), broken])
            assert (after.phase, after.phase_t, after.step, after.last_kind) == (before.phase, before.phase_t, before.step, "step")
    for broken in (event("started", versions=[1]), event("step", step=float("inf")), event("step", loss=None), event("milder", settings=[1]), event("mended", since=-1), event("prompts", rows=[[200, "a cat"]]), {"kind": "step"}, {"kind": []}, {}):
        after = fold(before, [broken])  # never raises
        assert after.bad_lines == 1 or "t" not in broken


def test_a_resumed_attempt_repeats_steps_without_a_kink_in_the_curve():
    steps = [event("step", step=n, loss=n) for n in (1, 2, 3, 4)] + [event("started", attempt=2)] + [event("step", step=n, loss=n + 0.5) for n in (3, 4, 5)]
    assert [point[:2] for point in fold(RunView(), steps).losses] == [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5), (5, 5.5)]


def test_a_new_attempt_forgets_the_old_ending():
    view = fold(RunView(), [event("started"), event("failed"), event("started", t=5.0, attempt=2)])
    assert (view.error, view.trace, view.attempt, view.first_t, view.started_t) == ("", "", 2, 1.0, 5.0)
