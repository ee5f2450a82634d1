"""What a page asks every two seconds while a run of many events goes on: how long the answer takes.  Run it: python -m tests.bench.poll [events]

Each turn one step is added and the tick is called as Gradio calls it, with what the page sends, once for each tab that shows runs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time

from tests.ui import story
from training.home import find_home
from training.runs import journal
from ui import shell

EVENTS, TURNS, FIRST_TURNS = 100_000, 60, 10
LIMIT_S = 0.010


def main(events: int) -> None:
    import gradio as gr

    with tempfile.TemporaryDirectory() as folder:
        home = find_home(folder).made()
        run = story.run(home, 100)
        t = time.time()
        step = {"kind": "step", "of": 2 * events, "loss": 0.1, "lr": 1e-4, "grad": 0.5, "images_per_s": 4.0, "memory_bytes": 10**9}
        with open(run.events_path, "ab") as file:
            file.writelines(journal.line(step | {"t": t, "step": n}) for n in range(101, events + 1))
        with story.alive(run):
            demo = shell.build(home)
            block = next(f for f in demo.fns.values() if any(event == "tick" for _, event in f.targets))
            for tab in ("results", "train", "dataset"):
                held = {c._id: run.id if isinstance(c, gr.BrowserState) and c.storage_key == "easel-run" else getattr(c, "value", None) for c in block.inputs}
                took = []
                for turn in range(TURNS):
                    journal.append(run.events_path, step | {"t": time.time(), "step": events + turn + 1})
                    began = time.perf_counter()
                    answers = block.fn(tab, *[held[c._id] for c in block.inputs[1:]])
                    took.append(time.perf_counter() - began)
                    for component, answer in zip(block.outputs, answers, strict=True):
                        if component._id in held and answer != gr.skip():
                            held[component._id] = answer
                    time.sleep(0.05)
                took = took[FIRST_TURNS:]  # what is read once is read by then
                print(f"{tab:8} {events:,} events: median {1000 * statistics.median(took):5.1f} ms, most {1000 * max(took):5.1f} ms   (promised: {1000 * LIMIT_S:.0f})", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
