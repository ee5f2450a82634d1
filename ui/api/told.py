"""What programs are told, as mappings that JSON can hold."""

from __future__ import annotations

from typing import Any

from training.plan.estimate import Estimate
from training.runs.events import RunView
from training.runs.losing import Losing
from training.runs.run import Run as RunFolder

LEFT_THERE = "; what was sent away is still there, may run and cost money, and nobody here will know of it: resume it and then stop it first"
STILL_THERE = "What was sent away may still be there, where it is only watched again"
SHOWN_LOSING = 10


def estimate(guess: Estimate) -> dict:
    """What a training will take; said: the same in sentences."""
    return {
        "fits": guess.fits, "problems": guess.problems, "steps": guess.steps, "steps_per_epoch": guess.steps_per_epoch, "epochs": round(guess.epochs, 2), "seconds": round(guess.seconds, 1),
        "seconds_range": [round(s, 1) for s in guess.seconds_range], "measured": guess.measured, "vram_bytes": guess.vram_bytes, "ram_bytes": guess.ram_bytes, "disk_bytes": guess.disk_bytes,
        "download_bytes": guess.download_bytes, "said": guess.sentences,
    }  # fmt: skip


def going_on(run: RunFolder, there: bool) -> str:
    """From where a run that is trained elsewhere goes on, and whether something of it is still there; "" where it begins."""
    steps = [step for step, _ in run.checkpoints()]
    since = f"It goes on after step {steps[-1]} of {run.job().get('steps')}, so it takes less than all of it would" if steps else ""
    return ". ".join(filter(None, [STILL_THERE if there else "", since]))


def event(one: dict[str, Any]) -> dict:
    """An event whose path is called file, as in result: Gradio's client takes whatever has a path for a download, and fails."""
    return {"file" if key == "path" else key: value for key, value in one.items()}


def lost(runs: list[Losing]) -> str:
    """What the removal of a dataset takes from runs, to go on a sentence with; "" where it takes nothing."""
    said = [f"'{one.title}' ({one.status}) {one.told}" for one in runs[:SHOWN_LOSING]]
    return "".join(f"; {text}" for text in [*said, *([f"and {len(runs) - SHOWN_LOSING} more runs need it"] if len(runs) > SHOWN_LOSING else [])])


def view(seen: RunView) -> dict:
    """Where a run is."""
    return {
        "phase": seen.phase, "step": seen.step, "of": seen.of, "loss": seen.losses[-1][1] if seen.losses else None, "validation": seen.validations[-1][1] if seen.validations else None,
        "warnings": list(seen.warnings), "summary": seen.summary,
    }  # fmt: skip
