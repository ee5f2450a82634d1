"""A run, end to end, in this process: what it leaves, and that nothing can disturb it."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from tests import tiny
from training import registry
from training.config import TrainConfig
from training.engine import loop, saving
from training.engine.sampling import SPONTANEOUS
from training.runs import journal

from .conftest import state_files

FULL = dict(
    adapter__dropout=0.2, data__flip=True, data__shuffle_tags=True, data__caption_dropout=0.3, loss__ema_decay=0.9,
    optimizer__schedule="cosine", optimizer__warmup_steps=2, optimizer__accumulation=2, data__held_out=1, save__validate_every=2,
    adapter__targets="all", loss__min_snr_gamma=5.0,
)  # fmt: skip


def test_a_run_leaves_a_lora_that_a_fresh_pipeline_loads_and_that_acts(lab, base):
    from diffusers import StableDiffusionPipeline

    run = lab.run()
    view = run.view()
    assert run.status() == "finished", view.error
    assert run.result() == run.path / "tiny.safetensors"
    assert [s[:2] for s in view.samples] == [(0, 0), (3, 0), (6, 0)]
    assert [step for step, _ in view.checkpoints] == [2, 4, 6]
    assert [step for step, _, _ in view.losses] == [1, 2, 3, 4, 5, 6]
    assert not list(run.path.glob(".unproven*"))
    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    draw = lambda: np.asarray(
        pipe("zibbo on red", num_inference_steps=2, width=32, height=32, guidance_scale=7.0, generator=torch.Generator().manual_seed(42)).images[0]
    )
    before = draw()
    pipe.load_lora_weights(str(run.path), weight_name="tiny.safetensors")
    after = draw()
    assert (before != after).any()
    # what the run showed is what the file draws elsewhere, and step 0 is the untouched base
    assert (np.asarray(Image.open(run.path / "samples/000006_0.webp")) == after).mean() > 0.97
    assert (np.asarray(Image.open(run.path / "samples/000000_0.webp")) == before).all()


@pytest.mark.slow
def test_a_lora_weaker_than_rounding_is_finished_and_said_to_be_weak(lab):
    """In bf16 a short run changes the denoiser's answer by less than rounding does, and the two loads round differently."""
    run = lab.run(model__dtype="bf16", optimizer__learning_rate=1e-5, steps=2, adapter__targets="all")
    assert run.status() == "finished", run.view().error
    assert run.result() and "too small to be told from rounding in bf16" in run.view().summary
    assert lab.run(model__dtype="bf16", adapter__targets="all").view().summary.endswith("reloaded and checked")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_file_that_does_not_act_as_what_was_trained_is_refused(lab, dtype):
    """Its checkpoint holds the opposite of what the run has in memory."""
    from safetensors.torch import load_file, save_file

    run = lab.make(model__dtype=dtype, adapter__targets="all")

    def tamper():
        path = run.path / "checkpoints/000006/adapter.safetensors"
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
        save_file({name: -tensor if "lora_B" in name else tensor for name, tensor in load_file(path).items()}, path, header)

    with pytest.raises(ValueError, match="acts differently when it is loaded again: off by"):
        lab.go(run, at={"writing the result": tamper})
    assert not run.result()


def test_alpha_is_baked_in_so_that_every_program_reads_the_same_strength(lab):
    run = lab.run()
    with safe_open(run.path / "tiny.safetensors", framework="pt") as file:
        layer = next(k for k in file.keys() if k.endswith(".lora_up.weight")).removesuffix(".lora_up.weight")  # noqa: SIM118
        baked, alpha, down = (file.get_tensor(f"{layer}.{end}") for end in ("lora_up.weight", "alpha", "lora_down.weight"))
    assert alpha == len(down) == 2
    with safe_open(run.path / "checkpoints/000006/adapter.safetensors", framework="pt") as file:
        name = {k.removesuffix(".lora_B.weight").replace(".", "_"): k for k in file.keys() if k.endswith(".lora_B.weight")}  # noqa: SIM118
        learnt = file.get_tensor(name[layer.removeprefix("lora_")])
    assert torch.equal(baked, learnt * 2)  # alpha 4 over rank 2


def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab):
    whole = lab.run(**FULL)
    parts = lab.run(stop_at=3, **FULL)
    assert parts.status() == "stopped"
    assert parts.view().checkpoints[-1][0] == 3
    lab.go(parts)
    assert parts.status() == whole.status() == "finished"
    assert state_files(parts, 6) == state_files(whole, 6)
    assert parts.result().read_bytes() == whole.result().read_bytes()
    assert parts.view().losses == whole.view().losses
    assert parts.view().validations == whole.view().validations
    assert parts.view().measures == whole.view().measures and parts.view().bases == whole.view().bases
    *_, (_, each, forgot) = whole.view().measures
    assert len(each) == len(whole.view().bases) == 4 and len(forgot) == 8 and min(forgot) > 0, "an adapter moves what the base model says"


