"""Lists of pictures and their captions: JSON Lines of musubi-tuner, diffusion-pipe and others, and tables with a line of names above."""

from __future__ import annotations

from .. import tables

TITLE = "list of pictures with their captions"
BLURB = "A .jsonl, .csv or .tsv with a file and a caption in each line, for example captions.csv or musubi-tuner's JSONL."


def reads(name: str) -> bool:
    """Whether a file of this name may be one."""
    return name.lower().endswith((".jsonl", ".csv", ".tsv"))


def rows(text: str, name: str) -> list[tables.Row] | None:
    """A row for each file that is named; None for a list of something else."""
    values = tables.json_lines(text) if name.lower().endswith(".jsonl") else tables.csv_rows(text)
    return tables.listed(values)
