"""How fast runs like this one were on this machine: the best predictor of how fast the next will be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..config import ConceptPart, EditPart, EnginePart, KeepPart, PlacePart, TrainConfig
from ..data import concepts, editing
from ..runs import journal

LOOKED_AT = 30  # newest runs
STEPS = 40  # newest step events of a run
FEWEST = 3  # the first step is slow; fewer say nothing

# fields that must be equal for two runs to take equally long a picture
ALIKE = (
    "device", "gpus", "shard", "model.family", "model.source", "model.dtype", "model.quantise", "model.quantise_text", "model.offload", "model.vae_tiling",
    "data.batch_size", "adapter.type", "adapter.targets", "adapter.text_encoder", "loss.gradient_checkpointing",
    "keep.on", "keep.share", "keep.together", "loss.objective", "concept.preserve", "concept.anchors", "edit", "place.kind", "place.options", "engine",
)  # fmt: skip


@dataclass(frozen=True)
class Pace:
    """What was measured.  memory_bytes: RAM in use on a CPU, highest VRAM in use on a GPU; 0 where the adapter was another one."""

    seconds_per_picture: float
    memory_bytes: int


def measured(config: TrainConfig, outputs: Path, card: str = "") -> Pace | None:
    """From the newest run that was like `config`; None where there is none.  card: only of runs on it, where that is known."""
    from ..runs.run import list_runs

    wanted, edits = config.model_dump(mode="json"), editing.edits(concepts.known(config))
    for run in list_runs(outputs, {"train"})[:LOOKED_AT]:
        try:
            job = {
                "gpus": 1, "shard": "auto", "keep": KeepPart().model_dump(mode="json"), "concept": ConceptPart().model_dump(mode="json"), "edit": EditPart().model_dump(mode="json"), "place": PlacePart().model_dump(mode="json"),
                "engine": EnginePart().model_dump(mode="json"),
            } | run.job()  # an older one says nothing of it  # fmt: skip
            wish = run.wished_ranks(int((run.last("started") or {}).get("attempt", 0)))
            if wish.nodes > 1:
                continue
            if wish.gpus is not None:
                job["gpus"] = wish.gpus
            if card and run.card() not in ("", card):
                continue
            job = _as_it_ran(job, run)
            if _sides(job) != _sides(wanted) or _lengths(job) != _lengths(wanted) or not all(_at(job, path) == _at(wanted, path) for path in ALIKE):
                continue
            if edits and _datasets(job) != _datasets(wanted):
                continue  # how much each picture is made from is theirs
            pace = _read(run.events_path)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a run that cannot be read says nothing
        if pace:
            same_adapter = job["adapter"] == wanted["adapter"]
            return pace if same_adapter else Pace(pace.seconds_per_picture, 0)
    return None


def _read(events: Path) -> Pace | None:
    rates, memory = [], 0
    for record in journal.backwards(events):
        if record.get("kind") == "started" or len(rates) == STEPS:
            break  # an attempt before that may have been on another machine
        if record.get("kind") == "step":
            rates.append(float(record["images_per_s"]))
            memory = max(memory, int(record["memory_bytes"]))
    rates = [rate for rate in rates if rate > 0]
    return Pace(1 / median(rates), memory) if len(rates) >= FEWEST else None


def _as_it_ran(job: dict[str, Any], run) -> dict[str, Any]:
    """The job with what its attempts took in place of what it says, where memory had run out."""
    from ..runs.reached import reached

    job = json.loads(json.dumps(job))
    for path, value in reached(run).items():
        part, _, name = path.partition(".")
        job[part][name] = value
    return job


def _datasets(job: dict[str, Any]) -> list[str]:
    """The names of its datasets."""
    return sorted(use["name"] for use in job["data"]["datasets"])


def _sides(job: dict[str, Any]) -> list[int]:
    """The sides that its pictures have, each once."""
    data = job["data"]
    return sorted({int(side) for use in data["datasets"] for side in use.get("resolutions") or data["resolutions"]} or set(data["resolutions"]))


def _lengths(job: dict[str, Any]) -> list[int]:
    """The lengths in frames that its training clips may have, each once."""
    data = job["data"]
    return sorted({int(n) for use in data["datasets"] for n in (use.get("frames") or data["frames"], *data.get("shorter", ()))} or {int(data["frames"])})


def _at(mapping: dict[str, Any], path: str) -> str:
    """The value at a dotted path, as text that compares equal for equal values."""
    value: Any = mapping
    for part in path.split("."):
        value = value[part]
    return json.dumps(value, sort_keys=True)
