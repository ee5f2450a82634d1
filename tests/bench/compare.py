"""Easel against diffusers' own train_text_to_image_lora.py: the same model, pictures, resolution, batch, adapter and optimizer, fp32 on the CPU.

    python -m tests.bench.compare PATH_OF_DIFFUSERS_CHECKOUT

The checkout's version must not be above the installed diffusers.  The script needs the package `datasets`; where it is not installed,
put it elsewhere (pip install --no-deps --target DIR datasets pyarrow dill xxhash multiprocess aiohttp yarl multidict propcache attrs
frozenlist aiosignal aiohappyeyeballs) and say --packages DIR.  Where torchvision is missing, the few transforms that the script needs are stood
in for by Pillow (children.py), which is told.  Both take turns, so that a busy machine troubles both alike; every figure is the median of the turns' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from training import jobfile
from training.config import TrainConfig
from training.home import Home
from training.runs.run import create
from training.runs.supervisor import worker_env

REPO = Path(__file__).resolve().parents[2]
SCRIPT = "examples/text_to_image/train_text_to_image_lora.py"
SIDE, BATCH, RANK, RATE = 256, 1, 4, 1e-4
PICTURES, PICTURE_PX = 16, (1280, 960)
BARS = {
    "s/step": 0.75, "s/step, bare pass": 1.02, "50 steps, warm caches": 0.70, "200 steps, cold": 0.90, "peak memory": 0.75,
}  # fmt: skip


@dataclass(frozen=True)
class Took:
    """One training.  All from the start of its process."""

    first_step_s: float
    step_s: float
    whole_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Bench:
    root: Path
    script: Path
    packages: list[str]
    told: list[str] = field(default_factory=list)  # which torchvision the script had

    def start(self, *args: str) -> tuple[dict, float, float]:
        """(what a child measured, time.time() of its start, seconds until it was gone).  Raises RuntimeError with its last words."""
        out, log = self.root / "measured.json", self.root / "log.txt"
        if args[0] in ("ours", "bare"):
            env = worker_env("train", Home(self.root))  # as the app starts it
        else:
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(self.packages), "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(self.root / "datasets cache")}
        out.write_text("{}", encoding="utf-8")
        began = time.time()
        with open(log, "wb") as stream:
            command = [sys.executable, "-m", "tests.bench.children", args[0], *([str(out)] if args[0] != "model" else []), *args[1:]]
            code = subprocess.run(command, cwd=REPO, env=env, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, check=False).returncode
        whole_s = time.time() - began
        if code:
            raise RuntimeError(f"{args[0]} ended with {code}:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
        return json.loads(out.read_text(encoding="utf-8")), began, whole_s

    def theirs(self, steps: int) -> Took:
        """The script, with empty caches of its own each time: it makes none that matter."""
        got, began, whole_s = self.start(
            "script", str(self.script), "--pretrained_model_name_or_path", str(self.root / "model"), "--train_data_dir", str(self.root / "theirs"),
            "--output_dir", str(self.root / "their output"), "--resolution", str(SIDE), "--center_crop", "--train_batch_size", str(BATCH), "--max_train_steps", str(steps),
            "--learning_rate", str(RATE), "--rank", str(RANK), "--seed", "0", "--caption_column", "text", "--image_column", "image",
        )  # fmt: skip
        self.told.append(got["torchvision"])
        return _took(list(enumerate(got["times"], start=1)), began, whole_s, got["peak_bytes"])

    def ours(self, steps: int, home: str) -> Took:
        """Our worker.  home: a new name has empty caches, one that was used before has warm ones."""
        at = Home(self.root / home).made()
        got, began, whole_s = self.start("ours", str(self._run(at, steps).path), str(at.root))
        return _took(got["steps"], began, whole_s, got["peak_bytes"])

    def bare(self, steps: int) -> list[tuple[float, float]]:
        """[(seconds of one step of ours, of a forward and backward pass alone)]."""
        at = Home(self.root / "bare").made()
        return self.start("bare", str(self._run(at, steps).path), str(at.root), str(steps))[0]["pairs"]

    def _run(self, home, steps: int):
        job = {
            "kind": "train", "name": "bench", "steps": steps, "seed": 0,
            "model": {"family": "sd15", "source": str(self.root / "model"), "dtype": "fp32"},
            "data": {"datasets": [{"name": str(self.root / "ours")}], "resolutions": [SIDE], "aspect_buckets": False, "batch_size": BATCH, "caption_dropout": 0.0},
            "adapter": {"rank": RANK, "alpha": float(RANK)},
            "optimizer": {"learning_rate": RATE, "schedule": "constant"},
            "save": {"every": 500, "every_minutes": 0},
        }  # fmt: skip
        return create(home.outputs, jobfile.parse(TrainConfig, job))


def _took(steps: list[tuple[int, float]], began: float, whole_s: float, peak_bytes: int) -> Took:
    (first, first_t), (last, last_t) = steps[0], steps[-1]
    return Took(first_t - began, (last_t - first_t) / (last - first), whole_s, peak_bytes)


def pictures(root: Path) -> None:
    """The same photographs for both: with text files for ours, with metadata.jsonl for theirs."""
    from PIL import Image, ImageFilter

    rows = []
    for n in range(PICTURES):
        noise = Image.effect_noise((PICTURE_PX[0] // 4, PICTURE_PX[1] // 4), 60 + n).filter(ImageFilter.GaussianBlur(2))
        picture = Image.merge("RGB", [noise.rotate(90 * turn, expand=False) for turn in range(3)]).resize(PICTURE_PX)
        for side in ("ours", "theirs"):
            (root / side).mkdir(exist_ok=True)
            picture.save(root / side / f"{n:02d}.jpg", quality=92)
        (root / "ours" / f"{n:02d}.txt").write_text(f"a photo of {n} red circles", encoding="utf-8")
        rows.append(json.dumps({"file_name": f"{n:02d}.jpg", "text": f"a photo of {n} red circles"}))
    (root / "theirs" / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("checkout", type=Path, help="a checkout of huggingface/diffusers")
    ask.add_argument("--packages", action="append", default=[], help="a folder with `datasets`, for the script only")
    ask.add_argument("--rounds", type=int, default=3, help="turns of 50 steps each")
    ask.add_argument("--long", type=int, default=200, help="steps of the long training; 0 leaves it out")
    ask.add_argument("--steps", type=int, default=50, help="steps of a turn")
    ask.add_argument("--skip-script", action="store_true", help="only ours against a bare forward and backward pass")
    args = ask.parse_args()
    path = args.checkout / SCRIPT
    if not path.is_file():
        ask.error(f"{path} is not there; give the folder of a checkout of huggingface/diffusers")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), path.resolve(), [str(Path(p).resolve()) for p in args.packages])
        bench.start("model", str(bench.root / "model"))
        pictures(bench.root)
        missed = measure(bench, args)
    sys.exit(bool(missed))


def measure(bench: Bench, args) -> list[str]:
    """Prints every figure; the names of the bars that were missed."""
    ratios: dict[str, list[float]] = {}
    if not args.skip_script:
        for n in range(args.rounds):
            theirs, cold, warm = bench.theirs(args.steps), bench.ours(args.steps, f"home {n}"), bench.ours(args.steps, f"home {n}")
            for name, value in {
                "s/step": (warm.step_s + cold.step_s) / 2 / theirs.step_s,
                "time to first step, cold": cold.first_step_s / theirs.first_step_s,
                f"{args.steps} steps, cold": cold.whole_s / theirs.whole_s,
                f"{args.steps} steps, warm caches": warm.whole_s / theirs.whole_s,
                "peak memory": max(cold.peak_bytes, warm.peak_bytes) / theirs.peak_bytes,
            }.items():
                ratios.setdefault(name, []).append(value)
            if not n:
                print(f"torchvision: {bench.told[-1]}")
            for who, took in (("script", theirs), ("cold", cold), ("warm", warm)):
                print(f"{who:>7}: first step {took.first_step_s:5.1f} s, {took.step_s:.3f} s/step, {took.whole_s:5.1f} s in all, {took.peak_bytes / 1e6:.0f} MB", flush=True)
        if args.long:
            ratios[f"{args.long} steps, cold"] = [bench.ours(args.long, "long").whole_s / bench.theirs(args.long).whole_s]
    pairs = bench.bare(args.steps)[3:]  # the first ones warm up
    ratios["s/step, bare pass"] = [statistics.median(a / b for a, b in pairs)]
    missed = []
    print("\nours / theirs        (median, all turns)")
    for name, values in ratios.items():
        middle, bar = statistics.median(values), BARS.get(name)
        verdict = "" if bar is None else f"bar {bar:.2f}: {'holds' if middle <= bar else 'MISSED'}"
        missed += [name] if bar is not None and middle > bar else []
        print(f"{name:28} {middle:.3f}  ({', '.join(f'{v:.2f}' for v in values)})  {verdict}")
    return missed


if __name__ == "__main__":
    main()
