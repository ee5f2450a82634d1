"""What a run does by itself in trouble: it goes on milder where memory ran out, names where a number was lost, and goes on half as fast or in fp32 where it may."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from training.config import TrainConfig, config_hash
from training.engine import nans
from training.home import REPO
from training.plan import fit, ladder, pace
from training.plan.devices import Device
from training.runs import death, journal, longer, milder, reached, supervisor, worker
from training.runs.context import Context, NotANumber

from .conftest import state_files


def rungs(config: TrainConfig, phase: str, on: Device, saved: bool = True) -> list[dict]:
    """The settings of each rung in turn, until none is left."""
    found = []
    while change := ladder.next_rung(config, phase, on, saved):
        found.append(change.settings)
        config = fit.all_with(config, change.settings)
    return found


def test_the_ladder_goes_down_as_make_it_fit_would_and_changes_nothing_that_is_learnt(lab):
    config = lab.make(data__batch_size=6).config()
    cpu, card = Device("cpu"), Device("cuda", (8, 9))
    exact = [{"data.batch_size": 3, "optimizer.accumulation": 2}, {"data.batch_size": 1, "optimizer.accumulation": 6}, *({"loss.gradient_checkpointing": level} for level in ("third", "half", "all"))]
    assert rungs(config, "training", cpu) == exact
    on_card = config.model_copy(update={"device": "cuda"})
    assert rungs(on_card, "training", card) == exact + [{"model.offload": share} for share in (0.25, 0.5, 0.75, 1.0)]
    assert rungs(on_card, "encoding pictures", card) == [{"model.vae_tiling": True}]
    assert rungs(on_card, "reading captions", card) == rungs(on_card, "checking the pictures", card) == []


def test_what_is_less_exact_is_taken_only_where_that_is_allowed(lab):
    config = lab.make(survive__less_exact=True, data__batch_size=1).config().model_copy(update={"device": "cuda"})
    card = Device("cuda", (8, 9))
    paths = [set(settings) for settings in rungs(config, "training", card, saved=False)]
    assert paths[0] == {"model.dtype"} and {"optimizer.type"} in paths and paths.index({"model.quantise"}) < paths.index({"model.offload"})
    assert {"optimizer.type"} not in [set(settings) for settings in rungs(config, "training", card, saved=True)], "no other optimizer reads a checkpoint's state"
    assert [s.get("model.quantise_text") for s in rungs(config, "loading text encoder 1 of 2", card)][-2:] == ["int8", "nf4"]


def test_samples_that_the_system_ends_it_for_are_tiled_then_smaller_then_left_out_and_what_is_learnt_stays(lab):
    config = lab.make(data__batch_size=6, sample__width=512, sample__height=512).config().model_copy(update={"device": "cuda"})
    card = Device("cuda", (8, 9))
    assert rungs(config, "drawing samples", card) == [{"model.vae_tiling": True}, {"sample.width": 256, "sample.height": 256}, {"sample.every": 0}]
    for phase in ladder.RESULT:
        assert rungs(config, phase, card)[:2] == [{"model.vae_tiling": True}, {"loss.gradient_checkpointing": "all", "model.offload": 0.25}]


def test_prompts_that_are_read_in_the_middle_of_a_training_lie_beside_what_learns(lab):
    def rung(*before):
        ctx = Context(run := lab.make(data__batch_size=4), lab.home, 1)
        ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="cpu")
        for told in before:
            told(ctx)
        ctx.phase("reading captions", 0, 1, "captions")
        return milder.step_down(ctx, "ram"), milder.reached(run)

    assert rung() == (False, {})
    assert rung(lambda ctx: ctx.step(1, 6, 0.5, 1e-4, 1.0, 1.0, 0))[1] == {"data.batch_size": 2, "optimizer.accumulation": 2}


def test_a_model_that_is_split_among_cards_is_not_tried_in_fp32(lab):
    run = lab.make(survive__not_a_number="exact", model__dtype="bf16")
    ctx = Context(run, lab.home, 1)
    assert not milder.try_again(ctx, NotANumber("no", 1, "no", exact=False)) and milder.try_again(ctx, NotANumber("no", 1, "no"))
    assert not nans.idle(run.config()) and "split among the cards" in nans.idle(run.config(), split=True)[0]
    layer = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    whole, split = (nans.Care(run.config(), milder.mended(run), SimpleNamespace(denoiser=layer, text_encoders={}, dtype=torch.bfloat16), way) for way in (False, True))
    seen = []
    for care in (whole, split):
        with care.of(1):
            seen.append((care.exact, layer.weight.dtype))
    assert seen == [(True, torch.float32), (False, torch.bfloat16)]


@pytest.mark.slow
def test_a_milder_attempt_is_the_same_run(lab):
    """Its checkpoint is gone on from, its losses are the same to rounding, and a later attempt is as mild."""
    job = dict(data__batch_size=4, steps=4, sample__every=0, save__every=2)
    plain = lab.run(**job)
    run = lab.run(stop_at=2, **job)
    ctx = Context(run, lab.home, 1)
    assert worker.goes_on(ctx, RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"))
    assert milder.applied(run.config(), run).data.batch_size == 2 and run.config().data.batch_size == 4
    lab.go(run)
    assert run.status() == "finished" and any("begins again" in w or "goes on from step 2" in w for w in run.view().warnings)
    for (step, loss, _), (other, expected, _) in zip(run.view().losses, plain.view().losses, strict=True):
        assert step == other and math.isclose(loss, expected, rel_tol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_worker_that_may_hold_only_so_much_goes_on_by_itself(lab, tmp_path):
    """A real limit of the system, a real worker: its whole batch does not fit, so it goes on with half of it, in a fresh program that is the same process."""
    from tests import tiny

    large = tiny.pictures(tmp_path / "large", 8, sizes=((256, 256),))
    run = lab.make(data__datasets=[{"name": str(large)}], data__resolutions=[256], data__batch_size=8, steps=1, sample__every=0)
    words = [sys.executable, "-m", "tests.engine.limited", LIMIT_MB, str(run.path), str(lab.home.root), "0"]
    worker_ = subprocess.Popen(words, cwd=REPO, env=os.environ | {"EASEL_HOME": str(lab.home.root)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 900
        while run.view().attempt < 2 and worker_.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        begun = [(e["attempt"], e["pid"]) for e in run.events()[0] if e["kind"] == "started"]
        assert begun == [(1, worker_.pid), (2, worker_.pid)] and run.status() == "running", (run.view().error, run.view().warnings)
        assert milder.reached(run) == {"data.batch_size": 4, "optimizer.accumulation": 2}
        assert "ran out of memory" in run.view().warnings[-1] and "Batches of 4" in run.view().warnings[-1]
    finally:
        worker_.kill()
        worker_.wait()


LIMIT_MB = "350"


def test_where_nothing_milder_is_left_or_allowed_it_fails_once_with_what_to_do(lab):
    gone = MemoryError()
    off = lab.make(survive__milder=False, data__batch_size=4)
    assert not worker.goes_on(Context(off, lab.home, 1), gone) and "Make it fit" in milder.nothing_left(off)
    run = lab.make(data__batch_size=1, loss__gradient_checkpointing="half")
    ctx = Context(run, lab.home, 1)
    ctx.phase("training", 1, 6, "steps")
    assert worker.goes_on(ctx, gone) and milder.reached(run) == {"loss.gradient_checkpointing": "all"}
    assert not worker.goes_on(ctx, gone) and "Make it fit" in milder.nothing_left(run)


def killed_for_memory(lab):
    """A run whose worker the system has killed for want of memory, as far as anything tells: its events, and what whoever started it has noted."""
    run = lab.make(data__batch_size=4)
    ctx = Context(run, lab.home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id=death.boot_id(), oom_kills=death.oom_kills(), versions={}, device="cpu")
    ctx.phase("training", 1, 6, "steps")
    assert not run.killed_for_memory(), "until then it might have died of anything"
    run.log_path.write_text(f"{death.ENDED_LINE.format(how=death.how_it_ended(-9), oom_kills=1)}\n", encoding="utf-8")
    return run


def test_a_run_that_the_system_killed_for_want_of_memory_is_worth_resuming_unless_somebody_stopped_it(lab):
    run, stopped, last = (killed_for_memory(lab) for _ in range(3))
    journal.append(stopped.control_path, {"t": time.time() + 1, "kind": "stop"})
    Context(last, lab.home, 1).emit("milder", settings={"data.batch_size": 1, "loss.gradient_checkpointing": "all"}, said="as mild as it gets")
    assert [milder.worth_resuming(one, lab.home) for one in (run, stopped, last)] == [True, False, False]


def test_a_run_that_the_system_killed_is_not_forgotten_while_another_one_is_being_started(lab):
    run, queued = killed_for_memory(lab), lab.make()
    supervisor._killed.append(run)
    held, done = threading.Event(), threading.Event()

    def start_another():
        with supervisor.by_itself(lab.home):
            held.set()
            done.wait(60)

    other = threading.Thread(target=start_another)
    other.start()
    try:
        assert held.wait(60) and supervisor.resume_milder(lab.home) == [] and supervisor.tick(lab.home) == []
        assert supervisor._killed_of(lab.home) == [run] and queued.status() == "queued"
    finally:
        done.set()
        other.join()
        supervisor._killed.remove(run)


@pytest.mark.slow
def test_the_app_goes_on_with_a_run_that_the_system_killed_for_want_of_memory_one_rung_milder(lab):
    run, queued = killed_for_memory(lab), lab.make()
    supervisor._killed.append(run)
    assert supervisor.tick(lab.home) == [] and supervisor.resume_milder(lab.home) == []
    try:
        assert run.last("started")["attempt"] == 2 and queued.status() == "queued", "it was in the middle, so it goes on before the next one"
        deadline = time.monotonic() + 240
        while not run.last("milder") and run.status() == "running" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert milder.applied(run.config(), run).data.batch_size == 2, run.log_tail()
    finally:
        with contextlib.suppress(ValueError):
            supervisor.kill(run)


@pytest.mark.parametrize(
    "settings",
    [{"model.source": "//evil.example/share"}, {"data.datasets": [{"name": "/home/anna/letters"}]}, {"data.batch_size": 2, "place.kind": "ssh"}, {"optimizer.type": "plugin"}, {"data.batch_size": 0}, {"model.dtype": ["fp32"]}],
)  # fmt: skip
def test_what_a_strangers_record_puts_over_its_job_is_what_memory_needs_and_nothing_else(lab, settings):
    run = lab.make(data__batch_size=4)
    Context(run, lab.home, 1).emit("milder", settings=settings, said="x")
    with pytest.raises(ValueError, match="events.jsonl says that the run goes on with .*; duplicate the run"):
        milder.applied(run.config(), run)
    assert pace.measured(run.config(), lab.home.outputs) is None


def test_all_that_the_ladder_changes_may_be_on_record(lab):
    config = lab.make(survive__less_exact=True, data__batch_size=4).config().model_copy(update={"device": "cuda"})
    found = [row for phase in ("training", "encoding pictures", "loading text encoder") for settings in rungs(config, phase, Device("cuda", (8, 9)), saved=False) for row in settings.items()]
    assert all(reached.may_change(*row) for row in found) and {path for path, _ in found} | {"keep.together", "engine.overlap"} == reached.PATHS


def test_a_record_that_holds_no_settings_is_a_bad_line_and_stops_no_estimate(lab):
    run = lab.make(data__batch_size=4)
    journal.append(run.events_path, {"t": 1.0, "kind": "milder", "settings": [1], "said": "x"})
    assert milder.reached(run) == {} and run.view().bad_lines == 1 and pace.measured(run.config(), lab.home.outputs) is None


def test_a_strangers_steps_that_were_no_number_are_as_many_as_a_run_tries_by_itself(lab):
    run = lab.make()
    for step in [3, 3, *range(4, 50), -1, True]:
        journal.append(run.events_path, {"t": 1.0, "kind": "mended", "step": step, "since": 0, "how": "slower", "said": "x"})
    assert [record["step"] for record in milder.mended(run)] == [3, 4, 5]


def finished_milder(lab):
    """A finished run that went milder, as far as anything tells: its events, and a last checkpoint that is whole."""
    run = lab.make(data__batch_size=4, steps=4)
    ctx = Context(run, lab.home, 1)
    ctx.emit("milder", settings={"data.batch_size": 2, "optimizer.accumulation": 2, "optimizer.type": "adamw8bit"}, said="less")
    kept = run.path / "checkpoints" / "000004"
    kept.mkdir(parents=True)
    (kept / longer.STATE).write_bytes(b"state")
    entry = {"sha256": hashlib.sha256(b"state").hexdigest(), "size": 5}
    (kept / longer.MANIFEST).write_text(json.dumps({"files": {longer.STATE: entry}, "step": 4, "config_hash": "x", "dataset_fingerprint": "y"}))
    ctx.emit("finished", path="", summary="")
    return run


def test_a_run_that_went_milder_is_trained_longer_with_the_settings_that_it_reached(lab):
    run = finished_milder(lab)
    made = longer.begin(run, 4, lab.home).config()
    assert (made.data.batch_size, made.optimizer.accumulation, made.optimizer.type, made.steps) == (2, 2, "adamw8bit", 8), "another optimizer could not read the state"
    assert "milder settings" in longer.said(run.config(), 4, went_milder=True)[-1] and "milder" not in " ".join(longer.said(run.config(), 4))


def test_a_strangers_run_is_not_trained_longer_as_one_that_was_made_here(lab):
    run = finished_milder(lab)
    shutil.rmtree(lab.home.root / ".easel" / "made")
    with pytest.raises(ValueError, match="It was not made here, and it would use .*; duplicate the run"):
        longer.begin(run, 4, lab.home)


REFUSED = 1 << 50  # bytes: no allocator gives them, and torch's own says so


def test_what_is_encoded_together_is_fewer_where_memory_runs_out(tmp_path):
    from training.engine.cache import Cache, fill

    said: list[str] = []
    sizes: list[int] = []

    def encode(some):
        sizes.append(len(some))
        torch.empty(REFUSED if len(some) > 2 else 1, dtype=torch.uint8)
        return [{"x": torch.full((1,), float(thing))} for thing in some]

    cache = Cache(tmp_path, said.append)
    fill(cache, [(f"{n:064x}", n) for n in range(7)], encode, 7, lambda done, of: None)
    assert sizes == [7, 4, 2, 2, 2, 1] and [cache.get(f"{n:064x}")["x"].item() for n in range(7)] == list(range(7))
    assert len(said) == 2 and "with 2 at a time" in said[-1]
    with pytest.raises(RuntimeError, match="allocate"):
        fill(cache, [("f" * 64, 9)], lambda some: torch.empty(REFUSED, dtype=torch.uint8), 1, lambda done, of: None)


def test_a_sample_that_does_not_fit_is_drawn_in_tiles_then_smaller_then_left_out():
    from diffusers import AutoencoderKL

    from training.config import SamplePart
    from training.engine.frugal import Frugal
    from training.plan.prompts import Prompt

    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, mid_block_add_attention=False)
    drawn: list[tuple[int, bool]] = []

    def frames(limit_px: int, in_tiles: bool):
        def draw(prompt):
            drawn.append((prompt.sample.width, vae.use_tiling))
            torch.empty(REFUSED if prompt.sample.width > limit_px or vae.use_tiling < in_tiles else 1, dtype=torch.uint8)
            return ["a picture"]

        return draw

    said: list[str] = []
    asked = Prompt("a cat", SamplePart(width=1024, height=1024))
    tiled, small, never = Frugal(said.append), Frugal(said.append), Frugal(said.append)
    assert tiled.draw(frames(1024, True), asked, vae) == tiled.draw(frames(1024, True), asked, vae) == ["a picture"]
    assert drawn == [(1024, False), (1024, True), (1024, True)] and not vae.use_tiling, "what is encoded later is encoded as before"
    drawn.clear()
    assert small.draw(frames(512, False), asked, vae) == ["a picture"] and drawn == [(1024, False), (1024, True), (512, True)]
    assert never.draw(frames(1, False), asked, vae) == never.draw(frames(1, False), asked, vae) == [] and "left out" in said[-1]


def test_trouble_settings_make_no_other_run(lab):
    assert config_hash(lab.make(survive__milder=False, survive__not_a_number="slower").config()) == config_hash(lab.make().config())


@pytest.fixture
def poisoned(lab):
    """poisoned(**job): a run whose pictures are encoded, one of them to numbers so large that the first layers cannot hold them; that one's id; what puts it right."""
    from training.engine.prepare import prepare

    def spoil(**job):
        run = lab.make(sample__every=0, data__batch_size=1, data__caption_dropout=0.0, **job)
        config = run.config()
        ctx = Context(run, lab.home, 1)
        prepared = prepare(config, ctx)
        item = prepared.plan.items[0]
        key = item.latent_key(prepared.feed.latent_print, item.flips[0])
        good = prepared.cache.get(key)
        prepared.cache.put(key, {"latents": good["latents"].sign() * 3e38})
        return run, item.id, lambda: prepared.cache.put(key, good)

    return spoil


