"""Whether a run ends before its last step, and which of its checkpoints then becomes the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ..config import TrainConfig
from ..formats.adapting import is_whole
from ..plan import advising, validating
from ..runs.events import RunView, fold
from . import checkpoint


@dataclass
class Ending:
    """What was measured, and what follows from it.  It follows from that and the settings alone, so each process and each attempt says the same."""

    early: bool  # whether the run may end by itself
    every: int  # steps between checkpoints
    since: int = 0  # of the lowest checkpoint that was there: a run that trains longer has none from before its own beginning
    measured: RunView = field(default_factory=RunView)  # what was measured so far, folded from its events alone

    def note(self, step: int, told: dict) -> None:
        """told: what a `validation` event says of this step."""
        self.measured = fold(self.measured, [{"t": 0.0, "kind": "validation", "step": step, **told}])

    def enough(self, step: int) -> bool:
        """Whether going on from this step can only make it worse, and the run is to end then."""
        if not (self.early and self.measured.measures and self.measured.measures[-1][0] == step):
            return False
        advice = self.advice(self.choice(step))
        return advice.over and bool(advice.step)

    def choice(self, step: int) -> range:
        """The steps whose checkpoints a run that ends by itself may take, all of which are kept: the same however often it was stopped."""
        return range(max(self.every, -(-self.since // self.every) * self.every), step + 1, self.every)

    def advice(self, steps: Iterable[int]) -> advising.Advice:
        """What is advised of the checkpoints of these steps."""
        return advising.advise(self.measured.measures, self.measured.bases, tuple(steps), validating.POINTS)


def of(config: TrainConfig, adapter: ModuleType, held_out: int) -> Ending:
    """It may end by itself where that was asked for, and is measured against the base model.  held_out: pictures."""
    save = config.save
    return Ending(bool(save.stop_early and save.every and save.validate_every and held_out >= advising.FEWEST_PICTURES and not is_whole(adapter)), save.every)


def taken(session) -> tuple[Any, int]:
    """(a context in which the model of a session (loop.py) holds what the result is made of, the step of its checkpoint or 0 for the last): of a run that ended by itself the best one's."""
    if session.step == session.config.steps:
        return session.weights_for_use, 0
    step = session.ending.advice(session.ending.choice(session.step)).step
    if session.held.split:
        session.ctx.ranks.wait()  # the first one has written it
    files, *_ = checkpoint.load(dict(checkpoint.saved(session.ctx.run.path))[step])
    session.restore(files.get("ema", files["adapter"]))
    for module in session.modules.values():
        module.eval()
    return session.assistant.off, step
