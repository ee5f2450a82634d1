"""A job that was started: what it says, what it made, and how to end it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.away import state
from training.config import JobConfig
from training.home import Home
from training.plan.cards import named
from training.plan.going import Going
from training.plan.hardware import machine
from training.runs import origin, outlook, prompting, searching, supervisor
from training.runs import run as folders
from training.runs.events import RunView

from .place import Place, at

LOOK_S = 0.2
LEAVE_S = 10.0  # that a worker may take after its last word
ALIVE = ("queued", "running")


class RunFailed(RuntimeError):
    """A run that was waited for has failed or was cut off; the message says why, and what to do."""

    def __init__(self, run: Run):
        self.run = run
        super().__init__(f"{run.title}: {run.why}")


@dataclass(frozen=True)
class Run:
    """One run of a home.  It keeps nothing: each answer is read from the run's folder."""

    id: str
    home: Home

    @property
    def folder(self) -> folders.Run:
        """The run as the rest of Easel knows it: checkpoints, log, card.  Raises ValueError once it is deleted."""
        return folders.Run.open(self.home.outputs, self.id)

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.home.outputs / self.id

    @property
    def title(self) -> str:
        """The name that it was given."""
        return self.folder.title

    @property
    def kind(self) -> str:
        """What it does: train, caption, generate, …"""
        return self.folder.kind

    @property
    def config(self) -> JobConfig:
        """The whole job."""
        return self.folder.config()

    @property
    def status(self) -> str:
        """queued, running, finished, stopped, failed or interrupted."""
        return self.folder.status()

    @property
    def why(self) -> str:
        """Why it failed or was cut off, and what to do; "" for any other."""
        return self.folder.why()

    @property
    def view(self) -> RunView:
        """Everything that has happened, folded: step, losses, samples, warnings."""
        return self.folder.view()

    @property
    def going(self) -> Going:
        """Whether a training goes well, from what was measured: state, a sentence, and what to change; state is "" where nothing can be said."""
        return outlook.of(self.folder, self.view)

    @property
    def result(self) -> Path | None:
        """The finished .safetensors, or the folder of a whole model; None before, and for jobs that make no such thing."""
        return self.folder.result()

    @property
    def samples(self) -> list[Path]:
        """The pictures that it has drawn."""
        return self.folder.samples()

    def events(self, follow: bool = True) -> Iterator[dict[str, Any]]:
        """What it says, from its beginning on, as one mapping an event; with follow until it has ended, else what is there now."""
        folder, cursor = self.folder, 0
        while True:
            # asked before the look, so that nothing said in between is lost; in this order, as a worker that is no longer starting has said that it runs
            alive = supervisor.starting(folder) or folder.status() in ALIVE
            found, cursor = folder.events(cursor)
            yield from found
            if not (alive and follow):
                return
            if not found:
                self._look_again()

    def wait(self, timeout_s: float | None = None) -> Run:
        """The run, once it is finished or stopped and its worker is gone.  Raises RunFailed where it failed or was cut off, TimeoutError where it goes on."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        folder = self.folder
        while (status := folder.status()) in ALIVE or supervisor.starting(folder) or folder.locked():
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"'{self.title}' is still {status} after {timeout_s:g} s; it goes on by itself")
            self._look_again()
        if status in ("failed", "interrupted"):
            raise RunFailed(self)
        return self

    def stop(self) -> None:
        """Ask it to end after this step, with everything saved; out of the queue it goes at once.  Raises ValueError where it is not alive."""
        self.folder.command("stop")

    def save(self) -> None:
        """Ask for a checkpoint after this step.  Raises ValueError where it is not running."""
        self.folder.command("save")

    def sample(self, prompt: str = "") -> None:
        """Ask for a picture after this step; without a prompt all of the sample prompts.  Raises ValueError where it is not running."""
        self.folder.command("sample", prompt=prompt.strip())

    def prompts(self, lines: Sequence[str]) -> None:
        """Other sample prompts from its next step on, all of them; those that stay keep their rows.  Raises ValueError where it is not running."""
        self.folder.command("prompts", lines=prompting.checked(lines))


    def weigh(self, picture: str, weight: float) -> None:
        """From the next step on a picture, called dataset/picture, counts so much; 0 sets it aside.  Raises ValueError where it is not running."""
        self.folder.command("weigh", picture=picture, weight=weight)

    def resume(self, accept: bool = False, gpu: str = "") -> Run:
        """Go on from the newest checkpoint.  accept: although pictures or base model changed, or it was made elsewhere.  Raises ValueError."""
        folder = self.folder
        if gpu:
            folder.wish_for_card(card(self.home, gpu))
        if accept:
            folder.accept_changes()
            origin.adopt(folder.path)
        supervisor.start(folder, self.home)
        return self

    def delete(self, left_there: bool = False) -> None:
        """Remove its folder with all that it made, for good.  left_there: also where something that was sent to another machine is still there.

        Raises ValueError while it is running, and without left_there where nobody here would know any more of what is there.
        """
        if not left_there and state.remembered(self.path):
            raise ValueError(f"what '{self.title}' sent away is still there and may run and cost money; resume it and then stop it first, or say left_there")
        folder, until = self.folder, time.monotonic() + LEAVE_S
        while folder.status() not in ALIVE and folder.locked() and time.monotonic() < until:  # it has said its last word, and is on its way out
            time.sleep(LOOK_S)
        folders.delete(folder)

    def _look_again(self) -> None:
        if self.folder.status() == "queued":
            supervisor.tick(self.home)  # without the app nobody else moves the queue
        time.sleep(LOOK_S)


def runs(kind: str = "", home: Place = None) -> list[Run]:
    """All runs, or those of one kind, the newest first."""
    place = at(home)
    return [Run(run.id, place) for run in folders.list_runs(place.outputs, {kind} if kind else None)]


def find_runs(search: str, home: Place = None) -> list[Run]:
    """The trainings that a line of words and tag:, preset:, family:, dataset:, status:, after:, before: finds, the newest first.  Raises ValueError."""
    place = at(home)
    if wrong := searching.problem(search):
        raise ValueError(wrong)
    return [Run(run.id, place) for run in searching.find(folders.list_runs(place.outputs, {"train"}), search)]


def open_run(id: str, home: Place = None) -> Run:
    """The run of that id.  Raises ValueError where there is none."""
    run = Run(id, at(home))
    return Run(run.folder.id, run.home)


def card(home: Home, text: str) -> str:
    """The UUID of the graphics card that a person names by number, UUID or part of its name; "" for any.  Raises ValueError."""
    return named(text, machine(home.root).cards).uuid if text else ""
