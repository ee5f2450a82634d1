"""Estimates of memory against what a real worker takes, on models of four sizes.  Each costs a process that imports the libraries."""

import importlib
import json
import subprocess
import sys
import textwrap

import pytest

from tests import tiny
from tests.plan.test_presets import LAPTOP, REPO
from training import jobfile
from training.config import TrainConfig
from training.plan.estimate import PROCESS_BYTES, estimate
from training.runs.supervisor import worker_env

WORKER = textwrap.dedent("""
    import gc, json, sys, threading, time
    gc.disable()  # as a worker does while it imports
    import torch, peft, torchao.quantization, diffusers.pipelines.flux, diffusers.pipelines.stable_diffusion, transformers.models.clip.modeling_clip, transformers.models.t5.modeling_t5
    from training import registry, jobfile
    from training.home import Home, find_home
    from training.runs.context import Context
    from training.runs.run import create
    gc.freeze()
    gc.enable()
    rss = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
    home = find_home()
    config = jobfile.parse(registry.get("jobs", "train").Config, json.loads(sys.argv[1]))
    run = create(home.outputs, config)
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    before, peak, done = rss(), [0], []
    def watch():
        while not done:
            peak[0] = max(peak[0], rss()); time.sleep(0.002)
    thread = threading.Thread(target=watch); thread.start()
    try:
        registry.get("jobs", "train").run(config, ctx)
    finally:
        done.append(1); thread.join()
    print(json.dumps({"peak": peak[0], "before": before}))
""")


def build(size, folder):
    """(family, base model folder) of a size; encoders and VAE are the toys'."""
    from diffusers import FluxTransformer2DModel, UNet2DConditionModel

    family = "flux1" if size.startswith("flux") else "sd15"
    importlib.import_module(f"tests.families.{family}").build(folder)
    if family == "sd15":
        width = {"unet 4 M": 64, "unet 15 M": 128, "unet 35 M": 192}[size]
        made = UNet2DConditionModel(
            block_out_channels=(width, 2 * width), layers_per_block=1, cross_attention_dim=16, norm_num_groups=2, attention_head_dim=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
        made.save_pretrained(folder / "unet")
    else:
        made = FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=2, num_single_layers=4, attention_head_dim=32, num_attention_heads=12, joint_attention_dim=32,
            pooled_projection_dim=32, axes_dims_rope=[8, 12, 12], guidance_embeds=True,
        )  # fmt: skip
        made.save_pretrained(folder / "transformer")
    assert f"{sum(p.numel() for p in made.parameters()) / 1e6:.0f} M" in size
    return family, folder


def measure(home, size, folder, dataset, **changes):
    family, base = build(size, folder)
    job = tiny.train_job(
        base, dataset, model__family=family, data__resolutions=[128], data__batch_size=2, sample__every=0, steps=2, optimizer__schedule="constant", **changes
    )
    config = jobfile.parse(TrainConfig, job)
    told = estimate(config, LAPTOP, 4, home)
    said = subprocess.run([sys.executable, "-c", WORKER, json.dumps(job)], capture_output=True, text=True, check=True, env=worker_env("train", home) | {"PYTHONPATH": str(REPO)})
    return told, json.loads(said.stdout.splitlines()[-1])


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident memory of a process is read from /proc")


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize(("size", "level"), [("unet 4 M", "off"), ("unet 35 M", "off"), ("unet 35 M", "all"), ("flux 20 M", "off")])
def test_a_worker_takes_about_what_was_told(home, size, level, tmp_path, capsys):
    compare(home, size, tmp_path, capsys, loss__gradient_checkpointing=level)


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("size, changes", [
    ("flux 20 M", {"model__dtype": "bf16"}),
    ("flux 20 M", {"model__quantise": "int8", "loss__gradient_checkpointing": "all"}),
    ("flux 20 M", {"model__quantise": "int8", "loss__gradient_checkpointing": "off"}),
    ("unet 15 M", {"model__quantise": "nf4"}),
])  # fmt: skip
def test_so_it_does_in_fewer_bits(home, size, changes, tmp_path, capsys):
    compare(home, size, tmp_path, capsys, **changes)


def compare(home, size, tmp_path, capsys, **changes):
    dataset = tiny.pictures(tmp_path / "pictures", 4, sizes=((128, 128),))
    told, found = measure(home, size, tmp_path / "base", dataset, **changes)
    above_told, above = told.ram_bytes - PROCESS_BYTES, found["peak"] - found["before"]
    with capsys.disabled():
        row = (told.ram_bytes, found["peak"], above_told, above)
        print(f"\n{size} {changes}: told {row[0] / 1e6:.0f} MB, took {row[1] / 1e6:.0f}; above the libraries {row[2] / 1e6:.0f}, took {row[3] / 1e6:.0f}")
    assert told.ram_bytes == pytest.approx(found["peak"], rel=0.25)
    if above > 150e6:  # less than that drowns in what torch's kernels take when they first run
        assert 0.75 * above < above_told < 1.35 * above
