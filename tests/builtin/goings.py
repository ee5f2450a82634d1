"""Trainings on the built-in base that go well, and trainings that were made to go wrong, for real; what they said is kept for the fast tests.

    python -m tests.builtin.goings                 trains all of them, and prints what is said of each (some 40 minutes on two cores)
    python -m tests.builtin.goings high low-2      only these
    python -m tests.builtin.goings --keep DIR      writes the events that tell how it goes into DIR, one NAME.jsonl each

Toys train a base model of random weights, of which hardly anything goes wrong: whatever moves it is better than it is.  They stand for runs that must not be blamed.
Kept are tests/plan/going/*.jsonl: steps, validations and what single pictures cost.  A run of an Easel whose training changes keeps them true only
once they are made anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import tiny
from tests.builtin.concepts import CONCEPTS, Concept
from training import registry
from training.config import TrainConfig
from training.home import Home
from training.runs.context import Context
from training.runs.run import Run, create

KEPT = ("step", "pictures", "validation", "weight")
STEPS_APART = 10  # between two steps that are kept


@dataclass(frozen=True)
class Going:
    """One training.  good: nothing may be said against it.  pictures: how many of the concept's are used, 0 for all.  bare: their captions are empty."""

    concept: str
    seed: int = 1
    good: bool = True
    pictures: int = 0
    bare: bool = False
    planted: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


def _planned() -> dict[str, Going]:
    first, second, third, fourth = list(CONCEPTS)[:4]
    toy = {f"toy-{n}": Going(first, seed=n, changes={"toy": True, "rate": (5e-3, 1e-2, 2e-3)[n % 3], "held_out": 4 * (n % 2), "steps": 100 + 20 * (n % 3)}) for n in range(1, 13)}
    good = {f"good-{n}": Going(name, seed=n, changes={"held_out": 4 * (n % 2), "keep": n == 4}) for n, name in enumerate(CONCEPTS, 1)}
    return toy | good | {
        "toy-low": Going(first, good=False, changes={"toy": True, "rate": 5e-6, "steps": 120}),
        "toy-wordless": Going(first, good=False, bare=True, changes={"toy": True, "rate": 5e-3, "steps": 120}),
        "high": Going(first, good=False, changes={"rate": 0.2}),
        "high-2": Going(fourth, seed=5, good=False, changes={"rate": 0.2, "held_out": 4}),
        "low": Going(first, good=False, changes={"rate": 2e-6}),
        "low-2": Going(fourth, seed=5, good=False, changes={"rate": 2e-6, "held_out": 4}),
        "few-layers": Going(second, good=False, changes={"include": ["mid_block.resnets.0.time_emb_proj"], "rate": 1e-4}),
        "wordless": Going(first, good=False, bare=True),
        "by-heart": Going(first, good=False, pictures=8, changes={"held_out": 6, "steps": 300}),
        "by-heart-2": Going(second, seed=4, good=False, pictures=8, changes={"held_out": 6, "steps": 300}),
        "planted": Going(first, pictures=11, planted=True, changes={"steps": 200}),
        "planted-2": Going(second, seed=2, pictures=11, planted=True, changes={"steps": 200}),
        "planted-3": Going(third, seed=3, pictures=11, planted=True, changes={"steps": 200}),
    }  # fmt: skip


def write(concept: Concept, going: Going, folder: Path) -> Path:
    """The pictures of a training; planted: the caption of the fourth is wrong, and one is there twice, enlarged and brightened a little."""
    concept.write(folder)
    files = sorted(folder.glob("*.png"))
    for path in files[going.pictures or 14 :]:
        path.unlink()
        path.with_suffix(".txt").unlink()
    if going.bare:
        for path in files:
            path.with_suffix(".txt").write_text("", encoding="utf-8")
    if going.planted:
        from PIL import Image, ImageEnhance

        files[3].with_suffix(".txt").write_text("a green star and a yellow heart on a black background\n", encoding="utf-8")
        copy = ImageEnhance.Brightness(Image.open(files[6])).enhance(1.02).resize((66, 66))
        copy.save(folder / "twin.png")
        (folder / "twin.txt").write_text(files[6].with_suffix(".txt").read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def config_of(concept: Concept, going: Going, folder: Path, toy: Path) -> TrainConfig:
    """The job, near the preset of its kind, without samples.  toy: the folder of a base model of a few thousand random weights, for those that train it."""
    c = going.changes
    return TrainConfig.model_validate({
        "kind": "train", "name": "going", "trigger": "" if going.bare else concept.trigger, "steps": c.get("steps", 160), "seed": going.seed, "model": {"family": "sd15", "source": str(toy) if c.get("toy") else "builtin"},
        "data": {"datasets": [{"name": folder.name}], "resolutions": [32 if c.get("toy") else 64], "batch_size": 4 if c.get("toy") else 2, "caption_dropout": 0.0, "held_out": c.get("held_out", 0)},
        "adapter": {"rank": 16, "alpha": 16.0, "targets": "all", "include": c.get("include", [])},
        "optimizer": {"learning_rate": c.get("rate", 2e-3), "schedule": "cosine", "warmup_steps": 10}, "loss": {"ema_decay": 0.98},
        "keep": {"on": c.get("keep", False), "share": 1.0, "together": True, "empty": 0.1}, "sample": {"every": 0, "prompts": []}, "save": {"every": 0, "every_minutes": 60, "validate_every": 20},
    })  # fmt: skip


def train(name: str, home: Home) -> Run:
    """The training of that name, in this process."""
    going = _planned()[name]
    concept = CONCEPTS[going.concept]
    folder = write(concept, going, home.datasets / name)
    run = create(home.outputs, config_of(concept, going, folder, tiny.sd15(home.root / "toy")))
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    registry.get("jobs", "train").run(run.config(), ctx)
    return run


def kept(run: Run) -> str:
    """The events that tell how it goes, as lines."""
    records = [r for r in run.events()[0] if r["kind"] in KEPT]
    steps = [r for r in records if r["kind"] == "step"]
    few = {id(r) for r in [*steps[::STEPS_APART], steps[-1]]}
    return "".join(json.dumps({k: v for k, v in r.items() if k != "t"} | {"t": n}) + "\n" for n, r in enumerate(records) if r["kind"] != "step" or id(r) in few)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("names", nargs="*", help="which; all if left out")
    ask.add_argument("--keep", type=Path, help="folder for NAME.jsonl")
    args = ask.parse_args()
    for name in args.names or list(_planned()):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            try:
                run = train(name, Home(Path(folder).resolve()).made())
                text = kept(run)
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{name}.jsonl").write_text(text, encoding="utf-8")
                print(f"{name}: {time.monotonic() - began:.0f} s, {len(text):,} bytes", flush=True)
            except ValueError as error:
                print(f"{name}: {error}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
