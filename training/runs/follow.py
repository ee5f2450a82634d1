"""A run, live in a terminal: its events as lines, its progress as one line that is redrawn."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from ..home import COMMAND, Home
from . import outlook, queueing, supervisor
from .events import ENDINGS, RunView, fold
from .run import Run

LOOK_S = 0.2
PLAIN_GAP_S = 5.0  # where the output is a file, progress is a line every 5 s


def follow(run: Run, home: Home, cursor: int = 0, out: TextIO | None = None) -> str:
    """The status in the end, after the run's events from byte `cursor` on have been shown; "detached" if the user left.

    Ctrl-C asks the worker to stop; a second one leaves it alone.  A queued run is started when its turn comes.
    """
    screen = _Screen(out or sys.stdout)
    state = ""
    view = fold(RunView(), run.events()[0]) if cursor else RunView()
    asked, waiting = False, ""
    while True:
        try:
            events, cursor = run.events(cursor)
            for event in events:
                view = fold(view, [event])
                screen.event(event, view)
                if event["kind"] in ("pictures", "validation") and (answer := outlook.of(run, view)).state not in ("", "early", state):
                    state = answer.state
                    screen.line(f"how it goes: {answer.text}")
            status = run.status()
            if status not in ("queued", "running"):
                events, cursor = run.events(cursor)
                for event in events:
                    screen.event(event, view := fold(view, [event]))
                break
            if status == "queued":
                why = queueing.why_held(home, run) or "for the run before it to end"
                if why != waiting:
                    screen.line(f"waiting {why}" if why.startswith("for ") else f"waiting: {why}")
                waiting = why
                supervisor.tick(home)
            time.sleep(LOOK_S)
        except KeyboardInterrupt:
            if asked:
                screen.line(f"Left alone; it goes on by itself. Watch it in the app, or with: {COMMAND} runs (id {run.id})")
                return "detached"
            asked = True
            screen.line("Stopping after this step and saving. Ctrl-C again leaves without waiting.")
            try:
                run.command("stop")
            except ValueError:  # it ended by itself in this very moment
                continue
    if status in ("failed", "interrupted"):
        screen.line(f"{status}: {run.why()} [{run.error_kind().code}]")
    screen.close()
    return status


def progress(view: RunView) -> str:
    """The one line that says where the run is."""
    if view.losses and view.step and view.phase not in ("finished", "stopped", "failed") and view.step_t >= view.phase_t:
        loss, lr = view.losses[-1][1:]
        text = f"step {view.step}/{view.of}  loss {loss:.4f}  lr {lr:.1e}"
        done = view.step - view.first_step
        if done > 0:
            step_s = (view.step_t - view.first_step_t) / done
            text += f"  {step_s:.2f} s/step  {_duration((view.of - view.step) * step_s)} left"
        return text
    of = f" {view.phase_done:g}/{view.phase_of:g}" if view.phase_of else ""
    return f"{view.phase}{of} {view.phase_unit}".strip()


@dataclass
class _Screen:
    out: TextIO
    shown: str = ""  # the line that is redrawn
    last: str = ""
    unsaid: str = ""  # where the output is a file: progress that its gap has kept back
    plain_t: float = 0.0
    said: set[str] = field(default_factory=set)

    def event(self, event: dict, view: RunView) -> None:
        kind = event["kind"]
        if kind == "started":
            self.line(f"attempt {view.attempt} on {view.device or 'this computer'} (process {view.pid})")
        elif kind in ("phase", "step"):
            self.progress(progress(view), new=kind == "phase" and view.phase not in self.said)
            self.said.add(view.phase)
        elif kind == "validation":
            beside = "".join(f", {word} {event[name]:.4g}" for name, word in (("base", "the base model alone"), ("forgot", "moved from the base")) if isinstance(event.get(name), float))
            self.line(f"validation loss {event.get('loss')} at step {event.get('step')}{beside}")
        elif kind == "sample":
            self.line(f"sample: {event.get('path')}")
        elif kind == "checkpoint":
            self.line(f"saved: {event.get('path')}")
        elif kind == "item" and event.get("status") != "done":
            self.line(f"{event.get('id')}: {event.get('status')} {event.get('text')}".rstrip())
        elif kind == "warning":
            self.line(f"warning: {event.get('text')}")
        elif kind in ("milder", "mended"):
            self.line(f"goes on by itself: {event.get('said')}")
        if kind in ENDINGS and self.unsaid:
            self.line(self.unsaid)
        if kind == "finished":
            self.line(" ".join(f"finished: {view.summary} {view.result}".split()))
        elif kind == "stopped":
            self.line(f"stopped at step {view.step}" if view.of else "stopped")

    def progress(self, text: str, new: bool) -> None:
        if text == self.last:
            return
        self.last = text
        if self.out.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.out.write("\r" + text[:width].ljust(min(width, len(self.shown))))
            self.shown = text[:width]
            self.out.flush()
        elif new or time.monotonic() - self.plain_t >= PLAIN_GAP_S:
            self.plain_t = time.monotonic()
            self.line(text)
        else:
            self.unsaid = text

    def line(self, text: str) -> None:
        self.out.write(("\r" + " " * len(self.shown) + "\r" if self.shown else "") + text + "\n")
        self.shown = self.unsaid = ""
        self.out.flush()

    def close(self) -> None:
        if self.shown:
            self.out.write("\n")
        self.shown = ""


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