@pytest.mark.slow
def test_a_loss_that_is_no_number_names_its_layer_and_its_picture(lab, poisoned):
    run, picture, _ = poisoned()
    with pytest.raises(NotANumber, match="the loss became .* at step") as failed:
        lab.go(run)
    said = re.search(r"It began in the layer (\S+), with (.+?)\. Pictures", str(failed.value))
    assert said and said[2] == picture and said[1].startswith(("conv_in", "down_blocks.0.")), failed.value
    assert not worker.goes_on(Context(run, lab.home, 1), failed.value), "nobody has allowed it"


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_tried_once_more_half_as_fast_and_a_resumed_run_does_the_same(lab, poisoned):
    run, _, heal = poisoned(survive__not_a_number="slower", save__every=50)
    with pytest.raises(NotANumber) as failed:
        lab.go(run)
    ctx = Context(run, lab.home, 1)
    assert worker.goes_on(ctx, failed.value) and "goes back to step 0" in run.view().warnings[-1] and "half as fast" in run.view().warnings[-1]
    with pytest.raises(NotANumber) as again:
        lab.go(run)
    assert not worker.goes_on(ctx, again.value), "once a step"
    heal()
    lab.go(run, stop_at=1)
    lab.go(run)
    half = lab.run(sample__every=0, data__batch_size=1, data__caption_dropout=0.0, optimizer__learning_rate=5e-3)
    assert state_files(run, 6)["adapter.safetensors"] == state_files(half, 6)["adapter.safetensors"]
    assert [row[2] for row in run.view().losses] == [row[2] for row in half.view().losses], "the rate that is told is the one that it learns at"


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_a_step_that_is_computed_in_fp32_leaves_the_weights_as_they_were(lab, keep):
    job = dict(model__dtype="bf16", keep__on=keep, sample__every=0, survive__not_a_number="exact", steps=2, save__every=1)
    half, full = lab.run(**job), lab.run(**{**job, "model__dtype": "fp32"})
    run = lab.make(**job)
    Context(run, lab.home, 1).emit("mended", step=1, since=0, how="exact", said="as an earlier attempt had said")
    lab.go(run)
    losses = lambda one: [loss for _, loss, _ in one.view().losses]
    assert losses(run)[0] == losses(half)[0] and losses(run)[1] != losses(half)[1]
    assert keep or abs(losses(run)[1] - losses(full)[1]) < abs(losses(half)[1] - losses(full)[1]), "what the base says differs more by its own weights"
    assert Path(run.path / "checkpoints" / "000002").is_dir()
