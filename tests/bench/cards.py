"""Two processes on two cores against one on one: how much of a step is shared out.

    python -m tests.bench.cards FOLDER [--rounds 2]

Real runs, started as a person starts them, of a Stable Diffusion 1.5 a quarter as wide (tests/bench/children.py) at 128 px, a thread a
process (OMP_NUM_THREADS=1).  Of each round the time a step takes, first steps left out; the aim is 1.6 times.  It says how busy the
machine was: what else runs on these cores takes from the two processes twice what it takes from the one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

AIM = 1.6
STEPS, WARM = 14, 3
JOB = {
    "steps": STEPS, "data__resolutions": [128], "data__batch_size": 1, "optimizer__accumulation": 4, "adapter__targets": "attention+ff", "sample__every": 0,
    "save__every": STEPS, "data__aspect_buckets": False,
}  # fmt: skip


def step_s(base: Path, pictures: Path, home, processes: int) -> float:
    """Seconds of an optimizer step, from one event to the last."""
    from tests import tiny
    from training import jobfile, registry
    from training.runs import supervisor
    from training.runs.run import create

    config = jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, pictures, **JOB, gpus=processes))
    run = create(home.outputs, config)
    supervisor.start(run, home)
    while run.status() in ("running", "queued"):
        time.sleep(0.2)
    if run.status() != "finished":
        raise RuntimeError(run.why())
    told = [(event["step"], event["t"]) for event in run.events()[0] if event["kind"] == "step" and event["step"] > WARM]
    return (told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0])


def main() -> None:
    """Prints each round, and the median of how many times faster two are."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path, help="where the model, the pictures and the runs go")
    asked.add_argument("--rounds", type=int, default=2)
    given = asked.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    from tests import tiny
    from tests.bench.children import model
    from training.home import Home

    base = given.folder / "base"
    if not base.is_dir():
        model(str(base))
    pictures = tiny.pictures(given.folder / "pictures", 8, sizes=((128, 128),))
    home = Home(given.folder / "home").made()
    found = []
    for number in range(given.rounds):
        one, two = (step_s(base, pictures, home, processes) for processes in (1, 2))
        found.append(one / two)
        load = f", load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
        print(f"round {number + 1}: {one:.2f} s a step alone, {two:.2f} s by two, {one / two:.2f} times as fast{load}", flush=True)
    print(f"median {statistics.median(found):.2f} times; the aim is {AIM}")


if __name__ == "__main__":
    main()
