"""Merging, cutting down and extracting beside kohya's scripts: the same files, one after the other, fp32 on the processor.

    python -m tests.bench.weights PATH_OF_SD_SCRIPTS [--packages DIR] [--extract] [--older DIR]

PATH_OF_SD_SCRIPTS is a checkout of kohya-ss/sd-scripts; the packages that its library imports (opencv-python-headless, imagesize, toml, einops,
voluptuous) may lie in DIR.  Two LoRAs of SD 1.5's full size (rank 32, attention and feed-forward) are made of random numbers.  Timed is the work alone,
libraries imported, from reading the files to having written the result; each side takes turns.  --extract also makes two whole SD 1.5 models (4 GB
on disk, twice) and takes minutes: their script loads the whole models from single files, ours reads the folders layer by layer.
Their loader knows CLIP as transformers 4 has it: --older names a folder that holds it, with what fits it, for their side alone
(pip install --no-deps --target DIR transformers==4.57.3 tokenizers==0.22.1 huggingface_hub==0.36.0 diffusers==0.32.1).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.formats import released

RANK, SMALL, TURNS = 32, 8, 3


def lora(file: Path, seed: int) -> Path:
    """A LoRA as kohya's scripts write it, with falling singular values, as trained ones have them."""
    rng, made = np.random.default_rng(seed), {}
    fall = (0.9 ** np.arange(RANK)).astype(np.float32)
    for name, shape in released.sd15().items():
        if len(shape) == 2:
            stem = f"lora_unet_{name.replace('.', '_')}"
            made |= {f"{stem}.lora_down.weight": rng.standard_normal((RANK, shape[1]), np.float32) * fall[:, None], f"{stem}.lora_up.weight": 0.01 * rng.standard_normal((shape[0], RANK), np.float32), f"{stem}.alpha": np.array(16, np.float32)}
    save_file(made, file, {"ss_network_module": "networks.lora", "ss_network_dim": str(RANK), "ss_network_alpha": "16", "ss_base_model_version": "sd_v1", "ss_v2": "False"})
    return file


def dense(file: Path) -> dict[str, np.ndarray]:
    t = load_file(file)
    stems = [k.removesuffix(".lora_down.weight") for k in t if k.endswith(".lora_down.weight")]
    product = lambda s: t[f"{s}.lora_up.weight"].reshape(len(t[f"{s}.lora_up.weight"]), -1).astype(np.float64) @ t[f"{s}.lora_down.weight"].reshape(len(t[f"{s}.lora_down.weight"]), -1)
    return {s: float(t[f"{s}.alpha"]) / len(t[f"{s}.lora_down.weight"]) * product(s) for s in stems}


def off(found: dict, truth: dict) -> float:
    """Relative difference, Frobenius, of all layers together."""
    return float(np.sqrt(sum(np.sum((found[k] - truth[k]) ** 2) for k in truth) / sum(np.sum(v**2) for v in truth.values())))


def ours(kind: str, settings: dict, home: Path) -> Path:
    """A tool's run in this process.  Prints what it took."""
    from training import jobfile, registry
    from training.home import Home
    from training.runs.context import Context
    from training.runs.run import create

    place = Home(home).made()
    job = registry.get("jobs", kind)
    run = create(place.outputs, jobfile.parse(job.Config, {"kind": kind, "name": "made", **settings}, "the bench"))
    ctx = Context(run, place, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="")
    if kind == "extract":
        import torch  # noqa: F401 imported before the clock starts, as on their side

        import training.engine.weights  # noqa: F401
    began = time.perf_counter()
    job.run(run.config(), ctx)
    told(began, run.result())
    return run.result()


def theirs(script: str, words: list[str], checkout: Path) -> None:
    """One of their scripts in this process.  Prints what it took."""
    import diffusers  # noqa: F401 before the stand-in: it must not look for torchvision
    from transformers import (  # noqa: F401
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionModelWithProjection,
    )

    sys.path[:0] = [str(checkout), str(checkout / "networks")]
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.io"):
        sys.modules[name] = _Nothing(name)
        if "." in name:
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], sys.modules[name])
    sys.modules["transformers"].CLIPFeatureExtractor = CLIPImageProcessor  # as transformers 4 called it
    module = __import__(script)
    args = module.args = module.setup_parser().parse_args(words)  # as a script it has them as a global, and one function reads that
    began = time.perf_counter()
    {"merge_lora": lambda: module.merge(args), "resize_lora": lambda: module.resize(args), "extract_lora_from_models": lambda: module.svd(**vars(args))}[script]()
    told(began, Path(args.save_to))


