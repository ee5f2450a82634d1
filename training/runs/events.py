"""Events: what a worker says, one JSON line each, and the view that folding them gives.

State is a value, time is a fold: fold(all) == fold(fold(head), tail).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# kind -> the keys that a record of it carries besides t (UTC seconds) and kind.  A closed set: a new one is a decision.
KINDS: dict[str, tuple[str, ...]] = {
    "started": ("pid", "attempt", "boot_id", "oom_kills", "versions", "device"),  # the first acts of a worker: see death.py
    "phase": ("name", "done", "of", "unit"),  # of 0: length unknown
    "step": ("step", "of", "loss", "lr", "grad", "images_per_s", "memory_bytes"),
    "validation": ("step", "loss"),
    "sample": ("step", "index", "prompt", "path", "seed"),
    "checkpoint": ("step", "path"),
    "item": ("id", "status", "text"),  # one picture of a captioning or import job: done, skipped, failed
    "warning": ("text",),
    "finished": ("path", "summary"),
    "stopped": ("step",),
    "failed": ("error", "hint", "trace"),
}
ENDINGS = {"finished", "stopped", "failed"}


@dataclass(frozen=True)
class RunView:
    """What a run looks like after its events so far.  Tuples grow; nothing is ever taken back but by a new attempt."""

    last_kind: str = ""
    last_t: float = 0.0
    attempt: int = 0
    pid: int = 0
    boot_id: str = ""
    oom_kills: int = -1  # processes this computer had killed for want of memory when the attempt began; -1: unknown
    device: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    started_t: float = 0.0  # of this attempt
    first_t: float = 0.0  # of the first attempt
    phase: str = ""
    phase_done: float = 0.0
    phase_of: float = 0.0
    phase_unit: str = ""
    phase_t: float = 0.0  # when this phase began
    step: int = 0
    of: int = 0
    step_t: float = 0.0
    first_step: int = 0  # of this attempt, with its time: for the rate
    first_step_t: float = 0.0
    images_per_s: float = 0.0
    memory_bytes: int = 0
    losses: tuple[tuple[int, float, float], ...] = ()  # (step, loss, lr), steps strictly rising
    validations: tuple[tuple[int, float], ...] = ()
    samples: tuple[tuple[int, int, str, str, int], ...] = ()  # (step, index, prompt, path, seed)
    checkpoints: tuple[tuple[int, str], ...] = ()  # (step, path), as said; a pruned one is no longer on disk
    items: tuple[tuple[str, str, str], ...] = ()  # (id, status, text)
    warnings: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    trace: str = ""
    result: str = ""  # path of the result inside the run folder
    summary: str = ""
    bad_lines: int = 0


def fold(view: RunView, events: Iterable[dict[str, Any]]) -> RunView:
    """`view` after `events`.  Unknown kinds are ignored; a record without its keys is counted in bad_lines and changes nothing else."""
    grown: dict[str, Any] = {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}
    lists = {k: list(grown[k]) for k in ("losses", "validations", "samples", "checkpoints", "items", "warnings")}
    for event in events:
        kind = event.get("kind")
        rule = _RULES.get(kind) if isinstance(kind, str) else None
        if rule is None:
            continue
        try:
            t = float(event["t"])
            rule(grown, lists, event, t)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            grown["bad_lines"] += 1
            continue
        grown["last_kind"], grown["last_t"] = kind, t
    return RunView(**(grown | {k: tuple(v) for k, v in lists.items()}))


def _started(g, lists, e, t):
    g.update(
        attempt=int(e["attempt"]), pid=int(e["pid"]), boot_id=str(e["boot_id"]), device=str(e["device"]), started_t=t,
        oom_kills=int(e.get("oom_kills", -1)),
        versions=tuple(sorted((str(k), str(v)) for k, v in e["versions"].items())),
        phase="", phase_done=0.0, phase_of=0.0, phase_unit="", phase_t=t,
        first_step=0, first_step_t=0.0, error="", hint="", trace="", result="", summary="",
    )  # fmt: skip
    g["first_t"] = g["first_t"] or t


def _phase(g, lists, e, t):
    name = str(e["name"])
    begun_t = t if name != g["phase"] else g["phase_t"]
    g.update(phase=name, phase_done=float(e["done"]), phase_of=float(e["of"]), phase_unit=str(e["unit"]), phase_t=begun_t)


def _step(g, lists, e, t):
    step = int(e["step"])
    point = (step, float(e["loss"]), float(e["lr"]))
    g.update(step=step, of=int(e["of"]), step_t=t, images_per_s=float(e["images_per_s"]), memory_bytes=int(e["memory_bytes"]))
    if not g["first_step_t"]:
        g.update(first_step=step, first_step_t=t)
    while lists["losses"] and lists["losses"][-1][0] >= step:  # a resumed attempt repeats the steps after its checkpoint
        lists["losses"].pop()
    lists["losses"].append(point)


def _validation(g, lists, e, t):
    step = int(e["step"])
    lists["validations"][:] = [v for v in lists["validations"] if v[0] < step] + [(step, float(e["loss"]))]


def _sample(g, lists, e, t):
    row = (int(e["step"]), int(e["index"]), str(e["prompt"]), str(e["path"]), int(e["seed"]))
    lists["samples"][:] = [s for s in lists["samples"] if s[3] != row[3]] + [row]


def _checkpoint(g, lists, e, t):
    row = (int(e["step"]), str(e["path"]))
    lists["checkpoints"][:] = [c for c in lists["checkpoints"] if c[0] != row[0]] + [row]


def _item(g, lists, e, t):
    row = (str(e["id"]), str(e["status"]), str(e["text"]))
    lists["items"].append(row)


def _warning(g, lists, e, t):
    if str(e["text"]) not in lists["warnings"]:
        lists["warnings"].append(str(e["text"]))


def _finished(g, lists, e, t):
    g.update(result=str(e["path"]), summary=str(e["summary"]), phase="finished")


def _stopped(g, lists, e, t):
    g.update(step=int(e["step"]), phase="stopped")


def _failed(g, lists, e, t):
    g.update(error=str(e["error"]), hint=str(e["hint"]), trace=str(e["trace"]), phase="failed")


_RULES = {
    "started": _started, "phase": _phase, "step": _step, "validation": _validation, "sample": _sample, "checkpoint": _checkpoint,
    "item": _item, "warning": _warning, "finished": _finished, "stopped": _stopped, "failed": _failed,
}  # fmt: skip
assert set(_RULES) == set(KINDS)
