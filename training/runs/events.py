"""Events: what a worker says, one JSON line each, and the view that folding them gives.

State is a value, time is a fold: fold(all) == fold(fold(head), tail).

A run may have been mailed, so a record may say anything.  Numbers that no training makes are refused here, once: whoever shows a view
can reckon with what is in it.  And a view stays small, however much was said: see the MOST_ below.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .costs import Costs

# kind -> the keys that a record of it carries besides t (UTC seconds) and kind.  A closed set: a new one is a decision.
KINDS: dict[str, tuple[str, ...]] = {
    "started": ("pid", "attempt", "boot_id", "oom_kills", "versions", "device"),  # the first acts of a worker: see death.py
    "phase": ("name", "done", "of", "unit"),  # of 0: length unknown
    "step": ("step", "of", "loss", "lr", "grad", "images_per_s", "memory_bytes"),
    "validation": ("step", "loss"),
    "pictures": ("step", "seen"),  # what single pictures cost since the last such event: {picture: [[noise level in hundredths, loss], or these and the base model's loss]}; see engine/ledger.py
    "weight": ("step", "picture", "sha256", "weight"),  # from the next step on a picture counts so much; 0: it is set aside
    "sample": ("step", "index", "prompt", "path", "seed"),
    "prompts": ("step", "rows"),  # the sample prompts from that step on: [[place, line], ...]; see prompting.py
    "checkpoint": ("step", "path"),
    "item": ("id", "status", "text"),  # one picture of a captioning or import job: done, tried, skipped, failed
    "warning": ("text",),
    "milder": ("settings", "said"),  # memory ran out: all settings, by dotted path, that the attempts from here on have in place of those in job.yaml
    "mended": ("step", "since", "how", "said"),  # the loss of a step was no number: how the attempts from here on take it, or all from `since` on
    "finished": ("path", "summary"),
    "stopped": ("step",),
    "failed": ("error", "hint", "trace"),
}
# keys that some records of a kind carry besides: a slider's samples; of a trial the caption that was there
MAY: dict[str, tuple[str, ...]] = {"sample": ("strength",), "item": ("was",), "validation": ("each", "base", "base_each", "forgot", "forgot_each", "took_s"), "finished": ("step", "chosen_t")}
ENDINGS = {"finished", "stopped", "failed"}

LARGEST = 3.4028234663852886e38  # of an fp32 number: no loss and no rate is beyond it
MOST_SEED = 2**64
MOST_WEIGHT = 100.0  # of a picture's loss
MOST_STRENGTH = 1000.0  # of an adapter in a sample
MOST_COUNT = 2**53  # of steps and bytes: beyond it a float does not hold a whole number
LAST_T = 253_370_764_800.0  # the first day of the year 9999, the last that a calendar shows
MOST_POINTS = 20_000  # of the loss curve; then every second one goes
MOST_VALIDATIONS, MOST_SAMPLES, MOST_CHECKPOINTS, MOST_ITEMS, MOST_WARNINGS, MOST_WEIGHTS = 20_000, 10_000, 10_000, 200_000, 500, 10_000  # then the oldest goes
MOST_MEASURES, MOST_EACH = 200, 1_000  # looks that are kept number by number, then every second one goes; numbers of one look
MOST_CHANGES, MOST_PROMPTS, MOST_PLACES = 500, 16, 200  # of the sample prompts, of those at once, and of different ones over a run: see prompting.py
MOST_SETTINGS = 50  # of a milder attempt
WORD, LINE, TEXT = 500, 4_000, 100_000  # characters


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
    loss_stride: int = 1  # of so many steps the last point is kept
    validations: tuple[tuple[int, float], ...] = ()
    measures: tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...] = ()  # (step, loss of each held-out picture at each level, what each plain sentence has lost)
    bases: tuple[float, ...] = ()  # the losses of these pictures by the base model alone
    told_step: int = 0  # up to which single pictures' losses were told
    levels: tuple[tuple, ...] = ()  # costs.Level of each band of noise levels
    pictures: tuple[tuple, ...] = ()  # costs.Cost of each picture
    pairs: tuple[tuple[int, float], ...] = ()  # (step, ln(loss / the base model's loss)) of one picture, same grain and noise level
    weights: tuple[tuple[int, str, float], ...] = ()  # (step, picture, how much it counts from then on), in the order in which that was asked
    samples: tuple[tuple[int, int, str, str, int], ...] = ()  # (step, index, prompt, path, seed)
    strengths: tuple[tuple[str, float], ...] = ()  # (path, strength) of the samples of a slider
    prompts: tuple[tuple[int, tuple[tuple[int, str], ...]], ...] = ()  # (from which step on, ((place, line), ...)), steps strictly rising; none while they are those of the job
    checkpoints: tuple[tuple[int, str], ...] = ()  # (step, path), as said; a pruned one is no longer on disk
    items: tuple[tuple[str, str, str], ...] = ()  # (id, status, text)
    warnings: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    trace: str = ""
    result: str = ""  # path of the result inside the run folder
    summary: str = ""
    result_step: int = 0  # whose checkpoint the result is; 0: the last step's
    bad_lines: int = 0


def fold(view: RunView, events: Iterable[dict[str, Any]]) -> RunView:
    """`view` after `events`.  Unknown kinds are ignored; a record without its keys, or with impossible ones, is counted in bad_lines and changes nothing else."""
    grown: dict[str, Any] = {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}
    lists = _Lists(view)
    for event in events:
        kind = event.get("kind")
        rule = _RULES.get(kind) if isinstance(kind, str) else None
        if rule is None:
            continue
        try:
            t = _number(event["t"], 0.0, LAST_T)
            rule(grown, lists, event, t)
        except (KeyError, TypeError, ValueError, AttributeError):
            grown["bad_lines"] += 1
            continue
        grown["last_kind"], grown["last_t"] = kind, t
    return RunView(**(grown | lists.tuples()))


class _Lists:
    """What grows while a view is folded, in a shape in which one more record costs the same however many there are."""

    def __init__(self, view: RunView):
        self.view = view
        self.losses = list(view.losses)
        self.validations = list(view.validations)
        self.measures = list(view.measures)
        self._costs: Costs | None = None  # made when it is needed: most looks bring none
        self.weights = list(view.weights)
        self.samples = {row[3]: row for row in view.samples}
        self.strengths = {row[0]: row for row in view.strengths}
        self.prompts = list(view.prompts)
        self.checkpoints = {row[0]: row for row in view.checkpoints}
        self.items = list(view.items)
        self.warnings = dict.fromkeys(view.warnings)

    @property
    def costs(self) -> Costs:
        if self._costs is None:
            self._costs = Costs(self.view.levels, self.view.pictures, self.view.pairs)
        return self._costs

    def tuples(self) -> dict[str, tuple]:
        """As the view keeps them; what did not grow is the very same as before, by which whoever shows it knows."""
        made = {
            "losses": tuple(self.losses), "validations": tuple(self.validations), "measures": tuple(self.measures), "samples": tuple(self.samples.values()), "strengths": tuple(self.strengths.values()),
            "prompts": tuple(self.prompts), "checkpoints": tuple(self.checkpoints.values()), "items": tuple(self.items[-MOST_ITEMS:]), "warnings": tuple(self.warnings),
            "weights": tuple(self.weights[-MOST_WEIGHTS:]), **(self._costs.tuples() if self._costs else {}),
        }  # fmt: skip
        return {name: before if (before := getattr(self.view, name)) == now else now for name, now in made.items()}


def _number(value: Any, low: float = -LARGEST, high: float = LARGEST) -> float:
    """A number in [low, high].  Raises ValueError; TypeError for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if not low <= value <= high:  # also NaN; compared before it is made a float, which a huge int cannot be
        raise ValueError
    return float(value)


