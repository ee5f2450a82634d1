"""Weights & Biases: a run in a project that only you and your team see, or in files on this computer (offline).

The key is that of `wandb login`, in its own store.  Of this computer nothing is sent but what is told here: no host name, no code, no
git, no hardware, no console.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping

TITLE = "Weights & Biases"
BLURB = "Curves, settings and samples in a private project of your W&B account, or offline in files that 'wandb sync' sends later."
NEEDS = {"wandb": "0.31.0"}
ENVIRONMENT = ("WANDB_",)
PLACE = "the team (entity) whose project it is; empty: your own; offline: files on this computer"
PRIVATE = ("PRIVATE", "RESTRICTED")  # as its server calls: seen by the team, seen by those who were invited
OFFLINE = "offline"
_ASK = "query EaselProject($entity: String, $name: String) { viewer { entity } project(name: $name, entityName: $entity) { access } }"
_MAKE = "mutation EaselPrivate($input: UpsertModelInput!) { upsertModel(input: $input) { project { access } } }"


def leaves(place: str) -> str:
    """What leaves this computer; "" where nothing does."""
    if _offline(place):
        return ""
    return "The run's name, settings, prompts, curves and samples go to your account at Weights & Biases, into a project that is private"


def ready(place: str) -> str:
    """Why it cannot be used now; "" where it can."""
    if _offline(place):
        return ""
    from wandb.sdk.lib import wbauth

    try:
        signed_in = wbauth.session_credentials(host=_host()) or wbauth.read_netrc_auth(host=_host()) or os.environ.get("WANDB_API_KEY")
    except Exception as error:  # noqa: BLE001 a store that cannot be read is as good as none
        return f"Weights & Biases' key cannot be read ({error}); sign in with: wandb login"
    return "" if signed_in else "nobody is signed in to Weights & Biases on this computer; sign in with: wandb login (or take the place 'offline')"


def begin(track):
    """Its own run, found again by its id.  Raises ValueError where the project is one that others can see."""
    import wandb

    offline = _offline(track.place)
    entity = None if offline else track.place or None
    if not offline:
        _hold_private(wandb, entity, track.project)
    track.folder.mkdir(parents=True, exist_ok=True)
    id = track.id or hashlib.sha256(f"{track.run} {track.created_t}".encode()).hexdigest()[:16]
    settings = wandb.Settings(
        console="off", silent=True, disable_git=True, disable_code=True, save_code=False, host="", program="easel", x_disable_meta=True, x_disable_stats=True,
        x_disable_machine_info=True, x_save_requirements=False,
    )  # fmt: skip
    made = wandb.init(
        project=track.project, entity=entity, id=id, name=track.title, config=dict(track.config), dir=str(track.folder), mode="offline" if offline else "online",
        resume=None if offline else "allow", settings=settings,
    )  # fmt: skip
    made.define_metric("step")
    made.define_metric("*", step_metric="step")
    return Run(wandb, made, offline)


class Run:
    """One attempt's part of the run: its own counter of W&B goes on, the curves go over `step`."""

    def __init__(self, wandb, run, offline: bool):
        self._wandb, self._run = wandb, run
        self.id = run.id
        self.where = f"{run.dir.rpartition('files')[0]} (wandb sync sends it)" if offline else run.url or ""

    def numbers(self, step: int, t: float, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step, "time": t})

    def picture(self, step: int, t: float, name: str, png: bytes, caption: str) -> None:
        from PIL import Image

        self._run.log({name: self._wandb.Image(Image.open(io.BytesIO(png)), caption=caption), "step": step, "time": t})

    def flush(self) -> None:
        """W&B's own process writes and sends by itself."""

    def end(self, status: str) -> None:
        self._run.finish(exit_code=0 if status in ("finished", "stopped") else 1)


def _offline(place: str) -> bool:
    return place == OFFLINE or os.environ.get("WANDB_MODE", "") in ("offline", "dryrun")


def _host() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rstrip("/")


def _hold_private(wandb, entity: str | None, project: str) -> None:
    """The project is there and private; made so where there is none.  Raises ValueError where others can see it."""
    api = wandb.Api()
    ask = api._service_api.execute_graphql  # the only way in to a project's visibility: the public classes do not say it
    told = ask(_ASK, {"entity": entity, "name": project})
    found = told.get("project") or {}
    if not found:
        owner = entity or (told.get("viewer") or {}).get("entity")
        made = ask(_MAKE, {"input": {"name": project, "entityName": owner, "access": PRIVATE[0]}})
        found = ((made.get("upsertModel") or {}).get("project")) or {}
    if found.get("access") not in PRIVATE:
        raise ValueError(f"the project {project!r} at Weights & Biases can be seen by others; set its visibility to Team or Restricted there, or name another project")