@pytest.fixture
def with_kept(dataset, tmp_path):
    """The datasets of a run: one to learn from, one that must stay as it is."""
    from tests import tiny

    return [{"name": str(dataset)}, {"name": str(tiny.pictures(tmp_path / "kept", 3)), "repeats": 2, "weight": 0.5, "prior": True}]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["base", "pictures"])
def test_resume_is_exact_with_pictures_that_stay_as_they_are(lab, with_kept, target):
    changes = FULL | dict(data__datasets=with_kept, data__batch_size=4, loss__prior_target=target)
    whole, parts = lab.run(**changes), lab.run(stop_at=3, **changes)
    lab.go(parts)
    assert parts.status() == whole.status() == "finished"
    assert state_files(parts, 6) == state_files(whole, 6)
    assert parts.view().losses == whole.view().losses


@pytest.mark.slow
def test_pictures_that_stay_as_they_are_get_no_trigger_and_are_not_held_out(lab, with_kept):
    run = lab.run(data__datasets=with_kept, data__held_out=4, sample__every=0)
    rows = json.loads((run.path / "pictures.json").read_text(encoding="utf-8"))
    kept = [row for row in rows if row["prior"]]
    assert len(kept) == 3 and not any(row["held_out"] or "zibbo" in row["captions"][0] for row in kept)
    assert sum(row["held_out"] for row in rows) == 4


def test_the_base_itself_is_no_loss_until_the_adapter_moves(lab, with_kept):
    """An untouched adapter is the base: held to its own prediction, kept pictures cost nothing at the first step, and a weight scales what they cost."""
    from training.engine.loop import Session
    from training.engine.prepare import prepare
    from training.runs.context import Context

    def first_step(**changes):
        run = lab.make(data__datasets=with_kept, data__batch_size=11, sample__every=0, **changes)
        session = Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))
        losses = []
        for batch in session.feed.at(0):
            batch.base = session._said_by_base(batch)
            every = session.objective.loss(session.family, session.m, batch, session.p.schedule, session.config.loss)
            losses += [(row in batch.prior, float(loss), float(weight)) for row, (loss, weight) in enumerate(zip(every.detach(), batch.weights, strict=True))]
        assert all(weight.requires_grad for weight in session.weights)
        return losses

    held = first_step()
    assert any(prior for prior, *_ in held) and all((loss < 1e-9) == prior for prior, loss, _ in held)
    assert all(weight == (0.5 if prior else 1.0) for prior, _, weight in held)
    assert all(loss > 1e-3 for _, loss, _ in first_step(loss__prior_target="pictures"))


SCHEDULES = ("constant", "linear", "cosine", "cosine_restarts", "polynomial", "wsd", "rex")
FINDS_ITS_RATE = ("prodigy", "prodigy_schedulefree")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "schedule"), [*((id, "linear") for id in registry.find("optimizers")), *(("adamw", schedule) for schedule in SCHEDULES), ("adafactor", "constant")]
)
def test_resume_is_exact_for_every_optimizer_and_schedule(lab, optimizer, schedule):
    changes = dict(optimizer__type=optimizer, optimizer__schedule=schedule, optimizer__warmup_steps=1, adapter__rank=64, adapter__targets="all", sample__every=0)
    if optimizer in FINDS_ITS_RATE:
        changes["optimizer__learning_rate"] = 1.0
    whole, parts = lab.run(**changes), lab.run(stop_at=3, **changes)
    assert parts.status() == "stopped"
    lab.go(parts)
    assert parts.status() == whole.status() == "finished", parts.view().error
    assert state_files(parts, 6) == state_files(whole, 6)
    assert parts.result().read_bytes() == whole.result().read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [id for id, p in registry.find("optimizers").items() if getattr(p.module, "AVERAGES", False)])
def test_what_a_schedule_free_run_delivers_is_its_average(lab, optimizer):
    from safetensors.torch import load_file

    run = lab.run(optimizer__type=optimizer, optimizer__learning_rate=1.0 if optimizer in FINDS_ITS_RATE else 1e-2, sample__every=0, adapter__alpha=2.0)
    folder = run.path / "checkpoints/000006"
    trained, average, result = (load_file(path) for path in (folder / "adapter.safetensors", folder / "ema.safetensors", run.result()))
    ups = lambda tensors, end: sorted(tuple(t.flatten().tolist()) for name, t in tensors.items() if name.endswith(end))
    assert ups(result, "lora_up.weight") == ups(average, "lora_B.weight") != ups(trained, "lora_B.weight")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["adapter", "ema", "state", "scheduler", "step"])
