"""A place: another folder of this computer, such as one on a large disk.  Everything that a place does, without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from pydantic import Field

from training.away.place import Look, Refused
from training.config import Part
from training.home import REPO

EASEL_API = 1
TITLE = "Another folder"
BLURB = "Trains in another folder of this computer, as on a large disk, and brings the result home."
THERE = [sys.executable, "-m", "training.away.there"]


class Options(Part):
    """What it is told."""

    folder: str = Field(description="Absolute path of the folder to train in.")
    keep: bool = Field(False, description="Leave there what was sent and made.")
    machine: str = Field("", description="There is no choice; leave it empty.")
    limit_hours: float = Field(0.0, ge=0, description="Hours after which it is stopped; 0 means never.")


def ready(options) -> str:
    return "" if Path(options.folder).is_dir() else f"there is no folder {options.folder}; make it first"


def machines(options) -> list:
    return []


def leaves(options) -> str:
    return f"Nothing leaves this computer: the pictures are copied to {options.folder}."


def send(bundle, options, handle, say) -> dict:
    if why := ready(options):
        raise Refused(why)
    folder = Path(options.folder) / f"easel-{handle['id']}"
    for n, (name, (digest, _)) in enumerate(bundle.files.items()):
        say("sending", n / len(bundle.files))
        target = folder / name
        if not (target.is_file() and _sha256(target) == digest):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / name, target)
    return {**handle, "folder": str(folder)}


def start(handle, options, limit_s) -> dict:
    if "started" not in handle:
        _there("launch", handle, str(limit_s if options.limit_hours else 0))
    return {**handle, "started": True}


def look(handle, options, offset) -> Look:
    head, _, events = _there("look", handle, str(offset)).partition(b"\n")
    return Look(**json.loads(head), events=events)


def tell(handle, options, line) -> None:
    _there("tell", handle, line)


def listing(handle, options) -> dict:
    return {name: tuple(row) for name, row in json.loads(_there("listing", handle)).items()}


def fetch(handle, options, name, target) -> None:
    shutil.copyfile(Path(handle["folder"]) / "outputs" / "run" / name, target)


def end(handle, options) -> str:
    if "folder" in handle:
        _there("end", handle)
        if not options.keep:
            shutil.rmtree(handle["folder"], ignore_errors=True)
    return ""


def _there(what: str, handle, *words: str) -> bytes:
    """What the half of Easel that stands beside the run answers."""
    return subprocess.run([*THERE, what, handle["folder"], *words], cwd=REPO, capture_output=True, check=True).stdout


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
