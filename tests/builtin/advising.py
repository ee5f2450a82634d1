"""How good the advised checkpoint is: runs on the built-in base, each of eight checkpoints judged by the pixel checkers.

    python -m tests.builtin.advising                 as the presets are (balanced, 600 steps, the base held): six that no number of the advice was chosen by
    python -m tests.builtin.advising --too-long      longer than is good, at a constant rate and with nothing that holds the base
    python -m tests.builtin.advising tavik halvino   some
    python -m tests.builtin.advising --keep DIR      keeps runs and scores in DIR, and goes on with what is there

A checkpoint's score is the mean of two shares: of prompts with the trigger word that show what was learnt, and of plain prompts that are still drawn
right, against the base alone.  Nothing that judges was trained on, and the advice sees none of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.builtin import figures
from tests.builtin.concepts import CONCEPTS, PICTURES, Concept
from tests.builtin.others import LOOKED_AT, OTHERS
from training import registry
from training.engine import checkpoint
from training.formats.deliver import deliver, needed, offers
from training.home import Home
from training.plan import advising, hardware, presets, validating
from training.runs.context import Context
from training.runs.run import Run, create, list_runs

FRESH = ("quenlo", "ocrano", "duolo", "cornelo", "drovan", "zuvari")  # the first three were never seen by the advice, the others only as they trained too long
LOOKED = 8  # checkpoints of a run
TOO_LONG = {"keep.on": False, "steps": 320, "save.validate_every": 20, "optimizer.schedule": "constant"}
PROMPTS, TOO_LONG_PROMPTS = 100, 30  # with the trigger word, and as many without
WITHIN = 0.05
SAMPLING = 8  # steps of a picture: the base draws as well as with 20


@dataclass(frozen=True)
class Score:
    """Shares, 0 to 1.  kept: of the base's own share of right pictures."""

    step: int
    shown: float
    kept: float

    @property
    def whole(self) -> float:
        return (self.shown + min(self.kept, 1.0)) / 2


def trained(home: Home, concept: Concept, changes: Mapping[str, Any]) -> Run:
    """The finished run of its preset with these changes."""
    data = concept.write(home.root / "drawn" / concept.trigger)
    steps = changes.get("steps") or presets.get(concept.preset).steps("balanced")
    own = {"sample.every": 0, "save.every": steps // LOOKED, "save.every_minutes": 0, "save.keep": 100, **changes}
    answers = presets.Answers(name=concept.trigger, trigger=concept.trigger, dataset=str(data), overrides=own)
    config = presets.resolve(concept.preset, answers, hardware.machine(home.root), PICTURES[concept.kind], home)
    begun = [run for run in list_runs(home.outputs) if run.config().trigger == concept.trigger]
    run = begun[0] if begun else create(home.outputs, config)
    if begun and run.view().last_kind == "finished":
        return run
    ctx = Context(run, home, 1 + len(begun))
    ctx.emit("started", pid=1, attempt=1 + len(begun), boot_id="", oom_kills=0, versions={}, device="CPU")
    registry.get("jobs", "train").run(run.config(), ctx)
    return run


def scored(run: Run, concept: Concept, file: Path, count: int) -> list[Score]:
    """The scores of its checkpoints, oldest first.  file: what is known already, and where each is put down."""
    asks, prompts = figures.base_asks(count), [concept.prompt(k) for k in range(count)]
    plain = [a.prompt for a in asks]
    known = {row["step"]: Score(**row) for row in json.loads(file.read_text())} if file.exists() else {}
    config = run.config()
    spec = registry.get("families", config.model.family).SPEC
    offer = needed(offers(spec, config.adapter.type, registry.get("adapters", config.adapter.type)))[0]
    wanted = [(step, path) for step, path in checkpoint.saved(run.path) if step % run.config().save.every == 0 and step not in known]
    if wanted:
        pipe = figures.load()
        base = figures.accuracy(figures.paint(pipe, plain), asks)
    for step, path in wanted:
        weights = file.with_name(f".{concept.trigger}_{step}.safetensors")
        deliver(path, weights, layout=offer.layout, metadata={}, half=False, spec=spec)
        pipe.load_lora_weights(weights.parent, weight_name=weights.name)
        shown = sum(map(concept.shows, figures.paint(pipe, prompts, 1_000))) / len(prompts)
        known[step] = Score(step, shown, figures.accuracy(figures.paint(pipe, plain), asks).whole / base.whole)
        pipe.unload_lora_weights()
        weights.unlink()
        file.write_text(json.dumps([asdict(score) for score in known.values()]))
    return sorted(known.values(), key=lambda score: score.step)


def row(trigger: str, kind: str, scores: Sequence[Score], run: Run) -> tuple[str, bool]:
    """(a line of the table, whether the advised checkpoint is within WITHIN of the best)."""
    view = run.view()
    told = advising.advise(view.measures, view.bases, [score.step for score in scores], validating.POINTS)
    best = max(scores, key=lambda score: score.whole)
    mine = next(score for score in scores if score.step == told.step)
    line = " · ".join(f"{score.step}: {score.whole:.0%}" for score in scores)
    return f"| {kind} {trigger} | {line} | {best.step} ({best.whole:.0%}) | {told.step} ({mine.whole:.0%}) | {told.verdict}, {told.sure}, learns until {told.learnt or '-'}, forgets after {told.forgets or '-'} |", best.whole - mine.whole <= WITHIN


def main(argv: Sequence[str] | None = None) -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("what", nargs="*", help="triggers of the concepts")
    ask.add_argument("--too-long", action="store_true")
    ask.add_argument("--keep", type=Path)
    args = ask.parse_args(argv)
    changes, count = (TOO_LONG, TOO_LONG_PROMPTS) if args.too_long else ({}, PROMPTS)
    figures.STEPS = SAMPLING
    known, good = CONCEPTS | LOOKED_AT | OTHERS, []
    print("| | score of each checkpoint | best | advised | what is said |\n|---|---|---|---|---|")
    for trigger in args.what or (OTHERS if args.too_long else FRESH):
        with tempfile.TemporaryDirectory() as folder:
            home = Home((args.keep or Path(folder)).resolve()).made()
            run = trained(home, known[trigger], changes)
            line, near = row(trigger, known[trigger].kind, scored(run, known[trigger], home.root / f"{trigger}.json", count), run)
            good.append(near)
            print(line, flush=True)
    print(f"\nwithin {WITHIN:.0%} of the best: {sum(good)} of {len(good)}")


if __name__ == "__main__":
    main()
