"""Trains a ControlNet on outlines over the built-in base, and measures whether it draws the shape at the outline's place.

    python -m tests.builtin.outlines            trains, and prints steps, seconds and the overlap on 40 new outlines
    python -m tests.builtin.outlines --keep DIR the run and its pictures stay in DIR

The pictures to learn from and the new outlines are drawn by the base's own scenes; the drawn picture's foreground is found by checker.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from presets.builtin.make.draw import Scene, caption, draw, random_scene
from tests.builtin.checker import closed, foreground, grown, largest_part, shrunk, to_lab
from tests.builtin.figures import BASE, GUIDANCE, SIDE_PX, STEPS
from training import jobfile, registry
from training.home import Home
from training.runs.context import Context
from training.runs.run import Run, create

PICTURES, NEW = 800, 40
JOB = {
    "kind": "train", "name": "outlines", "steps": 600, "seed": 1,
    "model": {"family": "sd15", "source": "builtin"},
    "data": {"resolutions": [64], "batch_size": 12, "caption_dropout": 0.3},
    "adapter": {"type": "controlnet"},
    "optimizer": {"learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 50},
    "loss": {"ema_decay": 0.99},
    "save": {"every": 0, "every_minutes": 0},
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """overlap: intersection over union of each new outline's shape and the foreground that was drawn; without: the same without a control picture.

    seconds: that the run took; core_seconds: of computing, which a busy machine does not lengthen.
    """

    overlap: list[float]
    without: list[float]
    seconds: float
    core_seconds: float

    def __str__(self) -> str:
        mean, least, bare = np.mean(self.overlap), min(self.overlap), np.mean(self.without)
        share = np.mean([o >= 0.7 for o in self.overlap])
        return f"overlap {mean:.3f} in the mean ({least:.2f} at least; 0.7 or more in {share:.0%}) on {len(self.overlap)} new outlines, {bare:.3f} without; trained in {self.seconds:.0f} s, {self.core_seconds:.0f} s of computing"


def shape_mask(scene: Scene) -> np.ndarray:
    """Where the scene's shape is, [H,W] bool."""
    bare = replace(scene, colour="white", background="black", style="flat", backdrop="plain", eyes=False, feeler="", tint=0)
    return np.asarray(draw(bare).convert("L")) > 128


def outline(mask: np.ndarray) -> Image.Image:
    """White on black: the rim of a mask, two px wide."""
    rim = grown(mask) & ~shrunk(mask)
    return Image.fromarray((rim * 255).astype(np.uint8)).convert("RGB")


def write(folder: Path, count: int = PICTURES) -> Path:
    """Pictures with captions and outlines, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random("learnt outlines")
    for n in range(count):
        scene = random_scene(rng)
        draw(scene).save(folder / f"{n:04d}.png")
        outline(shape_mask(scene)).save(folder / f"{n:04d}.control.png")
        (folder / f"{n:04d}.txt").write_text(caption(scene, rng) + "\n", encoding="utf-8")
    return folder


def train(home: Home, **changes) -> tuple[Run, float, float]:
    """The finished run in this process, the seconds that all of it took, and those of computing."""
    job = {**JOB, **changes}
    job["data"] = {**job["data"], "datasets": [{"name": str(write(home.root / "pictures with outlines"))}]}
    run = create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, job))
    began, computed = time.monotonic(), time.process_time()
    registry.get("jobs", "train").run(run.config(), Context(run, home, 1))
    return run, time.monotonic() - began, time.process_time() - computed


def measure(run: Run, seconds: float, core_seconds: float, kind: str = "controlnet", pictures: Path | None = None) -> Measured:
    """Draws NEW outlines with the finished network through diffusers' own pipeline."""
    import diffusers
    import torch

    beside = registry.get("families", "sd15").SPEC.beside[kind]
    network = getattr(diffusers, beside.network).from_pretrained(run.result(), subfolder=kind)
    pipe = getattr(diffusers, beside.pipeline).from_pretrained(BASE, **{beside.part: network}, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    rng, found = Random("new outlines"), {True: [], False: []}
    for n in range(NEW):
        scene = random_scene(rng)
        mask = shape_mask(scene)
        prompt = f"a {scene.colour} {scene.shape} on a {scene.background} background"
        for controlled in (True, False):
            shown = outline(mask) if controlled else Image.new("RGB", (SIDE_PX, SIDE_PX))
            image = pipe(
                prompt, **{beside.image: shown}, num_inference_steps=STEPS, guidance_scale=GUIDANCE, width=SIDE_PX, height=SIDE_PX,
                generator=torch.Generator().manual_seed(n),
            ).images[0]  # fmt: skip
            drawn = largest_part(closed(foreground(to_lab(np.asarray(image))), 1))
            found[controlled].append(float((drawn & mask).sum() / (drawn | mask).sum()))
            if pictures and controlled:
                Image.fromarray(np.hstack([np.asarray(shown), np.asarray(draw(scene)), np.asarray(image)])).resize((576, 192)).save(pictures / f"new {n:02d}.png")
    return Measured(found[True], found[False], seconds, core_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--steps", type=int, default=JOB["steps"])
    parser.add_argument("--rate", type=float, default=JOB["optimizer"]["learning_rate"])
    parser.add_argument("--batch", type=int, default=JOB["data"]["batch_size"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = asked.keep or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        changes = {"steps": asked.steps, "optimizer": {**JOB["optimizer"], "learning_rate": asked.rate}, "data": {**JOB["data"], "batch_size": asked.batch}}
        print(measure(*train(Home(root), **changes), pictures=asked.keep))


if __name__ == "__main__":
    main()
