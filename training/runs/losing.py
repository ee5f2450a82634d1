"""Which runs a dataset's removal takes something from: said before it is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from ..data.folder import Folder, about
from ..data.versions import runs as trained_on
from ..home import Home
from .run import list_runs

GOES_ON = ("queued", "running", "stopped", "failed", "interrupted")


@dataclass(frozen=True)
class Losing:
    """One run.  status: of run.STATUSES."""

    id: str
    title: str
    status: str

    @property
    def told(self) -> str:
        """What it loses."""
        if self.status == "finished":
            return "cannot be trained longer or exactly again"
        return "is at work on it" if self.status == "running" else "cannot begin" if self.status == "queued" else "cannot be resumed"


def of(folder: Folder, home: Home) -> list[Losing]:
    """The runs that were or are to be trained on a dataset, those that would go on first, then the newest."""
    noted = {row["run"] for row in trained_on(folder)}
    names = {folder.name, *(was for was in about(folder.meta).get("was", []) if not (home.datasets / was).is_dir())}
    found = []
    for run in list_runs(home.outputs):
        try:
            if run.id not in noted and not names & _names(run.job()):
                continue
            if (status := run.status()) in ("queued", "running") or run.kind == "train":
                found.append(Losing(run.id, run.title, status))
        except (ValueError, OSError):
            continue  # it cannot be read, so it cannot be resumed either
    return sorted(found, key=lambda one: one.status not in GOES_ON)


def _names(job: dict) -> set[str]:
    """The datasets that a job of any kind reads, as it names them."""
    data, concept = job.get("data"), job.get("concept")
    rows = data.get("datasets") if isinstance(data, dict) else None
    named = [row.get("name") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    named += [concept.get("low")] if isinstance(concept, dict) else []
    return {name for name in [*named, job.get("dataset")] if isinstance(name, str) and name}
