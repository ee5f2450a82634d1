"""The processes that compare.py starts.  Each leaves a JSON file of what it measured.

    python -m tests.bench.children model FOLDER | script OUT SCRIPT ARGS... | ours OUT RUN HOME | bare OUT RUN HOME STEPS
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import random
import runpy
import sys
import time
import types
from pathlib import Path

WIDTH = 4  # the networks are SD 1.5's with every width divided by this, so that the shares of UNet, VAE and text encoder stay


def model(folder: str) -> None:
    """A random SD 1.5, a quarter as wide: published widths of its UNet, VAE and CLIP (their config.json on the Hub), divided."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests import tiny

    tokenizer = tiny.clip_tokenizer(77)
    torch.manual_seed(0)
    text = CLIPTextConfig(
        hidden_size=768 // WIDTH, intermediate_size=3072 // WIDTH, num_hidden_layers=12, num_attention_heads=12, projection_dim=768 // WIDTH,
        vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        block_out_channels=tuple(c // WIDTH for c in (320, 640, 1280, 1280)), cross_attention_dim=768 // WIDTH, norm_num_groups=16, attention_head_dim=8,
        sample_size=32,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=tuple(c // WIDTH for c in (128, 256, 512, 512)), layers_per_block=2, norm_num_groups=16, sample_size=256,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    )  # fmt: skip
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text).eval(), tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def script(out: str, path: str, *args: str) -> None:
    """diffusers' script as it is; a step is over when it tells its tracker of it."""
    import accelerate
    import diffusers  # noqa: F401 looks for torchvision when it is imported, as datasets does
    from transformers.utils import is_torchvision_available

    importlib.import_module("datasets")
    stand_in = not is_torchvision_available()
    if stand_in:
        _torchvision()
    times: list[float] = []
    log = accelerate.Accelerator.log

    def timed(self, *a, **k):
        times.append(time.time())
        return log(self, *a, **k)

    accelerate.Accelerator.log = timed
    sys.argv = [path, *args]
    runpy.run_path(path, run_name="__main__")
    _leave(out, times=times, torchvision="a stand-in over Pillow" if stand_in else "torchvision's own")


def ours(out: str, run: str, home: str) -> None:
    """The real worker."""
    from training.runs import worker
    from training.runs.run import Run

    if worker.main([run, home, "0"]):
        raise SystemExit(f"our run failed: {Run(Path(run)).why()}")
    events, _ = Run(Path(run)).events()
    steps = [(e["step"], e["t"]) for e in events if e["kind"] == "step"]
    phases = [(e["name"], e["t"]) for e in events if e["kind"] == "phase"]
    _leave(out, steps=steps, phases=phases)


def bare(out: str, run: str, home: str, steps: str) -> None:
    """Steps of our loop and bare forward + backward passes of the same network, batch and adapter, in turn in one process."""
    import torch

    from training.engine import obeying
    from training.engine.loop import Session
    from training.engine.prepare import prepare
    from training.home import Home
    from training.runs.context import Context
    from training.runs.run import Run

    record = Run(Path(run))
    config = record.config()
    ctx = Context(record, Home(Path(home)), 1)
    session = Session(config, ctx, prepare(config, ctx))
    unet, weights = session.m.denoiser, session.weights
    noisy, target = (torch.randn(session.feed.at(0)[0].latents.shape) for _ in range(2))
    t, embeds = torch.full((len(noisy),), 500), session.feed.at(0)[0].cond.tensors["embeds"]
    session.restart_clock()
    pairs = []
    for _ in range(int(steps)):
        began = time.perf_counter()
        obeying.obey(session)
        session._tell(*session._advance())
        middle = time.perf_counter()
        said = unet(noisy, t, encoder_hidden_states=embeds, return_dict=False)[0]
        torch.nn.functional.mse_loss(said, target).backward()
        pairs.append((middle - began, time.perf_counter() - middle))
        for weight in weights:
            weight.grad = None
    _leave(out, pairs=pairs)


def _leave(out: str, **measured) -> None:
    import resource

    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    measured["peak_bytes"] = peak_kb * (1 if sys.platform == "darwin" else 1024)
    Path(out).write_text(json.dumps(measured), encoding="utf-8")


def _torchvision() -> None:
    """What the script needs of torchvision.transforms, over Pillow and torch: torchvision itself would pull another torch."""
    import torch
    from PIL import Image

    def crop_at(x, left, top, side):
        return x.crop((left, top, left + side, top + side))

    def resize(side, interpolation):
        def act(x):
            scale = side / min(x.size)
            return x.resize((max(side, int(x.width * scale)), max(side, int(x.height * scale))), interpolation)

        return act

    def to_tensor(x):
        import numpy

        return torch.from_numpy(numpy.array(x)).permute(2, 0, 1).contiguous().float().div(255)

    t = types.ModuleType("torchvision.transforms")
    t.InterpolationMode = types.SimpleNamespace(**{name: getattr(Image.Resampling, name) for name in ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")})
    t.Resize = resize
    t.CenterCrop = lambda side: lambda x: crop_at(x, (x.width - side) // 2, (x.height - side) // 2, side)
    t.RandomCrop = lambda side: lambda x: crop_at(x, random.randint(0, x.width - side), random.randint(0, x.height - side), side)
    t.RandomHorizontalFlip = lambda: lambda x: x.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else x
    t.Lambda = lambda act: act
    t.ToTensor = lambda: to_tensor
    t.Normalize = lambda mean, std: lambda x: (x - mean[0]) / std[0]

    def compose(acts):
        def act(x):
            for one in acts:
                x = one(x)
            return x

        return act

    t.Compose = compose
    package = types.ModuleType("torchvision")
    package.transforms = t
    for module in (package, t):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        sys.modules[module.__name__] = module


if __name__ == "__main__":
    {"model": model, "script": script, "ours": ours, "bare": bare}[sys.argv[1]](*sys.argv[2:])
