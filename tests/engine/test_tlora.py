"""T-LoRA: the noisier a picture is, the fewer ranks learn from it; each picture of a batch by its own level; an ordinary LoRA for everybody else."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from torch import nn

from tests.engine.conftest import state_files
from training import registry
from training.config import AdapterPart, TrainConfig
from training.engine import blocks
from training.engine.idle import of_adapter
from training.engine.lessons import Switch
from training.family import Cond, Placement
from training.formats import adapting
from training.formats.deliver import offers

TLORA, SD15 = registry.get("adapters", "tlora"), registry.get("families", "sd15")


def test_the_ranks_are_those_of_the_paper():
    """r(t) = r_min + floor((1 - t/T)^alpha (r_max - r_min)); ControlGenAI/T-LoRA reckons it in whole timesteps, with int()."""
    thin = torch.ones(5, 3, 16)
    t = torch.tensor([0, 250, 500, 900, 999])
    for least, power in ((1, 1.0), (4, 1.0), (1, 2.0)):
        mask = TLORA.rank_mask(t / 1000, thin, -1, least, power)
        wanted = [int(((1000 - x) / 1000) ** power * (16 - least)) + least for x in t.tolist()]
        assert mask[:, 0].sum(dim=-1).tolist() == wanted
        assert all((row[:n] == 1).all() and (row[n:] == 0).all() for row, n in zip(mask[:, 0], wanted, strict=True)), "the first of them"
    assert TLORA.rank_mask(t / 1000, torch.ones(5, 16, 4, 4), 1, 1, 1.0).shape == (5, 16, 1, 1), "of a convolution"


def learning(base, seed=0):
    m = SD15.load(base, {"unet"}, Placement(torch.float32, "cpu"))
    TLORA.attach(m.denoiser, AdapterPart(type="tlora", rank=6, targets="all"), SD15.SPEC.lora_targets["all"], 1)
    dice = torch.Generator().manual_seed(seed)
    for p in TLORA.parameters(m.denoiser):
        p.data.copy_(torch.randn(p.shape, generator=dice) * 0.2)
    return m


def asked(m, t):
    dice = torch.Generator().manual_seed(2)
    noisy, embeds = torch.randn(1, 4, 16, 16, generator=dice), torch.randn(1, 8, 16, generator=dice)
    return SD15.predict(m, noisy.expand(len(t), -1, -1, -1), torch.full((len(t),), 500), Cond({"embeds": embeds.expand(len(t), -1, -1)}))


def test_each_picture_of_a_batch_has_its_own_ranks_and_outside_all_act(base):
    m = learning(base)
    levels = torch.tensor([0.0, 0.5, 1.0])
    with torch.no_grad():
        whole = asked(m, levels[:1])
        with Switch(TLORA, {"unet": m.denoiser}).levels() as tell:
            tell(levels)
            together = asked(m, levels)
            apart = []
            for level in levels:
                tell(level[None])
                apart.append(asked(m, level[None]))
        torch.testing.assert_close(together, torch.cat(apart), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(apart[0], whole, atol=1e-6, rtol=1e-6)
        assert (apart[2] - apart[0]).abs().max() > 1e-3 and (apart[1] - apart[2]).abs().max() > 1e-4
        assert torch.equal(asked(m, levels[:1]), whole), "no level is left behind"
        with TLORA.off(m.denoiser):
            assert not torch.equal(asked(m, levels[:1]), whole)


def test_gradients_are_masked_and_the_same_where_blocks_are_recomputed(base):
    """At pure noise one rank learns; a recomputed block is masked as it was when it was first computed."""
    found = []
    for level in ("off", "all"):
        m = learning(base)
        blocks.recompute(m.denoiser, level)
        m.denoiser.train()
        with Switch(TLORA, {"unet": m.denoiser}).levels() as tell:
            for t in (torch.tensor([1.0, 0.6]), torch.tensor([1.0, 1.0])):
                tell(t)
                asked(m, t).square().sum().backward()
                grads = {n: p.grad.clone() for n, p in m.denoiser.named_parameters() if p.grad is not None}
                for p in TLORA.parameters(m.denoiser):
                    p.grad = None
                found.append(grads)
    mixed, noise, mixed_again, noise_again = found
    for first, second in ((mixed, mixed_again), (noise, noise_again)):
        assert first.keys() == second.keys()
        for name in first:
            torch.testing.assert_close(first[name], second[name], atol=1e-6, rtol=1e-5)
    for name, grad in noise.items():
        rows = grad.flatten(1) if "lora_A" in name else grad.flatten(1).T
        assert (rows[1:] == 0).all(), name
    assert any((grad.flatten(1)[1:] != 0).any() for name, grad in mixed.items() if "lora_A" in name)


def test_a_layer_that_mixes_the_pictures_of_a_batch_is_refused():
    module = nn.ModuleDict({"odd": nn.Linear(4, 4)})
    TLORA.attach(module, AdapterPart(type="tlora", rank=2), ("odd",), 1)
    TLORA.heed(module, torch.tensor([0.1, 0.9]))
    with pytest.raises(ValueError, match="cannot tell the pictures of a batch apart in odd; set data.batch_size to 1"):
        module["odd"](torch.zeros(6, 4))
    TLORA.heed(module, torch.tensor([0.1]))
    module["odd"](torch.zeros(6, 4))


def test_its_file_is_a_lora_to_everybody(lab):
    lora = registry.get("adapters", "lora")
    for id in ("sd15", "sdxl", "flux1"):
        spec = registry.get("families", id).SPEC
        assert offers(spec, "tlora", TLORA) == offers(spec, "lora", lora)
    config: TrainConfig = lab.make(adapter__type="tlora", engine__compile="on").config()
    assert adapting.problems(config)[0][0] == "engine.compile"
    assert "not below adapter.rank" in of_adapter(lab.make(adapter__type="tlora", adapter__least_rank=2).config(), TLORA, SD15.SPEC)[0]


@pytest.mark.slow
def test_a_run_is_exact_and_differs_from_a_plain_lora(lab):
    how = {"adapter__type": "tlora", "adapter__rank": 4, "steps": 4, "save__every": 2, "sample__every": 0, "loss__gradient_checkpointing": "all"}
    whole = lab.run(**how)
    assert whole.status() == "finished", whole.why()
    parted = lab.go(lab.run(stop_at=3, **how))
    assert state_files(parted, 4) == state_files(whole, 4)
    plain = lab.run(**how | {"adapter__type": "lora"})
    assert state_files(plain, 4)["adapter.safetensors"] != state_files(whole, 4)["adapter.safetensors"]
    with safe_open(whole.result(), "np") as file, safe_open(plain.result(), "np") as other:
        assert set(file.keys()) == set(other.keys()) and file.metadata()["ss_network_module"] == "networks.lora"
        assert file.metadata()["modelspec.architecture"].endswith("/lora")
