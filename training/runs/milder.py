"""What a run does by itself in trouble: where memory ran out one rung milder, where a loss was no number one more try, from the last checkpoint on.

job.yaml stays as it was written.  What was changed stands in the events, so that every later attempt has it too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..config import HERE, TrainConfig
from ..plan import fit, ladder
from . import journal
from .events import RunView, fold
from .reached import reached
from .run import Run

if TYPE_CHECKING:
    from ..home import Home
    from .context import Context, NotANumber

MOST_MENDED = 3  # steps of a run that are tried once more; a run that needs more is not well
WHILE = {"loading the model": " while the model was loaded or in the first step", "training": ""}  # phase -> when that was; others are said as they are
WHERE = {"vram": "The graphics card ran out of memory", "ram": "The computer ran out of memory (RAM)"}


def applied(config: TrainConfig, run: Run) -> TrainConfig:
    """The config as its attempts have it.  Raises ValueError for a record of settings that no attempt can have."""
    settings = reached(run)
    try:
        return fit.all_with(config, settings) if settings else config
    except ValidationError:
        said = ", ".join(f"{path} {value!r}" for path, value in settings.items())
        raise ValueError(f"events.jsonl says that the run goes on with {said[:200]}, which cannot be; duplicate the run") from None


def mended(run: Run) -> list[dict[str, Any]]:
    """What is done about steps whose loss was no number, in the order in which they were met: each once, and no more than a run does by itself."""
    newest_first = (record for record in journal.backwards(run.events_path, b'"mended"') if record.get("kind") == "mended" and fold(RunView(), [record]).last_kind)
    first = {record["step"]: record for record in newest_first if record["how"] in ("slower", "exact")}  # the oldest of a step stays
    return list(reversed(first.values()))[:MOST_MENDED]


def step_down(ctx: Context, out_of: str) -> bool:
    """Whether the run goes on one rung milder, which then is on record.  out_of: a key of WHERE."""
    config = _may(ctx.run)
    if config is None or not config.survive.milder:
        return False
    phase = ctx.run.last("phase")
    name = str(phase["name"]) if phase else ""
    now = applied(config, ctx.run)
    steps = [step for step, _ in ctx.run.checkpoints()]
    rung = ladder.next_rung(now, _in_memory(ctx.run), _device(now, ctx.home), bool(steps))
    if rung is None:
        return False
    at = ctx.run.last("step")
    while_ = f" at step {int(at['step']):,}" if at and name == "training" else WHILE.get(name, f" while {name}" if name else "")
    back = f"it goes on from step {steps[-1]:,}" if steps else "it begins again"
    ctx.emit("milder", settings=reached(ctx.run) | rung.settings, said=f"{WHERE[out_of]}{while_}, so {back} with less of it. {rung.said}")
    return True


def nothing_left(run: Run) -> str:
    """What to do where memory ran out and no milder rung is left, or none may be taken."""
    config = _may(run)
    if config is None:
        return ""
    if not config.survive.milder:
        return "Switch ‘Go on milder’ on in a new run, or press Make it fit there."
    more = "" if config.survive.less_exact else ", or switch ‘Less exact if it must’ on in a new run"
    return f"Nothing is left that needs less memory and learns the same: press Make it fit{more}."


def worth_resuming(run: Run, home: Home) -> bool:
    """Whether a run whose worker was killed for want of memory may go on by itself: a milder rung is there."""
    config = _may(run)
    if config is None or not config.survive.milder or run.status() != "interrupted" or not run.killed_for_memory():
        return False
    started = run.last("started")
    if started and run.asked_t("stop", started["t"]) is not None:
        return False
    now = applied(config, run)
    return ladder.next_rung(now, _in_memory(run), _device(now, home), bool(run.checkpoints())) is not None


def _in_memory(run: Run) -> str:
    """The phase that says what was in memory: where prompts were read in the middle of a training, that of training."""
    name = ""
    for record in journal.backwards(run.events_path, b'"kind"'):
        if not name and record.get("kind") == "phase":
            name = str(record["name"])
            if not name.startswith(ladder.READING):
                return name
        elif name and record.get("kind") in ("step", "started"):
            return "training" if record["kind"] == "step" else name
    return name


def try_again(ctx: Context, error: NotANumber) -> bool:
    """Whether the run goes back and takes that step in another way, which then is on record."""
    config = _may(ctx.run)
    if config is None or config.survive.not_a_number == "stop":
        return False
    before, how = mended(ctx.run), config.survive.not_a_number
    if len(before) >= MOST_MENDED or any(record["step"] == error.step for record in before):
        return False
    model = applied(config, ctx.run).model
    if how == "exact" and (not error.exact or model.dtype == "fp32" or model.quantise != "none" or model.offload):
        return False
    steps = [step for step, _ in ctx.run.checkpoints()]
    since = steps[-1] if steps else 0
    what = "half as fast from there on" if how == "slower" else f"step {error.step + 1:,} is then computed in fp32"
    said = f"{error.found[:1].upper()}{error.found[1:]}. It goes back to step {since:,} and tries once more: {what}."
    ctx.emit("mended", step=error.step, since=since, how=how, said=said)
    return True


def _may(run: Run) -> TrainConfig | None:
    """The config of a training that is alone on this computer; None of any other: several computers would have to agree."""
    if run.kind != "train" or int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1:
        return None
    config = run.config()
    return config if isinstance(config, TrainConfig) and config.place.kind == HERE else None


def _device(config: TrainConfig, home: Home):
    from ..plan import devices
    from ..plan.hardware import machine

    return devices.of(config.device, machine(home.root))
