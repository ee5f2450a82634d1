"""RunView -> words and numbers for the page.  Pure functions; whatever a person typed leaves here escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from html import escape

from training import clock
from training.plan import advising
from training.plan.advising import Advice
from training.plan.validating import POINTS
from training.runs.events import RunView

# status -> (word, class of its chip)
STATUS = {
    "queued": ("Waiting", "ez-idle"),
    "starting": ("Starting", "ez-run"),
    "running": ("Running", "ez-run"),
    "finished": ("Finished", "ez-ok"),
    "stopped": ("Stopped", "ez-idle"),
    "failed": ("Failed", "ez-bad"),
    "interrupted": ("Interrupted", "ez-warn"),
}
RESUMABLE = ("stopped", "failed", "interrupted")
KILL_AFTER_S = 30.0  # a worker that has not stopped by then may be killed


def duration(seconds: float) -> str:
    """12 s, 7 min, 1 h 20 min, 2 d 3 h."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(size_bytes: float) -> str:
    """340 kB, 3.2 MB, 12 GB; powers of 1000, as file managers show them."""
    value = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 10 or unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def number(value: float) -> str:
    """A measured number in four characters or so: 0.1423, 12.5, 1e-5."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{value:.4g}"


def count(n: int, noun: str) -> str:
    """1 picture, 2 pictures, 1,200 pictures."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def when(t: float, now: float) -> str:
    """today 14:20, yesterday 09:05, 31 Jan 14:20, 31 Jan 2026."""
    then, today = datetime.fromtimestamp(t), datetime.fromtimestamp(now)
    days = (today.date() - then.date()).days
    if days == 0:
        return f"today {then:%H:%M}"
    if days == 1:
        return f"yesterday {then:%H:%M}"
    return f"{then.day} {then:%b %H:%M}" if then.year == today.year else f"{then.day} {then:%b %Y}"


def chip(status: str) -> str:
    """A small label with the status."""
    word, look = STATUS.get(status, (status, "ez-idle"))
    return f'<span class="ez-chip {look}"><i></i>{escape(word)}</span>'


def seconds_per_step(view: RunView) -> float:
    """Wall-clock seconds of one step in this attempt, samples and checkpoints included; 0 while unknown."""
    steps = view.step - view.first_step
    known = view.first_step_t and steps > 0 and view.step_t > view.first_step_t  # a new attempt has no step of its own yet
    return (view.step_t - view.first_step_t) / steps if known else 0.0


def seconds_left(view: RunView) -> float:
    """Seconds to the last step; 0 while unknown or when there is nothing left."""
    return max(0, view.of - view.step) * seconds_per_step(view)


def done_about(view: RunView) -> str:
    """18:40, or a day with it: when the last step comes, by this computer's clock and the pace until now; "" while unknown."""
    left_s = seconds_left(view)
    return clock.about(view.step_t + left_s, view.step_t) if left_s else ""


@dataclass(frozen=True)
class Progress:
    """What a bar shows.  share: 0 to 1, or None while the length is unknown."""

    share: float | None
    text: str
    detail: str


def progress(view: RunView, status: str) -> Progress:
    """How far a run is, in words.  Steps count once there are any; before that, the phase."""
    text = sentence_start(view.phase) or "Starting"
    share = view.phase_done / view.phase_of if view.phase_of > 0 else None
    detail = amount(view.phase_done, view.phase_of, view.phase_unit)
    steps = bool(view.of)
    if status == "queued":
        return Progress(None, "Waiting for its turn", "")
    if status == "starting":
        return Progress(None, "Starting", "")
    if status == "running" and not steps:
        return Progress(share, text, detail)
    if steps:
        share = min(1.0, view.step / view.of)
        left = seconds_left(view)
        said = f"step {view.step:,} of {view.of:,}"
        if status == "running":
            inside = "" if view.phase in ("", "training") else f"{text}{f', {detail}' if detail else ''}"
            return Progress(share, inside or "Training", " · ".join(filter(None, (said, f"{duration(left)} left, done about {done_about(view)}" if left else ""))))
        return Progress(1.0 if status == "finished" else share, STATUS[status][0], said)
    return Progress(1.0 if status == "finished" else 0.0, STATUS[status][0], "")


def amount(done: float, of: float, unit: str) -> str:
    """3 of 24 pictures, 120 MB of 1.2 GB, or ""."""
    if of <= 0:
        return ""
    if unit == "%":
        return f"{100 * done / of:.0f} %"
    if unit in ("bytes", "B"):
        return f"{size(done)} of {size(of)}"
    return f"{done:,.0f} of {of:,.0f} {unit}".rstrip()


