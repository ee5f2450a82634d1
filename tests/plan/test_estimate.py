"""Estimates: they follow from the config, say when they are rough, and refuse with the missing figure."""

import math
import time
from dataclasses import replace

import pytest

from tests import tiny
from tests.plan.test_presets import CARD, GB, LAPTOP
from training import jobfile, registry
from training.config import AdapterPart, TrainConfig
from training.data import datasets
from training.families import sd15
from training.families.sd15 import SPEC
from training.plan import estimate, layers, need, pace
from training.plan.estimate import steps_per_epoch
from training.runs import journal
from training.runs.run import create


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.sd15(tmp_path_factory.mktemp("base") / "tiny sd")


def job(source="stable-diffusion-v1-5/stable-diffusion-v1-5", **changes) -> TrainConfig:
    return jobfile.parse(TrainConfig, tiny.train_job(source, "pictures", **changes))


FULL = {"data__resolutions": [512], "sample__width": 512, "sample__height": 512, "sample__every": 100, "steps": 1000, "adapter__rank": 16}


def at(config, machine=CARD, pictures=20, home=None):
    return estimate.estimate(config, machine, pictures, home)


def test_steps_per_epoch_is_what_the_engine_does():
    from training.engine.buckets import plan_epoch

    buckets = [(64, 64)] * 7 + [(96, 48)] * 4 + [(48, 96)]
    for per_step in (1, 2, 3, 4, 8, 100):
        assert steps_per_epoch(buckets, per_step) == len(plan_epoch(buckets, per_step, seed=1, epoch=0))


def test_epochs_count_pictures_repeats_resolutions_and_what_is_held_out(home, base):
    config = job(base, data__datasets=[{"name": "a", "repeats": 3}], data__resolutions=[32, 64], data__held_out=2, data__batch_size=2, steps=90)
    found = at(config, LAPTOP, 12, home)
    assert found.steps_per_epoch == (12 - 2) * 3 * 2 // 2
    assert found.epochs == 3
    assert "60 pictures an epoch ÷ 2 a step = 30 steps an epoch; 90 steps are 3 epochs" in found.sentences


def test_mixed_shapes_are_counted_as_the_engine_forms_them(home, base, tmp_path):
    from training.engine.cache import Cache
    from training.engine.data import Feed, plan

    folder = tiny.pictures(tmp_path / "mixed", 6, sizes=((64, 64), (96, 64), (64, 96), (120, 60)))
    config = job(base, data__datasets=[{"name": str(folder), "repeats": 2}], data__resolutions=[32, 48], data__batch_size=5, steps=100)
    few = plan(config, home, SPEC, 4, lambda text: None)
    first = few.items[0].id.rpartition("/")[2]
    datasets.resolve(home, str(folder)).set_repeats({first: 3})
    work = plan(config, home, SPEC, 4, lambda text: None)
    assert len(work.items) == len(few.items) + 2 * 2 * 2  # twice more, at two sizes, in a dataset that counts twice
    assert work.fingerprint != few.fingerprint
    feed = Feed(config, work, Cache(tmp_path), "", str, None, "cpu")
    found = at(config, LAPTOP, 6, home)
    assert found.steps_per_epoch == feed.steps_per_epoch > math.ceil(len(work.items) / 5)
    assert any("each shape apart" in s for s in found.sentences)


def test_the_layers_are_read_from_the_files(base):
    import torch
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig
    from torch.utils.flop_counter import FlopCounterMode

    model = layers.base_model(str(base), "", sd15)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    assert model.local and model.denoiser.exact
    assert model.denoiser.parameters == sum(p.numel() for p in unet.parameters())
    with FlopCounterMode(display=False) as count, torch.no_grad():
        unet(torch.zeros(1, 4, 32, 32), torch.zeros(1), torch.zeros(1, layers.TEXT_TOKENS, 16))
    assert model.denoiser.flops(32 * 32) == pytest.approx(count.get_total_flops(), rel=0.2)
    for targets in ("attention", "attention+ff", "all"):
        unet = UNet2DConditionModel.from_pretrained(base / "unet").requires_grad_(False)
        unet.add_adapter(LoraConfig(r=3, target_modules=list(SPEC.lora_targets[targets])))
        config = AdapterPart(rank=3, targets=targets)
        assert model.denoiser.adapter(registry.get("adapters", "lora"), config, SPEC.lora_targets[targets]) == sum(p.numel() for p in unet.parameters() if p.requires_grad)


