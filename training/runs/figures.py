"""The numbers of a run as a table for spreadsheets: loss, learning rate, validation loss, time, seconds a step, memory.

Read from the journal itself and not from the view, which keeps fewer points of a long run.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from . import journal
from .events import RunView, fold
from .run import Run

COLUMNS = ("step", "time_utc", "seconds", "attempt", "loss", "learning_rate", "gradient", "validation_loss", "seconds_per_step", "images_per_second", "memory_bytes")
PIECE_ROWS = 2000


@dataclass(frozen=True)
class Row:
    """One step that was told.  seconds: since the run began.  validation: of that step, where it was measured; the rest is None where only that was."""

    step: int
    t: float
    attempt: int
    loss: float | None = None
    rate: float | None = None
    gradient: float | None = None
    validation: float | None = None
    seconds_per_step: float | None = None
    images_per_s: float | None = None
    memory_bytes: int | None = None


def rows(run: Run) -> list[Row]:
    """What the run told of its steps, steps rising; a resumed attempt takes the place of what it repeats.  Raises ValueError, OSError."""
    found: list[Row] = []
    attempt, before = 0, (0, 0.0)  # before: (step, t) of the step that this attempt told last
    for records, _, _ in journal.pieces(run.events_path):
        for record in records:
            kind = record.get("kind")
            if kind not in ("started", "step", "validation"):
                continue
            view = fold(RunView(), [record])  # which refuses what no training writes
            if not view.last_kind:
                continue
            if kind == "started":
                attempt, before = view.attempt, (0, 0.0)
            elif kind == "step":
                _back_to(found, view.step)
                took = (view.step_t - before[1]) / (view.step - before[0]) if before[1] and view.step > before[0] and view.step_t > before[1] else None
                loss, rate = view.losses[0][1:]
                grad = record.get("grad")
                found.append(Row(view.step, view.step_t, attempt, loss, rate, float(grad) if isinstance(grad, int | float) and not isinstance(grad, bool) else None, None, took, view.images_per_s, view.memory_bytes))
                before = view.step, view.step_t
            else:
                _measured(found, *view.validations[0], view.last_t, attempt)
    return found


def _back_to(found: list[Row], step: int) -> None:
    while found and found[-1].step >= step:
        found.pop()


def _measured(found: list[Row], step: int, loss: float, t: float, attempt: int) -> None:
    while found and found[-1].step > step:
        found.pop()
    if found and found[-1].step == step:
        found[-1] = replace(found[-1], validation=loss)
    else:
        found.append(Row(step, t, attempt, validation=loss))


def thinned(found: list[Row], most: int) -> list[Row]:
    """At most `most` of the rows, evenly spread, the first and the last among them."""
    return found if len(found) <= most else [found[round(k * (len(found) - 1) / (most - 1))] for k in range(most)]


def table(run: Run) -> Iterator[bytes]:
    """The CSV in pieces: UTF-8, commas, a head, numbers with a point.  Raises ValueError, OSError."""
    yield from written(rows(run))


def written(found: list[Row]) -> Iterator[bytes]:
    """Rows as CSV in pieces."""
    begun_t = found[0].t if found else 0.0
    lines = [COLUMNS]
    for row in found:
        lines.append(_line(row, begun_t))
        if len(lines) >= PIECE_ROWS:
            yield _text(lines)
            lines = []
    yield _text(lines)


def _line(row: Row, begun_t: float) -> tuple:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row.t))
    took = None if row.seconds_per_step is None else f"{row.seconds_per_step:.4g}"
    return (
        row.step, when, f"{row.t - begun_t:.1f}", row.attempt, _number(row.loss), _number(row.rate), _number(row.gradient), _number(row.validation), took or "",
        "" if row.images_per_s is None else f"{row.images_per_s:.4g}", "" if row.memory_bytes is None else row.memory_bytes,
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _text(lines: list) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue().encode()
