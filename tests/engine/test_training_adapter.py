"""A training adapter is there while a distilled model learns, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.engine.conftest import state_files
from tests.families import flux1 as toy
from training import jobfile, registry
from training.config import ModelPart
from training.engine import training_adapter
from training.family import GEOMETRY, Cond, Placement
from training.runs.context import Context

FLUX = registry.get("families", "flux1")


@pytest.fixture(scope="session")
def schnell(tmp_path_factory):
    return toy.build(tmp_path_factory.mktemp("schnell") / "base", guidance_embeds=False)


@pytest.fixture(scope="session")
def helper(schnell, tmp_path_factory):
    """A LoRA on two layers, one of which the training's own adapter does not touch; alpha is half its rank."""
    dice = torch.Generator().manual_seed(1)
    sides = {"transformer_blocks.0.attn.to_q": (32, 32), "transformer_blocks.0.ff.net.2": (128, 32)}
    tensors = {}
    for name, (into, out) in sides.items():
        tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(4, into, generator=dice)
        tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(out, 4, generator=dice)
        tensors[f"transformer.{name}.alpha"] = torch.tensor(2.0)
    file = tmp_path_factory.mktemp("helper") / "helper ü.safetensors"
    save_file(tensors, file)
    return file


def job(schnell, **changes):
    return {"model__family": "flux1", "model__source": str(schnell), "sample__width": 48, "sample__guidance": 0.0, "steps": 4, "save__every": 2, **changes}


def said(m) -> torch.Tensor:
    dice = torch.Generator().manual_seed(2)
    cond = Cond({"embeds": torch.randn(1, 6, 32, generator=dice), "pooled": torch.randn(1, 32, generator=dice), GEOMETRY: torch.zeros(1, 6)})
    with torch.no_grad():
        return FLUX.predict(m, torch.randn(1, 4, 8, 8, generator=dice), torch.tensor([0.5]), cond)


def test_it_acts_as_the_same_lora_does_and_leaves_no_trace_when_off(schnell, helper, lab):
    run = lab.make()
    ctx = Context(run, lab.home, 1)
    load = lambda: FLUX.load(schnell, {"transformer"}, Placement(torch.float32, "cpu"))
    plain, m = load(), load()
    base, names = said(plain), [n for n, _ in m.denoiser.named_parameters()]
    pipe = FLUX.pipeline(plain)
    pipe.load_lora_weights(str(helper.parent), weight_name=helper.name)
    theirs = said(plain)

    added = training_adapter.attach(ModelPart(family="flux1", source=str(schnell), training_adapter=str(helper)), FLUX, m, ctx)
    assert added.layers == 2 and [n for n, _ in m.denoiser.named_parameters()] == names
    torch.testing.assert_close(said(m), theirs, atol=1e-6, rtol=1e-5)
    assert (theirs - base).abs().max() > 1e-2
    with added.off():
        assert torch.equal(said(m), base)
    assert not torch.equal(said(m), base)


def test_what_is_no_lora_for_this_model_is_refused(schnell, lab, tmp_path):
    ctx = Context(lab.make(), lab.home, 1)
    m = FLUX.load(schnell, {"transformer"}, Placement(torch.float32, "cpu"))
    save_file({"unet.x.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    for wrong, sentence in ((tmp_path / "other.safetensors", "other.safetensors"), (tmp_path / "none.safetensors", "there is no file")):
        with pytest.raises(ValueError, match=sentence):
            training_adapter.attach(ModelPart(family="flux1", source=str(schnell), training_adapter=str(wrong)), FLUX, m, ctx)


@pytest.mark.slow
def test_training_sees_it_samples_and_the_result_do_not_and_resuming_is_exact(schnell, helper, lab):
    with_it = job(schnell, model__training_adapter=str(helper))
    whole, without = lab.run(**with_it), lab.run(**job(schnell))
    assert whole.status() == without.status() == "finished", (whole.why(), without.why())
    losses = [[e["loss"] for e in run.events()[0] if e["kind"] == "step"] for run in (whole, without)]
    assert losses[0][0] != losses[1][0]  # before anything was learnt, only the training adapter makes the difference
    first = [(run.path / "samples" / "000000_0.webp").read_bytes() for run in (whole, without)]
    assert first[0] == first[1]  # finish() also proves that the result acts alike on a base without it

    with safe_open(whole.result(), "pt") as mine, safe_open(without.result(), "pt") as plain:
        assert set(mine.keys()) == set(plain.keys())
    assert any(not torch.equal(a, b) for a, b in zip(load_file(whole.result()).values(), load_file(without.result()).values(), strict=True))

    parted = lab.go(lab.run(stop_at=3, **with_it))
    assert parted.status() == "finished", parted.why()
    assert state_files(parted, 4) == state_files(whole, 4)


def test_the_path_of_a_job_file_is_its_own_folders(tmp_path, helper):
    (tmp_path / "my.safetensors").write_bytes(helper.read_bytes())
    (tmp_path / "job.yaml").write_text("kind: train\nname: a\nmodel: {family: flux1, source: o/n, training_adapter: ./my.safetensors}\ndata: {datasets: [{name: x}]}\n")
    assert jobfile.load_job(tmp_path / "job.yaml").model.training_adapter == str((tmp_path / "my.safetensors").resolve())