def test_forgetting_any_part_of_the_state_shows(lab, part):
    """The equality above would not hold without each part: otherwise it would prove nothing about it."""
    from training.runs.context import Context

    whole, parts = lab.run(**FULL), lab.run(stop_at=3, **FULL)
    ctx = Context(parts, lab.home, 2)
    session = _resumed_without(part, parts, ctx)
    session.learn()
    assert state_files(parts, 6) != state_files(whole, 6)


def _resumed_without(part, run, ctx):
    from training.engine import optim
    from training.engine.prepare import prepare

    session = loop.Session(run.config(), ctx, prepare(run.config(), ctx))
    name = session.family.SPEC.denoiser
    first = {k: v.clone() for k, v in session.adapter.tensors(session.m.denoiser, name).items()}
    shadow = [s.clone() for s in session.ema.shadow_params]
    scheduler = session.scheduler.state_dict()
    saving.resume(session)
    if part == "adapter":
        session.adapter.restore(session.m.denoiser, first, name)
    elif part == "ema":
        for now, then in zip(session.ema.shadow_params, shadow, strict=True):
            now.copy_(then)
    elif part == "state":
        session.optimizer = optim.make_optimizer(run.config().optimizer, [(session.weights, run.config().optimizer.learning_rate)])
        session.optimizer.param_groups[0]["lr"] = session.scheduler.get_last_lr()[0]
        session.scheduler.optimizer = session.optimizer
    elif part == "scheduler":
        session.scheduler.load_state_dict(scheduler)
    else:
        session.step -= 1
    return session


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 1e-2), ("adamw_schedulefree", 1e-2), ("prodigy_schedulefree", 1.0)])
def test_samples_checkpoints_and_validation_do_not_disturb_training(lab, optimizer, rate):
    changes = dict(data__held_out=1, optimizer__type=optimizer, optimizer__learning_rate=rate)
    busy = lab.run(save__every=1, sample__every=1, save__validate_every=1, **changes)
    calm = lab.run(save__every=6, sample__every=0, save__validate_every=0, **changes)
    assert state_files(busy, 6)["adapter.safetensors"] == state_files(calm, 6)["adapter.safetensors"]
    assert state_files(busy, 6)["state.safetensors"] == state_files(calm, 6)["state.safetensors"]


@pytest.mark.slow
def test_a_sample_can_be_asked_for_where_none_is_drawn_by_itself(lab):
    # the image encoder is not kept in memory then
    asked, calm = lab.make(sample__every=0), lab.run(sample__every=0)
    journal.append(asked.control_path, {"t": 0.0, "kind": "sample", "prompt": "a blue cat"})
    lab.go(asked)
    assert [s[:2] for s in asked.view().samples] == [(0, SPONTANEOUS)]
    assert state_files(asked, 6) == state_files(calm, 6)


@pytest.mark.slow
def test_accumulation_equals_the_big_batch_to_rounding(lab):
    big = lab.run(data__batch_size=4, sample__every=0)
    small = lab.run(data__batch_size=1, optimizer__accumulation=4, sample__every=0)
    uneven = lab.run(data__batch_size=3, optimizer__accumulation=1, sample__every=0)
    losses = [np.array([loss for _, loss, _ in r.view().losses]) for r in (big, small, uneven)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4)
    assert not np.allclose(losses[0], losses[2], rtol=2e-4)


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_pictures(lab, base, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.weight"][0] = float("nan")
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ValueError, match=r"became nan at step 1.*nothing was saved.*picture \d\.png.*learning_rate"):
        lab.run(model__source=str(broken), sample__every=0)


@pytest.mark.slow
def test_changed_pictures_are_said_before_a_resume_and_can_be_accepted(lab, tmp_path):
    from tests import tiny

    own = tiny.pictures(tmp_path / "own", 4)
    run = lab.run(stop_at=3, data__datasets=[{"name": str(own)}])
    (own / "picture 1.txt").write_text("something else", encoding="utf-8")
    with pytest.raises(ValueError, match="captions or masks have changed"):
        lab.go(run)
    run.accept_changes()
    lab.go(run)
    assert run.status() == "finished"
    assert any("as you accepted" in w for w in run.view().warnings)


def test_a_setting_that_a_later_easel_adds_is_no_change_of_the_config(lab):
    class Later(TrainConfig):
        brand_new: int = 3

    config = lab.make().config()
    assert loop.config_hash(Later(**config.model_dump())) == loop.config_hash(config)
    assert loop.config_hash(Later(**config.model_dump(), brand_new=4)) != loop.config_hash(config)


