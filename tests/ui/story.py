"""Runs as a worker leaves them: a folder with events, samples and checkpoints, written by the real code."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save

from training.config import TrainConfig
from training.home import REPO, Home
from training.runs import journal
from training.runs.run import Run, create

PROMPTS = ("a photo of zibbo", "zibbo <b>in</b> the snow")


def config(name: str = "my-zibbo", **more) -> TrainConfig:
    """A whole config on the built-in base."""
    data = {
        "name": name, "trigger": "zibbo", "steps": 100, "preset": "builtin-character", "model": {"family": "sd15", "source": "builtin"},
        "data": {"datasets": [{"name": "zibbo"}], "resolutions": [64], "batch_size": 4},
        "sample": {"prompts": list(PROMPTS), "every": 20, "width": 64, "height": 64}, "save": {"every": 20},
    }  # fmt: skip
    return TrainConfig.model_validate(data | more)


def run(home: Home, upto: int | None = 60, end: str = "", name: str = "my-zibbo", validate: bool = False, warnings=(), **ending) -> Run:
    """A run that came to step `upto` and ended so; upto None leaves it in the queue."""
    made = create(home.outputs, config(name))
    if upto is None:
        return made
    t = time.time() - upto - 10

    def tell(kind: str, **data) -> None:
        journal.append(made.events_path, {"t": t, "kind": kind, **data})

    tell("started", pid=2**30, attempt=1, boot_id="", oom_kills=-1, versions={"torch": "2.13.0"}, device="cpu")
    for text in warnings:
        tell("warning", text=text)
    tell("phase", name="encoding the pictures", done=3, of=16, unit="pictures")
    for step in range(upto + 1):
        if step:
            t += 1
            tell("step", step=step, of=100, loss=0.1 + math.exp(-step / 20), lr=1e-4, grad=0.5, images_per_s=4.0, memory_bytes=10**9)
            tell("phase", name="training", done=step, of=100, unit="steps")
            if validate and step % 10 == 0:
                tell("validation", step=step, loss=0.2 + abs(step - 40) / 1000, **_measured(step))
        if step % 20 == 0:
            for index, prompt in enumerate(PROMPTS):
                path = made.path / f"samples/{step:06d}_{index}.webp"
                path.parent.mkdir(exist_ok=True)
                Image.new("RGB", (8, 8), (step, 40 * index, 90)).save(path)
                tell("sample", step=step, index=index, prompt=prompt, path=f"samples/{path.name}", seed=42 + index)
            if step:
                folder = made.path / f"checkpoints/{step:06d}"
                folder.mkdir(parents=True)
                (folder / "adapter.safetensors").write_bytes(b"\0" * 2000)
                (folder / "MANIFEST.json").write_text(json.dumps({"step": step}))
                tell("checkpoint", step=step, path=f"checkpoints/{step:06d}")
    if end == "finished":
        weights = {f"lora_unet_mid_block_to_q.{what}": np.zeros((8, 8), np.float32) for what in ("lora_down.weight", "lora_up.weight")}
        (made.path / f"{name}.safetensors").write_bytes(save(weights | {"lora_unet_mid_block_to_q.alpha": np.array(8, np.float32)}))
        tell("finished", path=f"{name}.safetensors", summary="100 steps")
    elif end == "stopped":
        tell("stopped", step=upto)
    elif end == "failed":
        tell("failed", **({"error": "The disk is full.", "hint": "Free some space, then press Resume.", "trace": "Traceback <i>"} | ending))
    return made


def _measured(step: int) -> dict:
    """What a run measures of three held-out pictures that learns until step 50, and forgets from step 60 on."""
    bases = [0.1 + 0.1 * (n % 4) for n in range(12)]
    each = [base * (0.5 + 0.5 * math.exp(-min(step, 50) / 16) + max(0, step - 60) / 400) * (1 + 0.01 * math.sin(7 * n + step)) for n, base in enumerate(bases)]
    forgot = [(0.01 + max(0, step - 60) / 400) * (1 + 0.05 * math.sin(5 * n + step)) for n in range(8)]
    return {"each": each, "base_each": bases, "base": 0.25, "forgot": sum(forgot) / 8, "forgot_each": forgot, "took_s": 1.0}


@contextmanager
def alive(made: Run):
    """While inside, a process of its own holds the run's lock, as a worker does."""
    code = "import sys; from pathlib import Path; from training.runs.lock import RunLock; l = RunLock(Path(sys.argv[1])); print(l.acquire(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(made.lock_path)], cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline().strip() == "True"
        try:
            yield
        finally:
            child.stdin.close()


def pictures(home: Home, count: int = 3, captions: bool = True) -> str:
    """A dataset of small pictures; its name."""
    from training.data import datasets, importing

    folder = home.root / "given"
    folder.mkdir(exist_ok=True)
    files: list[Path] = []
    for n in range(count):
        files.append(folder / f"p{n}.png")
        Image.new("RGB", (70, 70), (20 * n, 90, 200 - 20 * n)).save(files[-1])
        if captions:
            files.append(folder / f"p{n}.txt")
            files[-1].write_text(f"a picture, number {n}")
    ds = datasets.create(home, "zibbo")
    importing.add_files(ds, files)
    return ds.name
