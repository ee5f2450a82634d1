"""Publish a run's LoRA, card and samples to the Hugging Face Hub: one commit, repeatable."""

from __future__ import annotations

import shutil
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from ..config import JobConfig
from ..hub.secrets import mask

TITLE = "Publish to the Hub"
NEEDS_TOKEN = True
USES_GPU = False


class Config(JobConfig):
    """One push, complete."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a token pasted into the wrong box must not come back in an error

    kind: Literal["publish"] = Field("publish", description="Job kind.")
    run: str = Field(min_length=1, max_length=200, description="Id of the run to publish: its folder's name.")
    checkpoint: Literal["final"] | Annotated[int, Field(ge=0)] = Field(
        "final", description="Which LoRA of the run: 'final', or the step of a checkpoint."
    )
    repo_id: str = Field(min_length=1, max_length=200, description="Repository on the Hub: 'name', or 'namespace/name'.")
    private: bool = Field(True, description="Make the repository private: only you, and those you invite, see it.")
    samples: tuple[str, ...] = Field((), max_length=64, description="Sample pictures to publish: paths inside the run.")
    card: str = Field(min_length=1, max_length=200_000, description="The model card: the text of README.md.")
    message: str = Field("Publish a LoRA trained with Easel", min_length=1, max_length=500, description="Message of the commit.")
    endpoint: str = Field("", max_length=500, description="Address of the Hub; empty means huggingface_hub's own.")

    @field_validator("repo_id")
    @classmethod
    def _name_holds(cls, repo_id):
        from ..hub.publish import check_repo_id

        return check_repo_id(repo_id)

    @field_validator("card", "message", "repo_id", "endpoint", "samples")
    @classmethod
    def _no_token(cls, value):
        if mask(str(value)) != str(value):
            raise ValueError("holds something that looks like a Hub token; take it out, and revoke that token if others could see it")
        return value


def run(config: Config, ctx) -> None:
    """Pushes and emits `finished`.  Raises ValueError and HubError in plain words, Stopped when Stop was pressed."""
    from ..files import write_atomic
    from ..hub import publish as hub
    from ..hub.card import split_card
    from ..runs.context import Stopped
    from ..runs.run import Run

    token = ctx.secrets.get("hf_token") or hub.find_token()[0]
    if not token:
        raise hub.HubError("Not signed in to the Hub.", "Paste a token with write access on the Publish tab, then press Retry.", 401)
    split_card(config.card)
    source = Run.open(ctx.home.outputs, config.run)
    ctx.phase("preparing the files")
    weights = hub.publishable(source, config.checkpoint, ctx.run.path)
    try:
        files = hub.plan(source, config.checkpoint, config.samples, config.card, weights=weights)
        done = hub.push(
            files, config.repo_id, token, private=config.private, message=config.message, endpoint=config.endpoint, watcher=_Telling(ctx)  # type: ignore[arg-type]
        )
    except hub.Cancelled:
        raise Stopped(0) from None
    finally:
        for made in weights.values():
            if made.is_dir() and made.is_relative_to(ctx.run.path):
                shutil.rmtree(made)  # a network of a checkpoint, gigabytes that the training's run can give again
    write_atomic(ctx.path("README.md"), config.card.encode())
    ctx.phase("published")
    kind = "private" if done.private else "public"
    already = "" if done.new_commit else "; everything was there already"
    ctx.emit("finished", path="README.md", summary=f"{done.url} ({kind}, commit {done.commit[:8]}{already})")


class _Telling:
    """The push's words, said as events of the run."""

    def __init__(self, ctx):
        self.phase, self.warn, self.cancelled = ctx.phase, ctx.warn, ctx.stop_requested