def test_stop_before_the_first_step_leaves_a_run_that_starts_again(lab):
    run = lab.make()
    from training.runs.context import Context, Stopped

    ctx = Context(run, lab.home, 1)
    ctx.request_stop()
    from training import registry

    with pytest.raises(Stopped):
        registry.get("jobs", "train").run(run.config(), ctx)
    assert not (run.path / "checkpoints").exists()
    lab.go(run)
    assert run.status() == "finished"


def test_the_checkpoint_of_stop_has_its_samples_unless_the_system_ends_the_process(lab, monkeypatch):
    from tests.engine import conftest

    hurried = lab.run(stop_at=1, sample__every=4, save__every=4)
    assert [step for step, _ in hurried.checkpoints()] == [1] and not list((hurried.path / "samples").glob("000001_*"))
    monkeypatch.setattr(conftest._Stopping, "patient", True)
    asked = lab.run(stop_at=1, sample__every=4, save__every=4)
    assert [step for step, _ in asked.checkpoints()] == [1] and list((asked.path / "samples").glob("000001_*.webp"))


@pytest.mark.slow
def test_what_is_cached_needs_no_encoder_again(lab):
    def loads(**changes):
        phases = [e["name"] for e in lab.run(steps=1, **changes).events()[0] if e["kind"] == "phase"]
        return sum(name == "loading the image encoder" for name in phases)

    assert loads(sample__every=0) == 1
    assert loads(sample__every=0) == 0
    assert loads(sample__every=1) == 1  # its decoder draws


def test_every_item_is_on_record_with_the_caption_it_was_trained_with(lab):
    run = lab.run(sample__every=0)
    rows = json.loads((run.path / "pictures.json").read_text(encoding="utf-8"))
    assert len(rows) == 5
    assert all(row["captions"] == [f"zibbo, {row['captions'][0].removeprefix('zibbo, ')}"] for row in rows)
    assert {tuple(row["bucket"]) for row in rows} == {(32, 32), (40, 24)} or len({tuple(row["bucket"]) for row in rows}) == 2


def test_a_dropped_caption_is_the_familys_own_embedding_of_nothing(lab, base):
    from diffusers import StableDiffusionPipeline

    from training.engine.prepare import prepare
    from training.runs.context import Context

    run = lab.make(data__caption_dropout=1.0)
    batch = prepare(run.config(), Context(run, lab.home, 1)).feed.at(0)[0]
    nothing, _ = StableDiffusionPipeline.from_pretrained(base, safety_checker=None).encode_prompt([""], "cpu", 1, False)
    assert torch.equal(batch.cond.tensors["embeds"], nothing.expand_as(batch.cond.tensors["embeds"]))


@pytest.mark.slow
def test_every_line_of_a_caption_is_trained_and_what_stands_before_the_separator_stays_in_front(lab, nasty):
    folder = tiny.pictures(nasty / "lines", 2)
    (folder / "picture 0.txt").write_text("1girl, [trigger]\na woman smiles")
    (folder / "picture 1.txt").write_text("first, second ||| a, b, c, d ||| last")
    run = lab.run(data__datasets=[{"name": str(folder)}], data__shuffle_tags=True, sample__prompts=["a cat --w 64 --d 9 --n blurry --x 1"], steps=3)
    rows = {row["id"].rpartition("/")[2]: row["captions"] for row in json.loads((run.path / "pictures.json").read_text(encoding="utf-8"))}
    assert {frozenset(c.split(", ")) for c in rows["picture 0.png"]} == {frozenset(("1girl", "zibbo")), frozenset(("zibbo", "a woman smiles"))}
    assert len(rows["picture 1.png"]) > 2 and all(c.startswith("zibbo, first, second, ") and c.endswith(", last") and "|" not in c for c in rows["picture 1.png"])
    ((_, _, prompt, path, seed),) = {s for s in run.view().samples if s[0] == 3}
    with Image.open(run.path / path) as picture:
        assert (prompt, seed, picture.size) == ("a cat", 9, (64, 32))
    assert any("--x 1" in text for text in run.view().warnings)
    steps = {"data__datasets": [{"name": str(folder)}], "data__shuffle_tags": True, "sample__every": 0, "steps": 4}
    assert lab.go(lab.go(lab.make(**steps), stop_at=2)).view().losses == lab.run(**steps).view().losses, "the same caption is drawn after a resume"


@pytest.mark.slow
def test_the_time_that_a_checkpoint_takes_is_no_time_of_a_step(lab, monkeypatch):
    late = [0.0]
    write = loop.checkpoint.save

    def slow(*args):
        late[0] += 1e6
        return write(*args)

    monkeypatch.setattr(loop.checkpoint, "save", slow)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0], sleep=time.sleep))
    run = lab.run(steps=4, save__every=1, sample__every=0)
    assert late[0] == 4e6 and min(e["images_per_s"] for e in run.events()[0] if e["kind"] == "step") > 1e-3
