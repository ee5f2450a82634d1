"""Several processes train one run: it is the run that one alone makes, whatever their number, and nobody is left over.

The processes are real ones that meet over gloo, forked from one that has imported torch already, so that seven of them do not take seven
imports; the last test starts them as a person does.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests import tiny
from tests.families import sdxl, z_image
from training import jobfile, registry
from training.engine import launching
from training.plan import sharing
from training.runs import supervisor
from training.runs.context import Context, Follower, Stopped
from training.runs.ranks import Lost
from training.runs.run import create

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

RATE = 1e-3
SAME = {
    "steps": 3, "optimizer__learning_rate": RATE, "optimizer__accumulation": 4, "data__batch_size": 1, "data__flip": True, "data__caption_dropout": 0.3,
    "adapter__dropout": 0.2, "adapter__targets": "all", "loss__ema_decay": 0.9, "loss__min_snr_gamma": 5.0, "save__every": 3, "sample__every": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def jobs(base, dataset, tmp_path_factory):
    """{name: a job}: three families, two adapters, and what else a step can be made of."""
    scratch = tmp_path_factory.mktemp("families")
    plain = tiny.train_job(base, dataset, **SAME, data__held_out=1, save__validate_every=2, sample__prompts=["a red cat", "a blue dog", "a circle"])
    flow = tiny.train_job(z_image.build(scratch / "z"), dataset, **SAME | {"adapter__type": "lokr", "loss__min_snr_gamma": 0.0, "sample__every": 0}, model__family="z_image", model__dtype="fp32")
    two = tiny.train_job(sdxl.build(scratch / "xl"), dataset, **SAME | {"sample__every": 0, "data__batch_size": 2, "optimizer__accumulation": 5}, model__family="sdxl", adapter__text_encoder=True)
    age = {"target": "a cat", "positive": "a red cat", "negative": "a blue cat"}
    words = tiny.train_job(
        base, dataset, **SAME | {"sample__every": 0, "trigger": "", "adapter__dropout": 0.0, "loss__ema_decay": 0.0}, loss__objective="slider", data__datasets=[], concept__targets=[age], concept__drawn=5,
        keep__on=True, optimizer__type="adamw_schedulefree",
    )  # fmt: skip
    return {"plain": plain, "flow": flow, "two": two, "words": words}


class _Stopping(Context):
    stop_at = 0

    def step_due(self):
        return True

    def step(self, step, *rest):
        super().step(step, *rest)
        if step == self.stop_at:
            self.request_stop()
        return True


def attempt(run, home, ranks=None, stop_at: int = 0) -> None:
    """One attempt at a run in this process, alone or as one of several."""
    number = run.view().attempt + 1 if ranks is None else ranks.same(run.view().attempt + 1)
    first = ranks is None or ranks.first
    ctx = (_Stopping if first else Follower)(run, home, number)
    ctx.stop_at = stop_at
    if ranks:
        ctx.ranks = ranks
    ctx.emit("started", pid=os.getpid(), attempt=number, boot_id="", oom_kills=0, versions={}, device="CPU")
    try:
        registry.get("jobs", "train").run(run.config(), ctx)
    except Stopped as stopped:
        ctx.emit("stopped", step=stopped.step)


def together(world: int, work) -> list[int]:
    """The exit codes of `world` processes that do work(ranks); 4 is another one's death."""
    import peft  # noqa: F401 heavy imports happen once, here

    import training.engine.loop  # noqa: F401

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sys.stdout.flush()
    pids = []
    for rank in range(world):
        if pid := os.fork():
            pids.append(pid)
            continue
        try:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
            from training.engine.ranks import Ranks

            work(Ranks())
            os._exit(0)
        except Lost:
            os._exit(4)
        except BaseException:  # noqa: BLE001 the child's end is its exit code
            import traceback

            traceback.print_exc(file=sys.__stderr__)
            sys.__stderr__.flush()
            os._exit(1)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def alike(run, one, step: int = 3, ends: str = "finished") -> None:
    """Both are the same run, as far as sums in another order can be."""
    assert run.status() == one.status() == ends, (run.view().error, one.view().error)
    losses, usual = ({at: loss for at, loss, _ in made.view().losses} for made in (run, one))
    assert losses == pytest.approx(usual, abs=1e-6) and len(usual) == step
    for name in ("adapter", "ema", "state"):
        path = f"checkpoints/{step:06d}/{name}.safetensors"
        if (one.path / path).exists():
            made, known = load_file(run.path / path), load_file(one.path / path)
            assert made.keys() == known.keys()
            for key, tensor in known.items():
                torch.testing.assert_close(made[key], tensor, atol=0.01 * RATE, rtol=1e-5)
    assert [at[:2] for at in run.view().samples] == [at[:2] for at in one.view().samples]
    assert dict(run.view().validations) == pytest.approx(dict(one.view().validations), abs=1e-5)
    assert not (list(run.path.glob("checkpoints/.*")) or list(run.path.glob("**/.tmp*")))


