"""Which sample prompts a run draws at which step: those of its job, until they are changed while it runs.

A prompt has a place, a number that it keeps for good: its pictures' file names and its seed go by that, so a prompt that was left out and comes
back goes on where it was, and another one never takes its place.  A change is an event and holds from its step on: a resumed run, which may
repeat steps of before, draws at each the prompts that it drew there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ..config import SamplePart
from . import journal
from .events import MOST_PLACES, RunView, fold
from .run import Run

Rows = tuple[tuple[int, str], ...]  # (place, the line as it was typed)
# of MOST_PLACES: a slider draws each at five strengths, and from 1000 on samples are those that were asked for by hand
MOST_CHARS = 2000
MOST = next(m.max_length for m in SamplePart.model_fields["prompts"].metadata if hasattr(m, "max_length"))


@dataclass(frozen=True)
class Standing:
    """The prompts of a run over its steps.  first: of its job.  changes: (from which step on, the prompts), steps rising."""

    first: Rows
    changes: tuple[tuple[int, Rows], ...] = ()

    @property
    def now(self) -> Rows:
        """Those that were wished last."""
        return self.changes[-1][1] if self.changes else self.first

    def at(self, step: int) -> Rows:
        """Those that are drawn at a step."""
        return next((rows for begins, rows in reversed(self.changes) if begins <= step), self.first)

    def lines(self) -> list[str]:
        """Every line that was ever wished, each once."""
        return list(dict.fromkeys(line for _, line in self.every()))

    def every(self) -> Rows:
        """Every (place, line) that was ever wished, each once."""
        return tuple(dict.fromkeys(row for rows in (self.first, *(rows for _, rows in self.changes)) for row in rows))

    def since(self, place: int) -> int:
        """From which step on there is the prompt of a place; 0 for one of the job."""
        if any(place == p for p, _ in self.first):
            return 0
        return next((begins for begins, rows in self.changes if any(place == p for p, _ in rows)), 0)

    def changed(self, step: int, lines: Sequence[str]) -> Standing:
        """With these lines from a step on.  Raises ValueError where there were too many different ones."""
        known: dict[str, list[int]] = {}
        for rows in (self.first, *(rows for _, rows in self.changes)):
            for place, line in rows:
                if place not in known.setdefault(line, []):
                    known[line].append(place)
        fresh = max((place for places in known.values() for place in places), default=-1) + 1
        rows = []
        for line in lines:
            if places := known.get(line):
                rows.append((places.pop(0), line))
            else:
                rows.append((fresh, line))
                fresh += 1
        if fresh > MOST_PLACES:
            raise ValueError(f"the sample prompts of this run were changed too often: it keeps {MOST_PLACES} different ones apart. Bring back one of before, or draw with Sample now")
        return dataclasses.replace(self, changes=(*(c for c in self.changes if c[0] < step), (step, tuple(rows))))


def of_lines(lines: Sequence[str]) -> Rows:
    """The prompts of a job in their places."""
    return tuple(enumerate(lines))


def of_view(lines: Sequence[str], view: RunView) -> Standing:
    """The prompts of a run.  lines: of its job."""
    return Standing(of_lines(lines), view.prompts)


def of_run(run: Run, lines: Sequence[str]) -> Standing:
    """The same, from the run's events; looks at no others of them."""
    said = [record for record in journal.backwards(run.events_path, b'"prompts"') if record.get("kind") == "prompts"]
    return of_view(lines, fold(RunView(), reversed(said)))


def checked(lines: Sequence[str]) -> list[str]:
    """The lines as a run takes them: trimmed, none empty, none twice.  Raises ValueError."""
    found = list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    if not found:
        raise ValueError("at least one sample prompt is needed; type one a line")
    if len(found) > MOST:
        raise ValueError(f"these are {len(found)} sample prompts; a run draws {MOST} at most. Leave some out")
    if longest := next((line for line in found if len(line) > MOST_CHARS), ""):
        raise ValueError(f"a sample prompt has {len(longest)} characters; {MOST_CHARS} is the most. Shorten it")
    return found
