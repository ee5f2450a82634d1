"""A dataset of the Hub on its way into one of ours: fetched into its hidden folder, then taken in like any other files."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from ..data import importing
from ..data.datasets import Dataset, Verdict
from ..names import folder_name
from .client import Cancelled
from .collect import Found, fetch
from .secrets import Secret

FETCHING, CHECKING = "Downloading", "Checking pictures"
Tell = Callable[[str, int, int, str], None]  # what is done, so much of it (bytes, then pictures), of, the file in hand


def take(ds: Dataset, found: Found, token: Secret | None, tell: Tell, stop: Callable[[], bool], endpoint: str = "") -> list[Verdict]:
    """A verdict for every file.  What arrived is kept where the way broke, for the next time, and is gone after Cancelled.

    Raises Cancelled, HubError and ValueError in plain words.
    """
    if ds.in_place:
        raise ValueError(f"{ds.path} is used in place; make a dataset first, and bring the one of the Hub into that")
    into = ds.meta / "hub" / folder_name(f"{found.id.replace('/', '--')}-{found.revision[:12]}")
    try:
        fetch(found, into, token, lambda done, of, name: tell(FETCHING, done, of, name), stop, endpoint)
    except Cancelled:
        shutil.rmtree(into, ignore_errors=True)
        raise
    verdicts = importing.take_folder(ds, into, lambda done, of, name: tell(CHECKING, done, of, name))
    shutil.rmtree(into, ignore_errors=True)
    return verdicts
