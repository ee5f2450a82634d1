"""A base model that is split among processes makes the run that one process makes; each holds its part of the weights, and the files are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests import tiny
from tests.engine.test_ranks import RATE, alike, attempt, forking, together
from training import jobfile, registry
from training.engine import loop
from training.plan import sharing
from training.runs.run import create

SAME = {
    "steps": 2, "optimizer__learning_rate": RATE, "data__batch_size": 1, "data__flip": True, "data__caption_dropout": 0.3, "loss__ema_decay": 0.9, "loss__min_snr_gamma": 5.0,
    "save__every": 2, "sample__every": 2, "sample__prompts": ["a red cat", "a blue dog", "a circle"], "shard": "on",
}  # fmt: skip


def config_of(base, dataset, **changes):
    return jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, dataset, **changes))


def shares(folder: Path, work):
    """work(ranks), with what share of the denoiser's bytes each process holds put down in `folder`."""

    def noted(ranks):
        learn = loop.Session.learn

        def look(self):
            from torch.distributed.tensor import DTensor

            weights = [p for p in self.m.denoiser.parameters() if not p.requires_grad or self.held.learning]
            mine = sum(p.to_local().nbytes if isinstance(p, DTensor) else p.nbytes for p in weights)
            (folder / f"{ranks.rank}").write_text(str(mine / sum(p.numel() * p.element_size() for p in weights)))
            learn(self)

        loop.Session.learn = look
        work(ranks)

    return noted


def held_about_half(folder: Path) -> bool:
    found = [float((folder / f"{rank}").read_text()) for rank in range(2)]
    return all(abs(share - 0.5) < 0.02 for share in found) and sum(found) == pytest.approx(1)


@pytest.mark.slow
@forking
def test_a_whole_model_that_learns_is_split_stopped_on_two_and_goes_on_on_one_and_the_other_way(home, base, dataset, tmp_path):
    """Weights, gradients, optimizer and average are split; checkpoints, samples and result are those of one process."""
    config = config_of(base, dataset, **SAME, optimizer__accumulation=2, adapter__type="full", data__held_out=1, save__validate_every=2)
    whole, down, up = (create(home.outputs, config) for _ in range(3))
    attempt(whole, home)
    assert together(2, shares(tmp_path, lambda ranks: attempt(down, home, ranks, stop_at=1))) == [0, 0]
    assert down.status() == "stopped" and [step for step, _ in down.checkpoints()] == [1]
    assert held_about_half(tmp_path)
    attempt(down, home)
    attempt(up, home, stop_at=1)
    assert together(2, lambda ranks: attempt(up, home, ranks)) == [0, 0]
    for run in (down, up):
        alike(run, whole, 2)
    assert any("shard has no effect: one process trains alone" in text for text in whole.view().warnings)

    from diffusers import UNet2DConditionModel

    one, two = (UNet2DConditionModel.from_pretrained(run.result() / "unet").state_dict() for run in (whole, up))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=0.01 * RATE, rtol=1e-5)


@pytest.mark.slow
@forking
def test_a_lora_learns_on_a_base_that_is_split_whatever_work_each_process_has(home, base, dataset, tmp_path):
    """Three micro-batches for two processes, passes that hold the base for some of them, pictures that one of them draws: whoever has no work makes the passes along."""
    more = {"optimizer__accumulation": 3, "adapter__dropout": 0.2, "adapter__targets": "all", "loss__gradient_checkpointing": "half", "keep__on": True, "keep__share": 0.4, "keep__drawn": 2}
    config = config_of(base, dataset, **SAME | more)
    one, two = (create(home.outputs, config) for _ in range(2))
    assert together(2, shares(tmp_path, lambda ranks: attempt(two, home, ranks))) == [0, 0]
    assert held_about_half(tmp_path)
    attempt(one, home)
    alike(two, one, 2)


def test_what_cannot_be_split_is_refused_before_the_start(base, dataset):
    def said(**changes):
        return [text for path, text in sharing.problems(config_of(base, dataset, gpus=2, optimizer__accumulation=2, shard="on", **changes), 2)]

    assert not said() and not said(adapter__type="full") and not said(optimizer__type="prodigy"), "what a LoRA learns lies whole on each card"
    assert said(model__quantise="nf4") == ["is on, but model.quantise is 'nf4', and weights of 8 or 4 bits are not split among cards; set shard to off, or set model.quantise to none"]
    assert "what waits in RAM is not split" in said(model__offload=0.5)[0]
    assert "hangs beside a base model that each card holds whole" in said(adapter__type="controlnet")[0]
    (optimizer,) = said(adapter__type="full", optimizer__type="prodigy")
    assert "Prodigy needs every weight whole" in optimizer and optimizer.endswith("choose an optimizer that does not: adamw, adamw_schedulefree, muon")
    assert not sharing.problems(config_of(base, dataset, gpus=2, optimizer__accumulation=2, model__quantise="nf4"), 2), "auto leaves it whole"


def test_whether_the_model_is_split_is_no_change_of_a_run(base, dataset):
    from training.config import config_hash

    assert len({config_hash(config_of(base, dataset, shard=shard)) for shard in ("auto", "on", "off")}) == 1
