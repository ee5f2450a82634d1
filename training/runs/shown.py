"""The samples of a run in the order in which they are looked at: a row a prompt, its pictures by step."""

from __future__ import annotations

from dataclasses import dataclass

from . import journal
from .events import RunView, fold
from .run import Run

SPONTANEOUS = 1000  # index of the first prompt that was asked for by hand; the fixed ones count from 0


@dataclass(frozen=True)
class Shot:
    """One sample picture."""

    step: int
    path: str
    seed: int


@dataclass(frozen=True)
class Row:
    """All pictures of one prompt, by step."""

    prompt: str
    shots: tuple[Shot, ...]
    strength: float | None = None  # of a slider
    index: int = 0  # by which its files are called
    since: int = 0  # from which step on there is such a prompt, where it came while the run went on

    @property
    def said(self) -> str:
        """The prompt, and for a slider at what strength."""
        return self.prompt if self.strength is None else f"{self.prompt}, strength {self.at_strength}"

    @property
    def at_strength(self) -> str:
        """Of a slider: +1, −0.5, 0."""
        return f"{self.strength:+g}".replace("-", "\N{MINUS SIGN}") if self.strength else "0"

    @property
    def key(self) -> tuple[int, str]:
        """By which it is known to notes.py."""
        return self.index, self.prompt

    def at(self, step: int) -> Shot | None:
        """Its picture of a step."""
        return next((shot for shot in self.shots if shot.step == step), None)


def rows(view: RunView, fixed: int = 0) -> list[Row]:
    """The prompts in their order, each with its pictures, a slider's at every strength; a prompt that was asked for once comes last.

    fixed: how many prompts the job has; those with a later place came while it went on.
    """
    at = dict(view.strengths)
    found: dict[tuple[int, str], dict[int, Shot]] = {}
    for step, index, prompt, path, seed in view.samples:
        found.setdefault((index, prompt), {})[step] = Shot(step, path, seed)
    strengths = len(set(at.values())) or 1
    came = {place: step for step, rows in reversed(view.prompts) for place, _ in rows if place >= fixed}
    made = []
    for (index, prompt), shots in sorted(found.items(), key=lambda item: item[0][0]):
        ordered = tuple(shots[s] for s in sorted(shots))
        made.append(Row(prompt, ordered, at.get(ordered[-1].path), index, came.get(index // strengths, 0) if index < SPONTANEOUS else 0))
    return made


def view_of(run: Run) -> RunView:
    """The samples and the prompts of a run, and nothing else of it: of a long journal no other line is looked into."""
    said = [record for kind in ("sample", "prompts") for record in reversed([*journal.backwards(run.events_path, f'"{kind}"'.encode())]) if record.get("kind") == kind]
    return fold(RunView(), said)


def fixed_of(job: dict) -> int:
    """How many sample prompts a job has."""
    sample = job.get("sample")
    prompts = sample.get("prompts") if isinstance(sample, dict) else None
    return len(prompts) if isinstance(prompts, list) else 0
