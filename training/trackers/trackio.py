"""Trackio: a database on this computer, shown by `trackio show`; or a private Space of the Hub, where one is named."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

TITLE = "Trackio"
BLURB = "Curves, settings and samples in a small database on this computer, shown by the program trackio; or in a private Space of yours."
NEEDS = {"trackio": "0.43.0"}
ENVIRONMENT = ("TRACKIO_", "HF_TOKEN")
PLACE = "a Space, owner/name, which is made private; empty: this computer only"


def leaves(place: str) -> str:
    """What leaves this computer; "" where nothing does."""
    return f"The run's name, settings, prompts, curves and samples go to the Space {place} of the Hub, which is private" if place else ""


def ready(place: str) -> str:
    """Why it cannot be used now; "" where it can."""
    if not place:
        return ""
    from huggingface_hub import get_token

    if place.count("/") != 1:
        return f"Trackio's place is {place!r}, but a Space is owner/name"
    return "" if os.environ.get("HF_TOKEN") or get_token() else "nobody is signed in to the Hub on this computer, which Trackio's Space needs; sign in with: hf auth login"


def begin(track):
    """Its own run of that name, gone on with.  Raises ValueError where the Space is one that everybody sees."""
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_WEBHOOK_URL"):
        os.environ.pop(name, None)  # only what is named here counts
    if track.place:
        _refuse_public(track.place)
    else:
        os.environ["HF_HUB_OFFLINE"] = "1"  # it would ask the Hub who you are
    import trackio

    name = track.id or track.run
    options = {"space_id": track.place, "private": True} if track.place else {}
    run = trackio.init(
        project=track.project, name=name, config=dict(track.config), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False, **options
    )  # fmt: skip
    return Run(trackio, run, name, f"https://huggingface.co/spaces/{track.place}" if track.place else f"this computer (trackio show --project {track.project})")


class Run:
    """One attempt's part of the run."""

    def __init__(self, trackio, run, id: str, where: str):
        self._trackio, self._run, self.id, self.where = trackio, run, id, where

    def numbers(self, step: int, t: float, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, t: float, name: str, png: bytes, caption: str) -> None:
        from PIL import Image

        self._run.log({name: self._trackio.Image(Image.open(io.BytesIO(png)), caption=caption)}, step=step)

    def flush(self) -> None:
        """Trackio's own thread writes by itself, every half second."""

    def end(self, status: str) -> None:
        self._run.finish()


def _refuse_public(space: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        found = HfApi().space_info(space, timeout=30)
    except RepositoryNotFoundError:
        return  # it is made, and private
    if not found.private:
        raise ValueError(f"the Space {space} can be seen by everybody; make it private in its settings, or name another one")