class _Nothing(type(sys)):
    """A module that has whatever is asked of it and does nothing: their library imports torchvision for pictures, which nothing here uses."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *a, **k: None})


def told(began: float, made: Path) -> None:
    took = time.perf_counter() - began
    print("TOOK " + json.dumps({"s": took, "peak": peak_bytes(), "made": str(made)}), flush=True)


def peak_bytes() -> int:
    """The most memory that this process had, on Linux; getrusage would give its parent's."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def child(packages: list[str], *words: str) -> dict:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *packages])}
    done = subprocess.run([sys.executable, "-m", "tests.bench.weights", "--child", *words], capture_output=True, text=True, env=env, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("TOOK ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{words}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
    return json.loads(lines[-1][5:])


def side_by_side(title: str, mine: list[str], other: list[str], packages: list[str], turns: int, older: list[str] | None = None) -> tuple[Path, Path]:
    """Prints the medians and their ratio; the two results.  older: packages for their side alone."""
    one, two = zip(*[(child(packages, *mine), child([*(older or []), *packages], *other)) for _ in range(turns)], strict=True)
    seconds = [statistics.median(t["s"] for t in side) for side in (one, two)]
    peaks = [max(t["peak"] for t in side) / 2**30 for side in (one, two)]
    print(f"{title}: ours {seconds[0]:.2f} s, theirs {seconds[1]:.2f} s, {seconds[1] / seconds[0]:.1f} x as fast; peak {peaks[0]:.2f} and {peaks[1]:.2f} GiB", flush=True)
    return Path(one[-1]["made"]), Path(two[-1]["made"])


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        side, *words = sys.argv[2:]
        if side == "ours":
            ours(words[0], json.loads(words[1]), Path(words[2]))
        else:
            theirs(words[0], json.loads(words[1]), Path(words[2]))
        return
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("checkout", type=Path)
    ask.add_argument("--packages", action="append", default=[])
    ask.add_argument("--extract", action="store_true")
    ask.add_argument("--older", action="append", default=[])
    ask.add_argument("--turns", type=int, default=TURNS)
    args = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        compare(root, args.checkout.resolve(), args.packages, args.turns)
        if args.extract:
            extract(root, args.checkout.resolve(), args.packages, args.older)


def compare(root: Path, checkout: Path, packages: list[str], turns: int) -> None:
    a, b = lora(root / "a.safetensors", 1), lora(root / "b.safetensors", 2)
    one, other, home = dense(a), dense(b), str(root / "home")
    uses = lambda *pairs: {"adapters": [{"file": str(f), "strength": s} for f, s in pairs], "precision": "fp32"}
    for name, pairs in (("one at 0.5", ((a, 0.5),)), ("two at 0.7 and 0.3", ((a, 0.7), (b, 0.3)))):
        words = ["--models", *(str(f) for f, _ in pairs), "--ratios", *(str(s) for _, s in pairs), "--save_to", str(root / "theirs.safetensors"), "--precision", "float", "--save_precision", "float"]
        mine, their = side_by_side(f"merge, {name}", ["ours", "merge", json.dumps(uses(*pairs)), home], ["theirs", "merge_lora", json.dumps(words), str(checkout)], packages, turns)
        truth = {k: sum(s * {a: one, b: other}[f][k] for f, s in pairs) for k in one}
        print(f"    off the exact sum: ours {off(dense(mine), truth):.1e}, theirs {off(dense(their), truth):.1e}")
    words = ["--model", str(a), "--new_rank", str(SMALL), "--save_to", str(root / "small.safetensors"), "--save_precision", "float"]
    mine, their = side_by_side(
        f"resize to rank {SMALL}", ["ours", "resize", json.dumps({"adapter": str(a), "rank": SMALL, "share": 1.0, "precision": "fp32"}), home],
        ["theirs", "resize_lora", json.dumps(words), str(checkout)], packages, turns,
    )  # fmt: skip
    best = {}
    for k, v in one.items():
        u, s, w = np.linalg.svd(v, full_matrices=False)
        best[k] = (u[:, :SMALL] * s[:SMALL]) @ w[:SMALL]
    print(f"    off the best of that rank: ours {off(dense(mine), best):.1e}, theirs {off(dense(their), best):.1e}")


def extract(root: Path, checkout: Path, packages: list[str], older: list[str]) -> None:
    """Two SD 1.5 models of full size: random numbers, and those with a LoRA of rank 32 in each matrix."""
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from training.families.sd15 import SPEC
    from training.tools.fuse_file import assembly

    sys.path[:0] = [str(checkout), *packages]
    torch.manual_seed(0)
    unet = UNet2DConditionModel(cross_attention_dim=768)
    text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12, projection_dim=768))
    vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=2)
    parts = {"unet": unet, "text_encoder": text, "vae": vae}
    folders = [root / "base", root / "tuned"]
    changes = {}
    with torch.no_grad():
        for folder in folders:
            for name, part in parts.items():
                part.save_pretrained(folder / name)
            DDPMScheduler(beta_schedule="scaled_linear").save_pretrained(folder / "scheduler")
            (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
            if folder == folders[0]:
                for name, weight in unet.named_parameters():
                    if name.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "ff.net.0.proj.weight", "ff.net.2.weight")):
                        change = 0.02 * torch.randn(weight.shape[0], RANK) @ torch.randn(RANK, weight.shape[1])
                        changes[f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"] = change.double().numpy()
                        weight += change
    singles = []
    for folder in folders:  # what their script reads: one file under the names of the first release
        singles.append(folder.with_suffix(".safetensors"))
        assembly(folder, SPEC).write(singles[-1], {}, {}, lambda *_: None)
    words = ["--model_org", str(singles[0]), "--model_tuned", str(singles[1]), "--save_to", str(root / "theirs.safetensors"), "--dim", str(RANK), "--save_precision", "float"]
    mine, their = side_by_side(
        f"extract, rank {RANK}", ["ours", "extract", json.dumps({"family": "sd15", "tuned": str(folders[1]), "base": str(folders[0]), "rank": RANK, "targets": "attention+ff"}), str(root / "home")],
        ["theirs", "extract_lora_from_models", json.dumps(words), str(checkout)], packages, 1, older,
    )  # fmt: skip
    for who, file in (("ours", mine), ("theirs", their)):
        found = dense(file)
        print(f"    {who}: {len(found)} layers, of {len(changes)} that changed {len(set(found) & set(changes))}, off by {off({k: found.get(k, 0 * v) for k, v in changes.items()}, changes):.1e}")


if __name__ == "__main__":
    main()
