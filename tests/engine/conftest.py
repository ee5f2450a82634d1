"""A small base model and pictures, made once; runs of the real training job in this process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests import tiny
from training import jobfile, registry
from training.runs.context import Context, Stopped
from training.runs.run import create


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny.sd15(tmp_path_factory.mktemp("base") / "tiny sd")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return tiny.pictures(tmp_path_factory.mktemp("data") / "kätzchen", 5)


@pytest.fixture
def lab(home, base, dataset):
    """Makes and runs jobs: lab.run(**changes) -> Run; lab.go(run, stop_at=step, stop_in=phase, at={phase: what then happens}) attempts a run once more."""

    def make(**changes):
        config = jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, dataset, **changes))
        return create(home.outputs, config)

    def go(run, stop_at: int | None = None, stop_in: str = "", at: dict | None = None):
        attempt = run.view().attempt + 1
        ctx = _Stopping(run, home, attempt, stop_at, stop_in, at or {})
        ctx.emit("started", pid=1, attempt=attempt, boot_id="", oom_kills=0, versions={}, device="CPU")
        try:
            registry.get("jobs", "train").run(run.config(), ctx)
        except Stopped as stopped:
            ctx.emit("stopped", step=stopped.step)
        return run

    return SimpleNamespace(make=make, go=go, run=lambda stop_at=None, **changes: go(make(**changes), stop_at), home=home)


class _Stopping(Context):
    """The real context, which also asks to stop once a step or a phase is reached, as a user's click at that moment would."""

    def __init__(self, run, home, attempt, stop_at, stop_in, at):
        super().__init__(run, home, attempt)
        self.stop_at, self.stop_in, self.at = stop_at, stop_in, at

    def phase(self, name, *rest):
        super().phase(name, *rest)
        self.at.get(name, lambda: None)()
        if self.stop_in and name.startswith(self.stop_in):
            self.request_stop()

    patient = False  # True: as if Stop was pressed on the page; a signal leaves no time for samples

    def step_due(self):
        return True  # every step is on record, so that tests can compare losses

    def step(self, step, *rest):
        super().step(step, *rest)
        if step == self.stop_at:
            self.request_stop()
            self.hurry = self.hurry and not self.patient
        return True


def state_files(run, step: int) -> dict[str, bytes]:
    """Every file of a checkpoint, byte for byte."""
    folder = run.path / "checkpoints" / f"{step:06d}"
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}
