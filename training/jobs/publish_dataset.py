"""Publish a dataset to the Hugging Face Hub as an imagefolder with a card: one commit, repeatable."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, field_validator

from ..config import JobConfig
from ..hub.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..hub.push import Planned

TITLE = "Publish a dataset to the Hub"
NEEDS_TOKEN = True
USES_GPU = False
NAMED = 3  # pictures that a sentence names
TEXTS = (".md", ".jsonl", ".txt")
MADE = "made"  # folder of the run with the pictures that are made for the push, until it ends


class Config(JobConfig):
    """One push of a dataset, complete."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a token pasted into the wrong box must not come back in an error

    kind: Literal["publish_dataset"] = Field("publish_dataset", description="Job kind.")
    dataset: str = Field(min_length=1, max_length=1000, description="Name of a dataset, or the path of a folder of pictures.")
    repo_id: str = Field(min_length=1, max_length=200, description="Repository on the Hub: 'name', or 'namespace/name'.")
    private: bool = Field(True, description="Make the repository private: only you, and those you invite, see it.")
    licence: str = Field("", max_length=60, pattern=r"^[a-z0-9][a-z0-9.\-]*$|^$", description="Licence of the pictures as the Hub names it, such as cc-by-4.0; empty names none.")
    about: str = Field("", max_length=2000, description="What its card says of the dataset, in your words.")
    message: str = Field("Publish a dataset", min_length=1, max_length=500, description="Message of the commit.")
    endpoint: str = Field("", max_length=500, description="Address of the Hub; empty means huggingface_hub's own.")

    @field_validator("repo_id")
    @classmethod
    def _name_holds(cls, repo_id):
        from ..hub.publish import check_repo_id

        return check_repo_id(repo_id)

    @field_validator("about", "message", "repo_id", "endpoint")
    @classmethod
    def _no_token(cls, value):
        if mask(str(value)) != str(value):
            raise ValueError("holds something that looks like a Hub token; take it out, and revoke that token if others could see it")
        return value


def run(config: Config, ctx) -> None:
    """Pushes and emits `finished`.  Raises ValueError and HubError in plain words, Stopped when Stop was pressed."""
    from ..data import datasets, exporting
    from ..files import write_atomic
    from ..hub import publish as hub
    from ..hub.datacard import dataset_card
    from ..runs.context import Stopped

    token = ctx.secrets.get("hf_token") or hub.find_token()[0]
    if not token:
        raise hub.HubError("Not signed in to the Hub.", "Paste a token with write access on the Publish tab, then try again.", 401)
    ds = datasets.resolve(ctx.home, config.dataset)
    ctx.phase("preparing the files")
    pictures = exporting.check(ds, "imagefolder")
    _look_for_places(config, ctx, pictures)
    card = dataset_card(ds.title, pictures, config.licence, config.about, config.repo_id)
    made = ctx.path(MADE)
    shutil.rmtree(made, ignore_errors=True)  # of a push that was cut off
    try:
        files = [hub.Planned(card.encode(), "README.md"), *_planned(exporting.entries(ds, "imagefolder", pictures), made, ctx)]
        for item in files:
            if isinstance(item.local, bytes) and mask(text := item.local.decode()) != text:
                raise ValueError("a caption, or the name of the dataset, holds something that looks like a Hub token; take it out before it is published")
        done = hub.push(
            files, config.repo_id, token, private=config.private, message=config.message, kind="dataset", endpoint=config.endpoint, watcher=_Telling(ctx)  # type: ignore[arg-type]
        )
    except hub.Cancelled:
        raise Stopped(0) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _tell_of_others(config, ctx, token, done, {item.remote for item in files})
    write_atomic(ctx.path("README.md"), card.encode())
    ctx.phase("published")
    kind = "private" if done.private else "public"
    already = "" if done.new_commit else "; everything was there already"
    ctx.emit("finished", path="README.md", summary=f"{done.url} ({len(pictures)} pictures, {kind}, commit {done.commit[:8]}{already})")


def _planned(entries: Iterable[tuple[str, Path | bytes]], made: Path, ctx) -> Iterator[Planned]:
    """The files of the push.  A picture that is made for it lies in the folder `made`: thousands of them do not fit into memory."""
    from ..hub.publish import Planned
    from ..runs.context import Stopped

    for number, (name, content) in enumerate(entries):
        if ctx.stop_requested():
            raise Stopped(0)
        if isinstance(content, bytes) and PurePosixPath(name).suffix not in TEXTS:
            made.mkdir(exist_ok=True)
            path = made / f"{number:06}"
            path.write_bytes(content)
            content = path
        yield Planned(content, name)


def _look_for_places(config: Config, ctx, pictures) -> None:
    """Says where pictures hold the place that they were taken at; raises ValueError where everybody could read it."""
    from ..data import clips
    from ..data import pictures as stills
    from ..runs.context import Stopped

    found = []
    for done, picture in enumerate(pictures):
        if ctx.stop_requested():
            raise Stopped(0)
        ctx.phase("looking for places in the pictures", done, len(pictures), "pictures")
        if not picture.treatment.view and (clips if picture.seconds else stills).says_place(picture.path):  # a turned one is made anew, without what the file says
            found.append(picture.id)
    if not found:
        return
    names = ", ".join(found[:NAMED]) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
    said = f"1 of the pictures says where it was taken (GPS): {names}" if len(found) == 1 else f"{len(found)} of the pictures say where they were taken (GPS): {names}"
    if not config.private:
        raise ValueError(f"{said}; pictures are published as they are, so take that out of them first, or publish privately")
    ctx.warn(f"{said}; whoever is let into the repository can read it")


def _tell_of_others(config: Config, ctx, token, done, ours: set[str]) -> None:
    """A warning where pictures of an earlier push are still there: nothing is deleted on the Hub."""
    from huggingface_hub import HfApi

    from ..data import datasets
    from ..data.pictures import SUFFIXES
    from ..hub import client

    repo_id = "/".join(done.url.split("/")[-2:])
    try:
        names = HfApi(endpoint=client.checked_endpoint(config.endpoint), token=token.reveal()).list_repo_files(repo_id, repo_type="dataset", revision=done.commit)
    except Exception as error:  # noqa: BLE001 fault_of raises again what is not the Hub's
        ctx.warn(f"what else lies in the repository could not be listed ({client.fault_of(error)}); pictures of an earlier push may still be there")
        return
    old = sorted(n for n in names if n not in ours and n.lower().endswith(tuple(SUFFIXES)))
    if old:
        ctx.warn(f"{datasets.counted(len(old), 'picture')} of an earlier push still in the repository: {', '.join(old[:NAMED])}{' …' if len(old) > NAMED else ''}; delete there what is to go")


class _Telling:
    """The push's words, said as events of the run."""

    def __init__(self, ctx):
        self.phase, self.warn, self.cancelled = ctx.phase, ctx.warn, ctx.stop_requested
