"""RunView -> words and numbers for the page, in the language of whoever looks.  Whatever a person typed leaves here escaped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from html import escape

from training import clock, outside
from training.plan import advising, estimate
from training.plan.advising import Advice
from training.plan.validating import POINTS
from training.runs.events import RunView

from .language import N_, SOURCE, date, point, sentence_end, spoken, tr, trn
from .language.heard import heard

# status -> (word, class of its chip)
STATUS = {
    "queued": (N_("Waiting"), "ez-idle"),
    "starting": (N_("Starting"), "ez-run"),
    "running": (N_("Running"), "ez-run"),
    "finished": (N_("Finished"), "ez-ok"),
    "stopped": (N_("Stopped"), "ez-idle"),
    "failed": (N_("Failed"), "ez-bad"),
    "interrupted": (N_("Interrupted"), "ez-warn"),
}
RESUMABLE = ("stopped", "failed", "interrupted")
KILL_AFTER_S = 30.0  # a worker that has not stopped by then may be killed
# phases that a worker names in one word or makes of two, so that they are not found among the engine's sentences
PHASES = (N_("training"), N_("captioning"), N_("drawing"), N_("uploading"), N_("published"), N_("ready"), N_("reading captions"), N_("reading prompts"))
# what a worker counts -> how far it is in that
AMOUNTS = {
    "pictures": lambda done, n: trn("{done} of {n} picture", "{done} of {n} pictures", n, done=done),
    "steps": lambda done, n: trn("{done} of {n} step", "{done} of {n} steps", n, done=done),
    "captions": lambda done, n: trn("{done} of {n} caption", "{done} of {n} captions", n, done=done),
    "prompts": lambda done, n: trn("{done} of {n} prompt", "{done} of {n} prompts", n, done=done),
    "masks": lambda done, n: trn("{done} of {n} mask", "{done} of {n} masks", n, done=done),
    "layers": lambda done, n: trn("{done} of {n} layer", "{done} of {n} layers", n, done=done),
    "parts": lambda done, n: trn("{done} of {n} part", "{done} of {n} parts", n, done=done),
    "s": lambda done, n: tr("{done} of {of} s", done=done, of=n),
}


def duration(seconds: float) -> str:
    """12 s, 7 min, 1 h 20 min, 2 d 3 h."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return tr("{seconds} s", seconds=seconds)
    minutes = round(seconds / 60)
    if minutes < 60:
        return tr("{minutes} min", minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return tr("{hours} h {minutes} min", hours=hours, minutes=minutes) if minutes else tr("{hours} h", hours=hours)
    days, hours = divmod(hours, 24)
    return tr("{days} d {hours} h", days=days, hours=hours) if hours else tr("{days} d", days=days)


def about_duration(seconds: float) -> str:
    """40 s, 3 min, 2 h 10 min, 3 days: as exact as an estimate deserves; estimate.duration in the page's language."""
    if seconds < 90:
        return tr("{seconds} s", seconds=max(10, round(seconds / 10) * 10))
    minutes = round(seconds / 60)
    if minutes < 90:
        return tr("{minutes} min", minutes=minutes)
    if minutes < 600:
        return tr("{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60 // 10 * 10)
    hours = minutes / 60
    return tr("{hours} h", hours=round(hours)) if hours < 48 else trn("{n} day", "{n} days", round(hours / 24))


def size(size_bytes: float) -> str:
    """340 kB, 3.2 MB, 12 GB; powers of 1000, as file managers show them."""
    value = float(size_bytes)
    if value < 999.5:
        return trn("{n} byte", "{n} bytes", round(value))
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 10 else point(f"{value:.1f} {unit}")
    raise AssertionError


def gb(size_bytes: float) -> str:
    """12.3 GB, or 45 MB; estimate.gb in the page's language."""
    return point(estimate.gb(size_bytes))


def exact_size(size_bytes: int) -> str:
    """3.27 GB, to three digits; outside.size in the page's language."""
    return size(size_bytes) if size_bytes < 1000 else point(outside.size(size_bytes))


def number(value: float) -> str:
    """A measured number in four characters or so: 0.1423, 12.5, 1e-5."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        digits, _, power = f"{value:.1e}".partition("e")
        return point(f"{digits.rstrip('0').rstrip('.')}e{int(power)}")
    return point(f"{value:.4g}")


def when(t: float, now: float) -> str:
    """today 14:20, yesterday 09:05, 31 Jan 14:20, 31 Jan 2026."""
    then, today = datetime.fromtimestamp(t), datetime.fromtimestamp(now)
    days, time = (today.date() - then.date()).days, f"{then:%H:%M}"
    if days == 0:
        return tr("today {time}", time=time)
    if days == 1:
        return tr("yesterday {time}", time=time)
    if then.year != today.year:
        return f"{clock.day(then)} {then.year}" if spoken() == SOURCE else date(t, "yMMMd")
    return tr("{day} {time}", day=clock.day(then) if spoken() == SOURCE else date(t, "MMMd"), time=time)


def moment(t: float, now: float) -> str:
    """18:40; another day is named: tomorrow (Mon 30 Nov) 02:15, Wed 2 Dec 02:15.  clock.told in the page's language."""
    then, today = datetime.fromtimestamp(t), datetime.fromtimestamp(now)
    days, time = (then.date() - today.date()).days, f"{then:%H:%M}"
    if days == 0:
        return time
    day = clock.weekday(then) if spoken() == SOURCE else date(t, "MMMEd")
    return tr("tomorrow ({day}) {time}", day=day, time=time) if days == 1 else tr("{day} {time}", day=day, time=time)


def about(t: float, now: float) -> str:
    """moment(), no finer than it can be known; clock.about in the page's language."""
    return moment(clock.rounded(t, now), now)


def chip(status: str) -> str:
    """A small label with the status."""
    word, look = STATUS.get(status, (status, "ez-idle"))
    return f'<span class="ez-chip {look}"><i></i>{escape(tr(word))}</span>'


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
    return about(view.step_t + left_s, view.step_t) if left_s else ""


@dataclass(frozen=True)
class Progress:
    """What a bar shows.  share: 0 to 1, or None while the length is unknown."""

    share: float | None
    text: str
    detail: str


def progress(view: RunView, status: str) -> Progress:
    """How far a run is, in words.  Steps count once there are any; before that, the phase."""
    text = sentence_start(heard(view.phase)) or tr("Starting")
    share = view.phase_done / view.phase_of if view.phase_of > 0 else None
    detail = amount(view.phase_done, view.phase_of, view.phase_unit)
    steps = bool(view.of)
    if status == "queued":
        return Progress(None, tr("Waiting for its turn"), "")
    if status == "starting":
        return Progress(None, tr("Starting"), "")
    if status == "running" and not steps:
        return Progress(share, text, detail)
    if steps:
        share = min(1.0, view.step / view.of)
        left = seconds_left(view)
        said = tr("step {step} of {of}", step=view.step, of=view.of)
        if status == "running":
            inside = tr("Training") if view.phase in ("", "training") else tr("{doing}, {amount}", doing=text, amount=detail) if detail else text
            return Progress(share, inside, " · ".join(filter(None, (said, tr("{time} left, done about {moment}", time=duration(left), moment=done_about(view)) if left else ""))))
        return Progress(1.0 if status == "finished" else share, tr(STATUS[status][0]), said)
    return Progress(1.0 if status == "finished" else 0.0, tr(STATUS[status][0]), "")


def amount(done: float, of: float, unit: str) -> str:
    """3 of 24 pictures, 120 MB of 1.2 GB, or ""."""
    if of <= 0:
        return ""
    if unit == "%":
        return f"{100 * done / of:.0f} %"
    if unit in ("bytes", "B"):
        return tr("{size} of {of}", size=size(done), of=size(of))
    if unit in AMOUNTS:
        return AMOUNTS[unit](round(done), round(of))
    return tr("{done} of {of} {unit}", done=round(done), of=round(of), unit=heard(unit)).rstrip()  # a plugin's own unit, or none


def went_on(view: RunView) -> bool:
    """Whether it was begun more than once, so that from its beginning to its end there may be pauses."""
    return view.first_t < view.started_t


def ending(view: RunView, status: str, why: str) -> tuple[str, str]:
    """(class, sentence) of how a run stands when it does not run; ("", "") while it does."""
    saved = max((step for step, _ in view.checkpoints), default=0)
    if status == "finished":
        return "ez-ok", heard(view.summary) if view.summary else _done(view)
    if status == "stopped":
        return "", tr("Stopped at step {step} — everything is saved.", step=view.step) if view.step else tr("Stopped before the first step.")
    if status == "interrupted":
        return "ez-warn", heard(why) if why else tr("Training ended without a word. Everything up to step {step} is saved.", step=saved)
    if status == "failed":
        return "ez-bad", heard(why or view.error) or tr("The run failed.")
    if status == "queued":
        return "", tr("It starts by itself as soon as the machine is free.")
    return "", ""


def _done(view: RunView) -> str:
    took = duration(view.last_t - view.first_t)
    if went_on(view):
        return trn(
            "Done after {n} step in {time}, pauses included. The LoRA was loaded again and checked.",
            "Done after {n} steps in {time}, pauses included. The LoRA was loaded again and checked.", view.step, time=took,
        )  # fmt: skip
    return trn("Done after {n} step in {time}. The LoRA was loaded again and checked.", "Done after {n} steps in {time}. The LoRA was loaded again and checked.", view.step, time=took)


def next_step(view: RunView, status: str, left_at: str = "") -> str:
    """What to do about a run that ended early, or "".  left_at: the other machine, where something of it runs or lies."""
    if status == "failed" and view.hint:
        return heard(view.hint)
    if status in RESUMABLE:
        return resume_says(view, left_at)
    return ""


def resume_says(view: RunView, left_at: str = "") -> str:
    """Where Resume would go on, said before it is pressed."""
    if left_at:
        return tr("Resume finds it again on {machine}.", machine=left_at)
    saved = max((step for step, _ in view.checkpoints), default=0)
    if not saved:
        return tr("Resume starts again from step 0: no checkpoint was written yet.")
    if saved < view.step:
        return trn(
            "Resume goes on at step {step}, the last checkpoint; the {n} step after it is repeated.",
            "Resume goes on at step {step}, the last checkpoint; the {n} steps after it are repeated.", view.step - saved, step=saved,
        )  # fmt: skip
    return tr("Resume goes on at step {step}.", step=saved)


def best_checkpoint(steps: list[int], validations: tuple[tuple[int, float], ...]) -> tuple[int, str]:
    """(the checkpoint to use, why).  steps: those on disk, rising.  (0, "") when there is none."""
    if not steps:
        return 0, ""
    last = steps[-1]
    if not validations:
        return last, tr(
            "The last one is the usual choice. No pictures were held out, so there is no validation loss to judge by: "
            "compare the samples, and take an earlier one if they began to look alike."
        )
    judged = {step: _nearest(validations, step) for step in steps}
    best = min(steps, key=lambda step: (judged[step][1], step))
    loss, end = number(judged[best][1]), number(judged[last][1])
    if best == last:
        return best, tr("Its validation loss, {loss}, is the lowest: the pictures that were held out are still understood better and better.", loss=loss)
    return best, tr(
        "The lowest validation loss, {loss}, was here; by step {step} it had risen to {end}: later ones begin to learn the pictures by heart.",
        loss=loss, step=last, end=end,
    )  # fmt: skip


def _nearest(validations: Sequence[tuple[int, float]], step: int) -> tuple[int, float]:
    """The measurement nearest to a step, the earlier one of two.  validations: rising, and not empty."""
    at = bisect_left(validations, (step,))
    return min(validations[max(0, at - 1) : at + 1], key=lambda found: abs(found[0] - step))


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
    return told.step, heard(told.said[0])


def sentence_start(text: str) -> str:
    """`text` with its first letter large."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """`text`, which has neither, with its first letter large and a sentence's end."""
    return sentence_start(text) + sentence_end()


def paragraphs(text: str) -> str:
    """Plain text as HTML, line breaks kept."""
    return escape(text.strip()).replace("\n", "<br>")
