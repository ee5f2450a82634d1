"""Training a finished run longer: a new run that begins where the last checkpoint of the old one stands.

job.yaml is never edited, so it is a run of its own, whose config is the old one with more steps.  Weights, optimizer and place in the schedule
are taken over, so N steps and M more are, to the bit on a CPU, one run of N + M steps with the new run's config, wherever the learning rate was
the same up to there: with a constant one, and where it begins anew (a warm restart: the optimizer's averages stay, the rate jumps).  Stretched,
a schedule goes on where one of all the steps would be; what came before was then a shorter one.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .. import outside
from ..config import TrainConfig, config_hash
from ..files import write_atomic
from ..home import Home
from ..plan import optimizing, schedule
from . import milder, origin, prompting, weighing
from .run import Run, create

MANIFEST, STATE = "MANIFEST.json", "state.safetensors"
MAX_MANIFEST_BYTES = 4_000_000
BESIDE = ("base.json",)  # what the base model was, which is compared when the new run starts
CHUNK_BYTES = 4 * 2**20
MOST_STEPS = 1_000_000
WAYS = {
    "stretch": "As one run of all the steps would have it",
    "cosine": "Begin anew and come down again",
    "constant": "Begin anew and stay there",
}  # how the learning rate goes on


@dataclass(frozen=True)
class Rate:
    """How the learning rate goes on.  way: of WAYS; share: of its highest, what it begins anew at, nothing for "stretch"."""

    way: str = "stretch"
    share: float = 0.3


def begin(run: Run, steps: int, home: Home, gpu: str = "", rate: Rate = Rate()) -> Run:
    """The queued run that goes on for `steps` more.  Raises ValueError where the old one cannot be gone on with, OSError."""
    if refused := hindrance(run):
        raise ValueError(refused)
    if steps < 1:
        raise ValueError("at least 1 more step is needed to train longer")
    old = milder.applied(run.config(), run)  # another optimizer could not read the checkpoint's state, and memory would run out once more
    if old.steps + steps > MOST_STEPS:
        raise ValueError(f"{steps} more steps make {old.steps + steps}; {MOST_STEPS} is the most")
    data = weighing.again(old, run).model_dump(mode="json")
    data["optimizer"] |= _anew(old, rate, home)
    data["sample"]["prompts"] = [line for _, line in prompting.of_run(run, old.sample.prompts).now]  # as they were changed on the way
    config = TrainConfig.model_validate({**data, "steps": old.steps + steps})

    def furnish(made: Run) -> None:
        _copy_checkpoint(run.checkpoints()[-1][1], made.path, config)
        for name in BESIDE:
            if outside.is_plain(run.path / name):
                write_atomic(made.path / name, outside.read_plain(run.path / name, MAX_MANIFEST_BYTES))
        if gpu or run.wished_card():
            made.wish_for_card(gpu or run.wished_card())

    return create(home.outputs, config, furnish)


def ways(config: TrainConfig, plugins: Path | None = None) -> list[str]:
    """Of WAYS, those that mean something for a run: an optimizer that needs no schedule has only one."""
    try:
        return [*WAYS] if "schedule" in optimizing.of(config.optimizer, plugins).USES else ["stretch"]
    except ValueError:  # its plugin is gone, which the start says
        return ["stretch"]


def usual_share(config: TrainConfig) -> float:
    """What a rate that begins anew is proposed to begin at: where it is now, and where that is next to nothing a third of its highest."""
    now = schedule.share(config.optimizer, config.steps, config.steps)
    return round(now, 2) if now >= 0.05 else 0.3


def _anew(old: TrainConfig, rate: Rate, home: Home) -> dict[str, int | float | str]:
    """The settings by which the rate goes on so.  Raises ValueError."""
    if rate.way not in WAYS:
        raise ValueError(f"the learning rate goes on by {', '.join(WAYS)}, not by {rate.way!r}")
    if rate.way == "stretch":
        return {}
    if rate.way not in ways(old, home.plugins):
        raise ValueError("this optimizer has no schedule, so its learning rate cannot begin anew; leave it as it is")
    if not 0 < rate.share <= 1:
        raise ValueError(f"the learning rate begins anew at a share of its highest, above 0 and at most 1 (100%), not at {rate.share:g}")
    return {"again_from": old.steps, "again_share": rate.share, "again_schedule": rate.way}


def hindrance(run: Run) -> str:
    """Why a run cannot be trained longer, and what can be done instead; "" where it can."""
    if run.kind != "train":
        return f"'{run.title}' is no training"
    if run.status() != "finished":
        return f"'{run.title}' is not finished; resume it"
    if asked := origin.question(run.path):  # the new run would be one that was made here
        return f"{asked}; duplicate the run to see all its settings"
    instead = "its LoRA can still be what a new run starts from (Start from, in All settings), with a fresh optimizer"
    kept = run.checkpoints()
    if not kept:
        return f"the checkpoints of '{run.title}' are gone, and the state of its optimizer with them; {instead}"
    step, path = kept[-1]
    if not outside.is_plain(path / STATE):
        return f"the state of the optimizer is gone from the last checkpoint of '{run.title}' (step {step}); {instead}"
    return "" if step == run.job().get("steps") else f"the last checkpoint of '{run.title}' is of step {step}, not of its end; {instead}"


def said(config: TrainConfig, steps: int, rate: Rate = Rate(), went_milder: bool = False) -> list[str]:
    """What changes, in sentences, before it is started.  steps: how many more.  went_milder: memory ran out on the way."""
    if went_milder:
        return [*said(config, steps, rate), "It goes on with the milder settings that this one had come to where memory ran out."]
    if rate.way != "stretch":
        then = "stays there" if rate.way == "constant" else "comes down again to the new end"
        return [*said(config, steps)[:1], f"The learning rate begins anew at {rate.share:.0%} of its highest and {then}: a warm restart, without a new warm-up, on top of what the optimizer remembers."]
    return [
        f"A new run goes on at step {config.steps:,} with the weights, the optimizer and all settings of this one, which stays as it is with its file.",
        _said_of_rate(config, steps),
    ]


def _said_of_rate(config: TrainConfig, steps: int) -> str:
    o, end = config.optimizer, config.steps + steps
    if o.again_from:
        return f"The learning rate goes on as it did since it began anew at step {o.again_from:,}, spread over the steps up to the new end."
    if optimizing.schedule_in_force(o) == "constant":
        return "The learning rate stays as it is."
    lowest, resumes = (f"{schedule.share(o, at, of):.0%}".removesuffix("%") for at, of in ((config.steps, config.steps), (config.steps, end)))
    down = "0" if lowest == "0" else f"{lowest}% of its highest"
    return f"The learning rate had come down to {down}. With {steps:,} more steps it goes on at {resumes}% of its highest, and comes down to {down} at the new end."


def _copy_checkpoint(source: Path, folder: Path, config: TrainConfig) -> None:
    """The checkpoint, every byte checked, as one of the new run's config.  Raises ValueError where it is damaged."""
    manifest = outside.read_json(source / MANIFEST, MAX_MANIFEST_BYTES)
    target = folder / "checkpoints" / source.name
    target.mkdir(parents=True)
    try:
        files = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{source.name}/{MANIFEST} is not one that Easel wrote") from None
    for name, sha256 in files.items():
        if Path(name).name != name or _copied(source / name, target / name) != sha256:
            raise ValueError(f"the checkpoint of step {int(source.name)} is damaged ({name}), so nothing can go on from it")
    manifest["config_hash"] = config_hash(config)
    write_atomic(target / MANIFEST, json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def _copied(source: Path, target: Path) -> str:
    """The sha256 of what was copied, which is on the disk when this returns."""
    digest = hashlib.sha256()
    with outside.open_plain(source) as file, open(target, "xb") as copy:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()
