"""A concept taught as a newcomer would: the form's default, with the user's own pictures alone."""

from __future__ import annotations

from dataclasses import dataclass

from tests.builtin import figures
from tests.builtin.concepts import PICTURES, Concept
from training import registry
from training.home import Home
from training.plan import hardware, presets
from training.runs.context import Context
from training.runs.run import Run, create

FAINT = 1.5  # a guidance at which colours are not exaggerated


@dataclass(frozen=True)
class Taught:
    """Shares, 0 to 1: of prompts with the trigger that show the concept, with the base alone and with the LoRA, at the preset's guidance and at FAINT; of the base's skill that is left."""

    before: float
    shown: float
    faint: float
    kept: float

    def __str__(self) -> str:
        return f"by the base alone {self.before:.0%}, with the LoRA {self.shown:.0%} (guidance {FAINT:g}: {self.faint:.0%}); kept without the trigger word {self.kept:.0%}"


def taught(home: Home, concept: Concept, **overrides) -> Run:
    """The finished run.  overrides: settings with '__' for '.', beside the default."""
    data = concept.write(home.root / "drawn" / concept.trigger)
    own = {path.replace("__", "."): value for path, value in overrides.items()}
    answers = presets.Answers(name=concept.trigger, trigger=concept.trigger, dataset=str(data), overrides={"sample.every": 0} | own)
    config = presets.resolve(concept.preset, answers, hardware.machine(home.root), PICTURES[concept.kind], home)
    run = create(home.outputs, config)
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    registry.get("jobs", "train").run(config, ctx)
    return run


def kept(pipe, run: Run, base: figures.Accuracy) -> float:
    """What a run's result leaves of the base's accuracy."""
    asks = figures.base_asks()
    with _loaded(pipe, run):
        return figures.accuracy(figures.paint(pipe, [a.prompt for a in asks]), asks).kept(base)


def judged(pipe, run: Run, concept: Concept, base: figures.Accuracy) -> Taught:
    """All figures of a run.  The pictures: seeds from 1000 on, as for the example."""
    prompts = concept.prompts()
    share = lambda guidance: sum(map(concept.shows, figures.paint(pipe, prompts, 1_000, guidance=guidance))) / len(prompts)
    usual = run.config().sample.guidance
    before = share(usual)
    with _loaded(pipe, run):
        shown, faint = share(usual), share(FAINT)
    return Taught(before, shown, faint, kept(pipe, run, base))


class _loaded:
    """Inside: the pipeline with a run's LoRA."""

    def __init__(self, pipe, run: Run):
        self.pipe, self.file = pipe, run.result()

    def __enter__(self):
        self.pipe.load_lora_weights(self.file.parent, weight_name=self.file.name)

    def __exit__(self, *error):
        self.pipe.unload_lora_weights()
