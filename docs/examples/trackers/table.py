"""A tracker: the curves of a run as a table that any program opens, a line a step."""

from __future__ import annotations

import csv
from pathlib import Path

TITLE = "Table"
BLURB = "Curves as a CSV file on this computer."
NEEDS: dict[str, str] = {}
ENVIRONMENT = ()
PLACE = "a folder for the files; empty: tracked/table in Easel's home"

EASEL_API = 1


def leaves(place: str) -> str:
    """Nothing."""
    return ""


def ready(place: str) -> str:
    """Always."""
    return ""


def begin(track):
    """A file of the run's name, gone on with where it is there."""
    return Table((Path(track.place) if track.place else track.folder) / f"{track.run}.csv")


class Table:
    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.id = self.where = str(path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)

    def numbers(self, step, t, values):
        for name, value in values.items():
            self._rows.writerow([step, f"{t:.3f}", name, value])

    def picture(self, step, t, name, png, caption):
        self._rows.writerow([step, f"{t:.3f}", name, caption])

    def flush(self):
        self._file.flush()

    def end(self, status):
        self._file.close()
