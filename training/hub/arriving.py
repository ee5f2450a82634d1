"""A dataset of the Hub on its way into one of ours: fetched into its hidden folder, then taken in like any other files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..data import importing, parquet, tars
from ..data.datasets import Dataset, Verdict, counted
from ..data.zips import BEYOND
from ..names import folder_name
from .client import Cancelled
from .collect import MANY_BYTES, Found, Given, fetch

FETCHING, CHECKING = "Downloading", "Checking pictures"
Tell = Callable[[str, int, int, str], None]  # what is done, so much of it (bytes, then pictures), of, the file in hand


def take(ds: Dataset, found: Found, token: Given, tell: Tell, stop: Callable[[], bool], endpoint: str = "") -> list[Verdict]:
    """A verdict for every file.  What arrived is kept where the way broke, for the next time, and is gone after Cancelled.

    An archive that was not taken whole is kept too, and a verdict says where: it may have been hours on its way.

    Raises Cancelled, HubError and ValueError in plain words.
    """
    if ds.in_place:
        raise ValueError(f"{ds.path} is used in place; make a dataset first, and bring the one of the Hub into that")
    into = ds.meta / "hub" / folder_name(f"{found.id.replace('/', '--')}-{found.revision[:12]}")
    _clear_others(into, found.revision[:12])
    try:
        fetch(found, into, token, lambda done, of, name: tell(FETCHING, done, of, name), stop, endpoint)
    except Cancelled:
        shutil.rmtree(into, ignore_errors=True)
        raise
    verdicts = importing.take_folder(ds, into, lambda done, of, name: tell(CHECKING, done, of, name))
    kept = _archives_left(into, verdicts)
    for path in into.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    if not kept:
        shutil.rmtree(into, ignore_errors=True)
        return verdicts
    said = f"{counted(len(kept), 'archive')} not taken whole: kept in {into}; unpack what is missing, add it as a folder, then delete that; another revision takes its place"
    return [*verdicts, Verdict("", True, said, kind="folder")]


def _archives_left(into: Path, verdicts: list[Verdict]) -> set[Path]:
    """The archives among what was downloaded that were refused, or for which one archive was too large."""
    refused = [v for v in verdicts if v.kind == "archive" and not v.ok]
    names = {PurePosixPath(v.file).name for v in refused}
    beyond = any(v.reason.startswith(BEYOND) for v in refused)
    archives = [p for p in into.rglob("*") if p.is_file() and p.name.lower().endswith((".zip", *tars.SUFFIXES, parquet.SUFFIX))]
    return {p for p in archives if p.name in names or (beyond and p.stat().st_size > MANY_BYTES)}


def _clear_others(into: Path, revision: str) -> None:
    """Other revisions of the same dataset that did not arrive, or were not taken, whole: this one brings what they hold."""
    start = into.name.removesuffix(revision)
    for other in into.parent.glob("*") if start != into.name else ():
        if other != into and re.fullmatch(re.escape(start) + r"[0-9a-f]{12}", other.name):
            shutil.rmtree(other, ignore_errors=True)