def _count(value: Any, low: int = 0, high: int = MOST_COUNT) -> int:
    """A whole number in [low, high].  Raises ValueError; TypeError for what is no number."""
    _number(value, low, high)
    return int(value)


def _text(value: Any, most: int) -> str:
    """A text of at most `most` characters, which can be encoded.  Raises TypeError for what is none."""
    if not isinstance(value, (str, int, float)):
        raise TypeError
    return str(value)[:most].encode("utf-8", "replace").decode()


def _keep(rows: dict, key: Any, row: tuple, most: int) -> None:
    """`row` is the newest; the one of the same key, and where there are too many the oldest, is gone."""
    rows.pop(key, None)
    rows[key] = row
    if len(rows) > most:
        del rows[next(iter(rows))]


def _started(g, lists, e, t):
    versions = [(_text(k, 100), _text(v, 100)) for k, v in list(e["versions"].items())[:50]]
    g.update(
        attempt=_count(e["attempt"]), pid=_count(e["pid"]), boot_id=_text(e["boot_id"], WORD), device=_text(e["device"], WORD), started_t=t,
        oom_kills=_count(e.get("oom_kills", -1), -1), versions=tuple(sorted(versions)),
        phase="", phase_done=0.0, phase_of=0.0, phase_unit="", phase_t=t,
        first_step=0, first_step_t=0.0, error="", hint="", trace="", result="", summary="", result_step=0,
    )  # fmt: skip
    g["first_t"] = g["first_t"] or t


