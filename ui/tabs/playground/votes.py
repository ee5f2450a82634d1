"""Votes between two pictures, kept in the run that they are about: votes.jsonl, one line each."""

from __future__ import annotations

import time

from training.plan.ranking import Rank, ranking
from training.plan.shots import FINAL
from training.runs import journal, notes
from training.runs.events import RunView
from training.runs.run import Run

FILE = "votes.jsonl"
MOST = 5000  # votes that are looked at, the newest


def add(run: Run, id: str, one: str, other: str, won: float, prompt: str, seed: int) -> None:
    """A vote is on record.  id: of the pair.  won: 1 where the first is better, 0 where the other is, 0.5 where neither."""
    journal.append(run.path / FILE, {"t": round(time.time(), 3), "id": id, "one": one, "other": other, "won": won, "prompt": prompt[:2000], "seed": seed})


def step_of(run: Run, label: str) -> str:
    """The step that a checkpoint of a grid was written at: the result may be another one's tomorrow."""
    return str(run.chosen_step() or run.job().get("steps")) if label == FINAL else label


def of(run: Run) -> list[tuple[str, str, float]]:
    """[(one, other, what the first won)]; what is no vote is left out."""
    records, _, _ = journal.read(run.path / FILE)
    found = [(r.get("one"), r.get("other"), r.get("won")) for r in records[-MOST:]]
    return [(a, b, float(won)) for a, b, won in found if isinstance(a, str) and isinstance(b, str) and len(a + b) < 60 and not isinstance(won, bool) and won in (0, 0.5, 1)]


def voted(run: Run) -> set[str]:
    """The ids of the pairs that were voted on."""
    return {str(r.get("id")) for r in journal.read(run.path / FILE)[0][-MOST:]}


def ranks(run: Run, view: RunView) -> list[Rank]:
    """The checkpoints that stood in votes, or whose samples were rated on the Results page, the best first."""
    last = str(view.result_step or view.of) if view.result else ""
    name = lambda label: FINAL if label == last else label
    return ranking([(name(one), name(other), won) for one, other, won in (*of(run), *notes.preferred(view, notes.of(run)))])
