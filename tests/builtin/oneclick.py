"""One click on the example, timed: what the Try-it-now card does, with the real worker.

    python -m tests.builtin.oneclick            trains once and prints every figure of the README
    python -m tests.builtin.oneclick --home DIR keeps the run in DIR
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from training.home import Home
from training.runs.run import Run

LIMIT_S = 1200


@dataclass(frozen=True)
class Click:
    """Seconds from the click to each thing."""

    card_s: float
    first_step_s: float
    finished_s: float
    run: Run

    def __str__(self) -> str:
        return (
            f"from the click: run card {self.card_s:.1f} s, first optimizer step {self.first_step_s:.1f} s (bar: 20 s), "
            f"finished LoRA {self.finished_s:.0f} s (bar: 240 s)"
        )


def click(home: Home) -> Click:
    """The example, trained from the click to the end.  Raises RuntimeError when it does not finish."""
    from training.runs.supervisor import Ticker
    from ui.tabs.dataset.welcome import start_example

    ticker = Ticker(home)  # as app.py does
    ticker.start()
    began, began_t = time.monotonic(), time.time()
    _, run_id = start_example(home)
    run = Run.open(home.outputs, run_id)
    card_s = time.monotonic() - began
    while run.status() in ("queued", "running") and time.monotonic() - began < LIMIT_S:
        time.sleep(0.2)
    ticker.stop()
    ticker.join()  # nothing is written into the home any more
    if run.status() != "finished":
        raise RuntimeError(f"the example run is {run.status()}: {run.why()}")
    records, _ = run.events()
    first = next(r["t"] for r in records if r["kind"] == "step")
    last = next(r["t"] for r in records if r["kind"] == "finished")
    return Click(card_s, first - began_t, last - began_t, run)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--home", type=Path, help="where to keep datasets and the run; a temporary folder if left out")
    args = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = click(Home((args.home or Path(folder)).resolve()).made())
        print(done, flush=True)
        trigger = done.run.config().trigger
        command = [sys.executable, "-m", "tests.builtin.figures", "--lora", str(done.run.result()), "--trigger", trigger]
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