def test_sd15_is_known_before_it_is_downloaded(home):
    found = at(job(**FULL, model__dtype="bf16", device="cuda"), home=home)
    assert 1.8 * GB < found.download_bytes < 2.6 * GB  # the repository's fp16 files: 2.1 GB
    assert 3 * GB < found.vram_bytes < 7 * GB
    assert found.disk_bytes > found.download_bytes
    assert found.fits


def meta(network, **how):
    from accelerate import init_empty_weights

    with init_empty_weights():
        made = network(**how)
    return {name: tuple(p.shape) for name, p in made.named_parameters()}


@pytest.mark.parametrize("name, how", [
    ("FluxTransformer2DModel", {"guidance_embeds": True}),
    ("WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}),
    ("Lumina2Transformer2DModel", {}),
    ("UNet2DConditionModel", {"cross_attention_dim": 768}),
])  # fmt: skip
def test_what_is_told_of_a_network_before_it_is_here_is_near_its_shapes(name, how):
    import diffusers

    unet = name.startswith("UNet")
    exact = layers.of_shapes(meta(getattr(diffusers, name), **how), 1 if unet else 2)
    told = layers.Network(exact.parameters, (), 0 if unet else 4)
    for cells in (64 * 64, 128 * 128):
        assert told.values(cells) == pytest.approx(exact.values(cells), rel=0.3)
        assert told.flops(cells) == pytest.approx(exact.flops(cells), rel=0.5)
        assert 0.5 < told.largest(cells) / exact.largest(cells) < 2
    for level in ("off", "all"):
        config = jobfile.parse(TrainConfig, tiny.train_job("x", "pictures", **{**FULL, "device": "cuda", "model__dtype": "bf16", "loss__gradient_checkpointing": level}))
        size = need.Size(128 * 128, 1024 * 1024, 128 * 128, 1024 * 1024)
        models = [layers.BaseModel(network, network, network, 768, 0, 8, 16, False) for network in (exact, told)]
        whole = [need._step(config, m, unet, size.cells, False) + need.held(m.denoiser, "none", 2, unet) for m in models]
        assert whole[1] == pytest.approx(whole[0], rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("family, source, network, how", [
    ("sd35", "stabilityai/stable-diffusion-3.5-large", "SD3Transformer2DModel", {
        "num_layers": 38, "num_attention_heads": 38, "attention_head_dim": 64, "caption_projection_dim": 2432, "pos_embed_max_size": 192, "qk_norm": "rms_norm",
        "in_channels": 16, "out_channels": 16, "pooled_projection_dim": 2048, "joint_attention_dim": 4096,
    }),
    ("wan21", "Wan-AI/Wan2.1-T2V-14B-Diffusers", "WanTransformer3DModel", {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}),
    ("flux2_klein", "black-forest-labs/FLUX.2-klein-base-9B", "Flux2Transformer2DModel", {
        "num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288, "guidance_embeds": False,
    }),
])  # fmt: skip
def test_a_larger_checkpoint_of_a_family_is_known_before_it_is_here(home, family, source, network, how):
    import diffusers

    spec = registry.get("families", family).SPEC
    weights = sum(math.prod(shape) for shape in meta(getattr(diffusers, network), **how).values())
    assert spec.sized(source).parameters == pytest.approx(weights, rel=0.02)
    assert spec.sized("somebody/else") == spec
    usual, large = (at(job(id, model__family=family, device="cuda", model__dtype="bf16", sample__every=0, data__resolutions=[512]), home=home) for id in (spec.default_source, source))
    assert large.vram_bytes - usual.vram_bytes > 1.8 * (weights - spec.parameters)  # bf16
    assert large.download_bytes > usual.download_bytes


def test_blocks_that_are_never_recomputed_are_counted(home):
    config = job("Alpha-VLLM/Lumina-Image-2.0", model__family="lumina2", device="cuda", model__dtype="bf16", loss__gradient_checkpointing="all", **FULL)
    model = layers.base_model(config.model.source, "", registry.get("families", "lumina2"))
    with_refiners, without = (need._step(config, m, False, 128 * 128, False) for m in (model, replace(model, never_recomputed=0.0)))
    assert with_refiners > 1.1 * without


def test_more_work_takes_more(home):
    plain = at(job(**FULL, device="cuda", model__dtype="bf16"), home=home)
    for change, what in {
        ("steps", 2000): "seconds", ("data__batch_size", 4): "vram_bytes", ("optimizer__accumulation", 4): "step_seconds",
        ("model__dtype", "fp32"): "vram_bytes", ("adapter__rank", 128): "disk_bytes", ("optimizer__type", "prodigy"): "vram_bytes", ("optimizer__type", "adamw_schedulefree"): "disk_bytes",
        ("data__flip", True): "disk_bytes", ("sample__every", 50): "seconds", ("loss__ema_decay", 0.9): "disk_bytes",
    }.items():  # fmt: skip
        more = at(job(**{**FULL, "device": "cuda", "model__dtype": "bf16", change[0]: change[1]}), home=home)
        assert getattr(more, what) > getattr(plain, what), change
    checkpointed = at(job(**FULL, device="cuda", model__dtype="bf16", loss__gradient_checkpointing=True), home=home)
    assert checkpointed.vram_bytes < plain.vram_bytes and checkpointed.seconds > plain.seconds


def test_what_does_not_fit_is_refused_with_the_missing_figure(home):
    config = job(**FULL, device="cuda", model__dtype="bf16", data__batch_size=4)
    small = at(config, replace(CARD, vram_free_bytes=2 * GB), home=home)
    assert not small.fits and small.sentences[0] == small.problems[0]
    assert "of VRAM are needed" in small.problems[0] and "are missing" in small.problems[0] and "Make it fit, close" in small.problems[0]
    assert "of memory (RAM) are needed" in at(config, replace(CARD, ram_free_bytes=GB), home=home).problems[0]
    disk = at(config, replace(CARD, disk_free_bytes=GB), home=home).problems[0]
    assert "of disk are needed" in disk and "to download the base model" in disk
    assert "set device to 'cpu'" in at(config, LAPTOP, home=home).problems[0]


def test_the_margin_and_the_parts_are_told(home):
    found = at(job(**FULL, device="cuda", model__dtype="bf16"), home=home)
    told = next(s for s in found.sentences if "of VRAM" in s)
    assert f"{estimate.gb(CARD.vram_free_bytes - found.vram_bytes)} to spare" in told
    assert "base model 1.7 GB" in next(s for s in found.sentences if s.startswith("While it learns"))
    assert sum(found.parts.values()) < found.vram_bytes < 2 * sum(found.parts.values())
    assert not any("e+" in s for s in at(job(**{**FULL, "steps": 100_000, "data__batch_size": 20}), LAPTOP, home=home).sentences)


def test_an_unmeasured_time_says_that_it_is_rough(home, base):
    found = at(job(base), LAPTOP, 5, home)
    assert not found.measured and found.seconds_range[0] < found.seconds < found.seconds_range[1]
    assert any(s.startswith("Roughly") for s in found.sentences)


def recorded(home, config, images_per_s=2.0, memory=700_000_000, steps=10):
    run = create(home.outputs, config)
    journal.append(run.events_path, {"t": time.time(), "kind": "started", "pid": 1, "attempt": 1, "boot_id": "", "versions": {}, "device": "cpu"})
    for n in range(1, steps + 1):
        journal.append(run.events_path, {
            "t": time.time(), "kind": "step", "step": n, "of": steps, "loss": 0.1, "lr": 1e-4, "grad": 0.1,
            "images_per_s": images_per_s if n > 1 else 0.01, "memory_bytes": memory,
        })  # fmt: skip
    return run


def test_an_earlier_run_like_it_is_the_best_predictor(home, base):
    config = job(base, steps=100, data__batch_size=2, optimizer__accumulation=3)
    recorded(home, config)
    found = at(config, LAPTOP, 5, home)
    assert found.measured and found.step_seconds == pytest.approx(3.0)
    assert found.seconds > 300
    assert any("as measured in an earlier run" in s for s in found.sentences)
    assert found.ram_bytes == 700_000_000
    assert at(job(base, steps=100, data__batch_size=2, adapter__rank=64), LAPTOP, 5, home).ram_bytes != 700_000_000, "another rank takes other memory"
    assert not at(job(base, steps=100, data__batch_size=4), LAPTOP, 5, home).measured
    assert not at(job(base, data__resolutions=[64]), LAPTOP, 5, home).measured


def test_runs_that_tell_nothing_are_passed_over(home, base):
    config = job(base)
    good = recorded(home, config, images_per_s=4.0)
    recorded(home, config, steps=2)
    (create(home.outputs, config).path / "events.jsonl").write_text("no json\n")
    (home.outputs / "no run").mkdir()
    assert pace.measured(config, home.outputs).seconds_per_picture == pytest.approx(0.25), good.id


def test_a_base_model_that_is_not_there(home):
    with pytest.raises(ValueError, match="no folder"):
        at(job("/nowhere/base"), home=home)


def test_durations_and_sizes_read_well():
    assert [estimate.duration(s) for s in (3, 44, 200, 4000, 9000, 50_000, 300_000)] == ["10 s", "40 s", "3 min", "67 min", "2 h 30 min", "14 h", "3 days"]
    assert [estimate.gb(b) for b in (0, 1, 45e6, 2.34e9)] == ["0 MB", "1 MB", "45 MB", "2.3 GB"]


def test_what_keeping_the_base_costs_is_told(home):
    plain, half, whole = (at(job(keep__on=share > 0, keep__share=share or 1.0), home=home) for share in (0, 0.5, 1.0))
    assert whole.step_seconds / plain.step_seconds == pytest.approx(2.5, rel=0.05)  # asked once, and learnt from like a picture
    assert half.step_seconds / plain.step_seconds == pytest.approx(1.75, rel=0.05)
    assert (half.vram_bytes, half.ram_bytes) == (plain.vram_bytes, plain.ram_bytes) and half.disk_bytes > plain.disk_bytes
    assert any(s.startswith("Of that, keeping what the base model knows takes about ") and "no more memory" in s for s in half.sentences)
    assert not any("keeping" in s for s in plain.sentences)
    at_once = at(job(keep__on=True, keep__share=1.0, keep__together=True), home=home)
    assert at_once.ram_bytes > whole.ram_bytes and any("of disk and " in s and "of memory" in s for s in at_once.sentences if "keeping" in s)


def test_a_pace_without_keeping_says_nothing_of_one_with(home, base):
    recorded(home, job(str(base), device="cpu"))
    assert at(job(str(base), device="cpu"), home=home).measured
    assert not at(job(str(base), device="cpu", keep__on=True), home=home).measured


def test_a_pace_of_edits_is_that_of_their_own_pairs(home, base):
    edit = {"loss__objective": "edit", "model__family": "flux2_klein"}
    recorded(home, job(str(base), **edit))
    assert pace.measured(job(str(base), **edit), home.outputs)
    assert not pace.measured(job(str(base), **edit, data__datasets=[{"name": "others"}]), home.outputs), "of those each may be made from more pictures"


def test_captions_that_are_read_with_their_pictures_take_more_disk(home):
    spec = registry.get("families", "qwen_image_edit").SPEC
    config = job(spec.default_source, model__family=spec.id, loss__objective="edit")
    model = layers.base_model(config.model.source, config.model.revision, registry.get("families", spec.id), config.model.leave_out)
    disk = lambda pictures: estimate._disk(config, spec, model, 10, {1: 1.0}, 1.0, pictures)
    row = spec.references.read_tokens * model.text_width * 2
    assert disk(2.0) - disk(1.0) == pytest.approx(20 * row * estimate.BYTES[config.model.dtype] / 2) and disk(1.0) > disk(0.0)