def _phase(g, lists, e, t):
    name = _text(e["name"], WORD)
    begun_t = t if name != g["phase"] else g["phase_t"]
    done, of, unit = _number(e["done"], 0, MOST_COUNT), _number(e["of"], 0, MOST_COUNT), _text(e["unit"], WORD)
    g.update(phase=name, phase_done=done, phase_of=of, phase_unit=unit, phase_t=begun_t)


def _step(g, lists, e, t):
    step = _count(e["step"])
    point = (step, _number(e["loss"]), _number(e["lr"]))
    g.update(
        step=step, of=_count(e["of"]), step_t=t, images_per_s=_number(e["images_per_s"], 0), memory_bytes=_count(e["memory_bytes"])
    )
    if not g["first_step_t"]:
        g.update(first_step=step, first_step_t=t)
    losses, stride = lists.losses, g["loss_stride"]
    while losses and losses[-1][0] >= step:  # a resumed attempt repeats the steps after its checkpoint
        losses.pop()
    if losses and losses[-1][0] // stride == step // stride:
        losses.pop()
    losses.append(point)
    while len(losses) > MOST_POINTS:
        g["loss_stride"] = stride = 2 * stride
        losses[:] = [a for a, b in itertools.pairwise(losses) if a[0] // stride != b[0] // stride] + losses[-1:]


def _validation(g, lists, e, t):
    row = (_count(e["step"]), _number(e["loss"]))
    each, bases, forgot = (tuple(map(_number, _list(e.get(name, [])))) for name in ("each", "base_each", "forgot_each"))
    while lists.validations and lists.validations[-1][0] >= row[0]:
        lists.validations.pop()
    lists.validations.append(row)
    del lists.validations[:-MOST_VALIDATIONS]
    while lists.measures and lists.measures[-1][0] >= row[0]:
        lists.measures.pop()
    if not each:
        return
    if lists.measures and [len(lists.measures[-1][1]), len(lists.measures[-1][2])] != [len(each), len(forgot)]:
        lists.measures.clear()  # other pictures are held out now: what was measured before says nothing of these
    lists.measures.append((row[0], each, forgot))
    if len(lists.measures) > MOST_MEASURES:
        lists.measures[:] = lists.measures[1::2]
    g["bases"] = bases if len(bases) == len(each) else ()


def _list(value: Any) -> list:
    """A list of at most MOST_EACH numbers.  Raises TypeError, ValueError."""
    if not isinstance(value, list):
        raise TypeError
    if len(value) > MOST_EACH:
        raise ValueError
    return value


def _pictures(g, lists, e, t):
    step = _count(e["step"])
    seen = [(_text(id, WORD), _uses(rows)) for id, rows in e["seen"].items()]
    if step <= g["told_step"]:  # a resumed attempt pays the same once more
        return
    g["told_step"] = step
    for id, uses in seen:
        for level, loss, *base in uses:
            lists.costs.add(step, id, level / 100, loss, base[0] if base else None)


def _uses(rows):
    return [[_number(row[0], 0, 100), *(_number(loss, 0) for loss in row[1:3])] for row in rows if len(row) >= 2]


def _weight(g, lists, e, t):
    _text(e["sha256"], WORD)
    lists.weights.append((_count(e["step"]), _text(e["picture"], WORD), _number(e["weight"], 0, MOST_WEIGHT)))


def _sample(g, lists, e, t):
    path = _text(e["path"], WORD)
    strength = _number(e["strength"], -MOST_STRENGTH, MOST_STRENGTH) if "strength" in e else None
    if strength is not None:
        _keep(lists.strengths, path, (path, strength), MOST_SAMPLES)
    _keep(lists.samples, path, (_count(e["step"]), _count(e["index"]), _text(e["prompt"], LINE), path, _count(e["seed"], 0, MOST_SEED)), MOST_SAMPLES)


def _prompts(g, lists, e, t):
    step, rows = _count(e["step"]), e["rows"]
    if not isinstance(rows, list) or len(rows) > MOST_PROMPTS:
        raise TypeError
    row = (step, tuple((_count(place, 0, MOST_PLACES - 1), _text(line, LINE)) for place, line in rows))
    while lists.prompts and lists.prompts[-1][0] >= step:  # a resumed attempt stood before them when they were changed anew
        lists.prompts.pop()
    lists.prompts.append(row)
    del lists.prompts[:-MOST_CHANGES]


def _checkpoint(g, lists, e, t):
    row = (_count(e["step"]), _text(e["path"], WORD))
    _keep(lists.checkpoints, row[0], row, MOST_CHECKPOINTS)


def _item(g, lists, e, t):
    lists.items.append((_text(e["id"], WORD), _text(e["status"], WORD), _text(e["text"], LINE)))
    if len(lists.items) > 2 * MOST_ITEMS:
        del lists.items[:MOST_ITEMS]


def _warning(g, lists, e, t):
    text = _text(e["text"], LINE)
    if text not in lists.warnings:
        _keep(lists.warnings, text, None, MOST_WARNINGS)


def _milder(g, lists, e, t):
    settings = e["settings"]
    if not isinstance(settings, dict) or len(settings) > MOST_SETTINGS:  # which they may be, ladder.py says
        raise TypeError
    _warning(g, lists, {"text": e["said"]}, t)


def _mended(g, lists, e, t):
    if not all(type(e[key]) is int for key in ("step", "since")):
        raise TypeError
    _count(e["step"]), _count(e["since"]), _text(e["how"], WORD)
    _warning(g, lists, {"text": e["said"]}, t)


def _finished(g, lists, e, t):
    g.update(result=_text(e["path"], WORD), summary=_text(e["summary"], LINE), result_step=_count(e.get("step", 0)), phase="finished")


def _stopped(g, lists, e, t):
    g.update(step=_count(e["step"]), phase="stopped")


def _failed(g, lists, e, t):
    error, hint, trace = _text(e["error"], LINE), _text(e["hint"], LINE), _text(e["trace"], TEXT)
    g.update(error=error, hint=hint, trace=trace, phase="failed")


_RULES = {
    "started": _started, "phase": _phase, "step": _step, "validation": _validation, "pictures": _pictures, "weight": _weight, "sample": _sample, "prompts": _prompts,
    "checkpoint": _checkpoint, "item": _item, "warning": _warning, "milder": _milder, "mended": _mended, "finished": _finished, "stopped": _stopped, "failed": _failed,
}  # fmt: skip
assert set(_RULES) == set(KINDS)
