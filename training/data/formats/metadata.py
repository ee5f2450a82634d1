"""Hugging Face's imagefolder: metadata.jsonl or metadata.csv with a `file_name` and the columns beside it."""

from __future__ import annotations

from .. import tables

TITLE = "metadata of a Hugging Face imagefolder"
BLURB = "metadata.jsonl or metadata.csv beside the pictures: file_name, text, control pictures and masks."


def reads(name: str) -> bool:
    """Whether a file of this name may be one."""
    return name.lower() in ("metadata.jsonl", "metadata.csv")


def rows(text: str, name: str) -> list[tables.Row] | None:
    """A row for each file that is named.  Raises ValueError for one that is damaged, or has no column with file names."""
    values = tables.csv_rows(text) if name.lower().endswith(".csv") else tables.json_lines(text)
    found = tables.listed(values)
    if values and found is None:
        raise ValueError(f"has no column with file names and one with captions; its columns are {', '.join(list(values[0])[:8])}")
    return found or []