@pytest.mark.slow
@forking
def test_one_two_and_four_processes_make_the_same_run(home, jobs):
    def make(name):
        return create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, jobs[name]))

    ones = {name: make(name) for name in jobs}
    for run in ones.values():
        attempt(run, home)
    for world, names in ((2, list(jobs)), (4, ["plain", "flow", "two"])):
        runs = {name: make(name) for name in names}
        assert together(world, lambda ranks, runs=runs: [attempt(run, home, ranks) for run in runs.values()]) == [0] * world
        for name, run in runs.items():
            alike(run, ones[name])


@pytest.mark.slow
@forking
def test_stopped_on_two_and_resumed_on_one_and_the_other_way(home, jobs):
    def make():
        return create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, jobs["plain"]))

    whole, down, up = make(), make(), make()
    attempt(whole, home)
    assert together(2, lambda ranks: attempt(down, home, ranks, stop_at=2)) == [0, 0]
    assert down.status() == "stopped" and [step for step, _ in down.checkpoints()] == [2]
    attempt(down, home)
    attempt(up, home, stop_at=2)
    assert together(2, lambda ranks: attempt(up, home, ranks)) == [0, 0]
    for run in (down, up):
        alike(run, whole)


@pytest.mark.slow
@forking
def test_what_processes_tell_each_other(tmp_path):
    """Sums, shares, turns; a weight that nobody used keeps no gradient, one that a process did not use gets the others'; weights that differ are levelled."""

    def work(ranks):
        weights = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(1))]
        weights[0].grad = torch.full((3,), float(ranks.rank + 1))
        if ranks.rank == 1:
            weights[1].grad = torch.full((2, 2), 5.0)
        (total,) = ranks.add(weights, [torch.tensor(float(ranks.rank))])
        assert weights[0].grad.tolist() == [6.0] * 3 and weights[1].grad.flatten().tolist() == [5.0] * 4 and weights[2].grad is None and total == 3
        assert ranks.share(list(range(7))) == list(range(ranks.rank, 7, 3))
        assert ranks.same(ranks.rank) == 0 and ranks.same_flag(ranks.rank == 0) is True and ranks.total([1, ranks.rank]) == [3, 3]
        assert ranks.gather(ranks.rank) == ([0, 1, 2] if ranks.first else [])
        with ranks.in_turn():
            assert (tmp_path / "made").exists() is not ranks.first
            (tmp_path / "made").touch()
        assert ranks.level(weights)
        with torch.no_grad():
            weights[0] += ranks.rank
        assert not ranks.level(weights) and weights[0].tolist() == [1.0] * 3
        if ranks.rank == 2:
            os._exit(9)
        ranks.wait()

    assert together(3, work) == [4, 4, 9]