def went_on(view: RunView) -> bool:
    """Whether it was begun more than once, so that from its beginning to its end there may be pauses."""
    return view.first_t < view.started_t


def ending(view: RunView, status: str, why: str) -> tuple[str, str]:
    """(class, sentence) of how a run stands when it does not run; ("", "") while it does."""
    saved = max((step for step, _ in view.checkpoints), default=0)
    if status == "finished":
        took = duration(view.last_t - view.first_t) + ", pauses included" * went_on(view)
        return "ez-ok", view.summary or f"Done after {view.step:,} steps in {took}. The LoRA was loaded again and checked."
    if status == "stopped":
        return "", f"Stopped at step {view.step:,} — everything is saved." if view.step else "Stopped before the first step."
    if status == "interrupted":
        return "ez-warn", why or f"Training ended without a word. Everything up to step {saved:,} is saved."
    if status == "failed":
        return "ez-bad", why or view.error or "The run failed."
    if status == "queued":
        return "", "It starts by itself as soon as the machine is free."
    return "", ""


def next_step(view: RunView, status: str, left_at: str = "") -> str:
    """What to do about a run that ended early, or "".  left_at: the other machine, where something of it runs or lies."""
    if status == "failed" and view.hint:
        return view.hint
    if status in RESUMABLE:
        return resume_says(view, left_at)
    return ""


def resume_says(view: RunView, left_at: str = "") -> str:
    """Where Resume would go on, said before it is pressed."""
    if left_at:
        return f"Resume finds it again on {left_at}."
    saved = max((step for step, _ in view.checkpoints), default=0)
    if not saved:
        return "Resume starts again from step 0: no checkpoint was written yet."
    if saved < view.step:
        return f"Resume goes on at step {saved:,}, the last checkpoint; the {count(view.step - saved, 'step')} after it are repeated."
    return f"Resume goes on at step {saved:,}."


def smoothed(losses: tuple[tuple[int, float, float], ...], share: float = 0.04) -> list[float]:
    """A running average of the losses over about `share` of the run, without the bias of its start."""
    if not losses:
        return []
    keep = 1 - 1 / max(1.0, len(losses) * share)
    out, average, weight = [], 0.0, 0.0
    for _, loss, _ in losses:
        average = keep * average + (1 - keep) * loss
        weight = keep * weight + (1 - keep)
        out.append(average / weight)
    return out


def thinned(rows: list[tuple], most: int = 400) -> list[tuple]:
    """At most `most` rows, evenly spread, first and last kept."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def best_checkpoint(steps: list[int], validations: tuple[tuple[int, float], ...]) -> tuple[int, str]:
    """(the checkpoint to use, why).  steps: those on disk, rising.  (0, "") when there is none."""
    if not steps:
        return 0, ""
    last = steps[-1]
    if not validations:
        return last, (
            "The last one is the usual choice. No pictures were held out, so there is no validation loss to judge by: "
            "compare the samples, and take an earlier one if they began to look alike."
        )
    judged = {step: min(validations, key=lambda v, s=step: abs(v[0] - s)) for step in steps}
    best = min(steps, key=lambda step: (judged[step][1], step))
    loss, end = judged[best][1], judged[last][1]
    if best == last:
        return best, f"Its validation loss, {number(loss)}, is the lowest: the pictures that were held out are still understood better and better."
    return best, (
        f"The lowest validation loss, {number(loss)}, was here; by step {last:,} it had risen to {number(end)}: "
        "later ones begin to learn the pictures by heart."
    )


@lru_cache(maxsize=64)
def _advised(measures, bases, steps: tuple[int, ...]) -> Advice:
    return advising.advise(measures, bases, steps, POINTS)


def advice(view: RunView, steps: Sequence[int]) -> Advice:
    """What a run's measurements advise.  steps: of the checkpoints on disk, rising."""
    return _advised(view.measures, view.bases, tuple(steps))


def advised(view: RunView, steps: Sequence[int]) -> tuple[int, str]:
    """(the checkpoint to use, why); of a run that an earlier Easel trained by its validation loss alone.  (0, "") when there is none."""
    if not steps:
        return 0, ""
    if not view.measures:
        return best_checkpoint(list(steps), view.validations)
    told = advice(view, steps)
    return told.step, told.said[0]


def sentence_start(text: str) -> str:
    """`text` with its first letter large."""
    return text[:1].upper() + text[1:]


def paragraphs(text: str) -> str:
    """Plain text as HTML, line breaks kept."""
    return escape(text.strip()).replace("\n", "<br>")
