"""Notes as one text: a line `file: what is on it` for each picture, in a file called notes.csv."""

from __future__ import annotations

from training.data.tables import Row

TITLE = "notes"
BLURB = "notes.csv with a line 'file: caption' for each picture."


def reads(name: str) -> bool:
    """Whether a file of this name may be one."""
    return name.lower() == "notes.csv"


def rows(text: str, name: str) -> list[Row] | None:
    """A row for each line; None where they are not notes, so that another format may have a look."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not all(": " in line for line in lines):
        return None
    return [Row(file, (caption,)) for file, caption in (line.split(": ", 1) for line in lines)]