@pytest.mark.slow
@forking
def test_processes_started_as_a_person_does_end_together_when_one_is_killed_and_go_on_in_one(home, base, dataset):
    job = tiny.train_job(base, dataset, gpus=2, optimizer__accumulation=2, steps=3000, save__every=2, sample__every=0)
    run = create(home.outputs, jobfile.parse(registry.get("jobs", "train").Config, job))
    supervisor.start(run, home)
    try:
        assert _until(lambda: run.checkpoints()), run.log_tail()
        worker = psutil.Process(run.view().pid)
        ranks = sorted((p for p in worker.children() if launching._is_rank(p)), key=lambda p: int(p.environ()["RANK"]))
        assert len(ranks) == 2
        ranks[1].kill()
        assert _until(lambda: not any(p.is_running() and p.status() != "zombie" for p in (worker, *ranks))), "somebody is left over"
        assert run.status() == "failed"
        assert "Process 2 of 2 ended by signal 9 (SIGKILL), so the others were ended too" in run.view().error
        assert "Everything up to step" in run.view().hint and "Resume" in run.view().hint
        saved = run.checkpoints()[-1][0]
    finally:
        if run.locked():
            supervisor.kill(run)
    run.wish_for_ranks(1)
    attempt(run, home, stop_at=saved + 1)
    assert run.status() == "stopped" and run.view().step == saved + 1


def _until(true, limit_s: float = 120.0) -> bool:
    until = time.monotonic() + limit_s
    while not true() and time.monotonic() < until:
        time.sleep(0.05)
    return bool(true())


def test_too_few_micro_batches_are_refused_with_what_to_set(base, dataset):
    config = jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, dataset, gpus=4, data__batch_size=8))
    ((path, text),) = sharing.problems(config, 4)
    assert path == "gpus" and "it has 1 micro-batch (optimizer.accumulation); set data.batch_size to 2 and optimizer.accumulation to 4" in text
    assert not sharing.problems(config, 1)
    uneven = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": 1})})
    assert sharing.shared_out(uneven, 4) == {"optimizer.accumulation": 4}


def test_more_cards_than_there_are_are_refused_and_none_means_all():
    assert sharing.processes(0, "cuda", 4) == 4 and sharing.processes(2, "cuda", 4) == 2 and sharing.processes(3, "cpu", 0) == 3 and sharing.processes(0, "cpu", 0) == 1
    with pytest.raises(ValueError, match="gpus is 4, but this run was given 2 cards; set gpus to 2, or 0 for all"):
        sharing.processes(4, "cuda", 2)
    with pytest.raises(ValueError, match="an Apple GPU is one"):
        sharing.processes(2, "mps", 0)


def test_the_number_of_cards_is_no_change_of_a_run_and_a_wish_outlives_the_attempt_but_its_computers_do_not(home, base, dataset):
    from training.config import config_hash

    config = jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, dataset, gpus=2, optimizer__accumulation=2))
    assert config_hash(config) == config_hash(config.model_copy(update={"gpus": 0}))
    run = create(home.outputs, config)
    assert run.wished_ranks(1) == type(run.wished_ranks())(None, 1, "")
    run.wish_for_ranks(3, 2, "here:1")
    assert (run.wished_ranks(1).nodes, run.wished_ranks(1).rdzv, run.wished_ranks(2).nodes, run.wished_ranks(2).gpus) == (2, "here:1", 1, 3)
    Path(run.control_path).write_text(json.dumps({"kind": "ranks", "gpus": True, "nodes": "2", "attempt": 1}) + "\n")
    assert run.wished_ranks(1).gpus is None and run.wished_ranks(1).nodes == 1


def test_gradients_are_taken_in_pieces_without_counting_each_anew():
    """One count a weight: counting all of a piece at each of its weights took minutes where a step has tens of thousands."""
    from training.engine import ranks

    class Weight:
        counted = 0

        def numel(self):
            Weight.counted += 1
            return ranks.PIECE // 400

    pieces = list(ranks._pieces([Weight() for _ in range(1000)]))
    assert [len(piece) for piece in pieces] == [401, 401, 198] or [len(piece) for piece in pieces] == [400, 400, 200]
    assert Weight.counted == 1000
