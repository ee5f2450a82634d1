"""Blocks that are recomputed, or wait in RAM: the same gradients, and less in memory."""

import gc
import importlib
import weakref

import pytest
import torch
from torch import nn

from training import registry
from training.engine import blocks
from training.family import Placement


@pytest.fixture(scope="module", params=["sd15", "flux1"])
def kit(request, tmp_path_factory):
    made = importlib.import_module(f"tests.families.{request.param}")
    return request.param, made.build(tmp_path_factory.mktemp("toy") / request.param)


def network(kit, how="none"):
    from training.config import AdapterPart

    id, folder = kit
    family = registry.get("families", id)
    denoiser = family.load(folder, {family.SPEC.denoiser}, Placement(torch.float32, "cpu", how)).denoiser
    attach = lambda: registry.get("adapters", "lora").attach(denoiser, AdapterPart(rank=2, alpha=2.0), family.SPEC.lora_targets["attention"], 0)
    return denoiser, attach


def call(kit, denoiser):
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g)
    if kit[0] == "sd15":
        return denoiser(draw(2, 4, 16, 16), torch.tensor([10, 500]), draw(2, 7, 16), return_dict=False)[0]
    return denoiser(
        hidden_states=draw(2, 16, 16), encoder_hidden_states=draw(2, 5, 32), pooled_projections=draw(2, 32), timestep=torch.tensor([0.2, 0.7]),
        img_ids=torch.zeros(16, 3), txt_ids=torch.zeros(5, 3), guidance=torch.ones(2), return_dict=False,
    )[0]  # fmt: skip


def gradients(kit, denoiser):
    denoiser.train()
    call(kit, denoiser).pow(2).sum().backward()
    found = {name: p.grad.clone() for name, p in denoiser.named_parameters() if p.grad is not None}
    denoiser.zero_grad(set_to_none=True)
    return found


def spoilt(denoiser):
    """lora_B starts at zero, where half of the gradients are zero as well."""
    g = torch.Generator().manual_seed(1)
    for name, p in denoiser.named_parameters():
        if "lora_B" in name:
            p.data = torch.randn(p.shape, generator=g) * 0.1


def kept_bytes(kit, denoiser) -> int:
    sizes = {}

    def note(t):
        if not t.requires_grad or t.grad_fn:
            sizes[t.data_ptr()] = t.numel() * t.element_size()
        return t

    denoiser.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        call(kit, denoiser)
    return sum(sizes.values())


def test_the_more_blocks_are_recomputed_the_less_is_kept_and_gradients_stay(kit):
    found, kept = {}, {}
    for level in ("off", "third", "half", "all"):
        denoiser, attach = network(kit)
        blocks.recompute(denoiser, level)
        attach()
        spoilt(denoiser)
        found[level], kept[level] = gradients(kit, denoiser), kept_bytes(kit, denoiser)
    for level in ("third", "half", "all"):
        assert found[level].keys() == found["off"].keys()
        for name, gradient in found["off"].items():
            torch.testing.assert_close(found[level][name], gradient, rtol=1e-5, atol=1e-6)
    assert kept["off"] > kept["half"] > kept["all"]
    assert kept["off"] > kept["third"] >= kept["half"]


@pytest.mark.parametrize("how", ["none", "int8", "nf4"])
@pytest.mark.parametrize("level", ["off", "all"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_blocks_in_ram_give_the_same_gradients(kit, how, level, share):
    plain, attach = network(kit, how)
    attach()
    spoilt(plain)
    expected = gradients(kit, plain)

    denoiser, attach = network(kit, how)
    blocks.recompute(denoiser, level)
    blocks.hold_in_ram(denoiser, "cpu", share)
    attach()
    blocks.settle(denoiser, "cpu")
    spoilt(denoiser)
    before = {name: p for name, p in denoiser.named_parameters()}
    found = gradients(kit, denoiser)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-6)
    assert all(p is before[name] for name, p in denoiser.named_parameters()), "after the pass every weight is back in RAM"


def test_a_blocks_weights_are_on_the_device_only_while_it_runs(kit, monkeypatch):
    """Every copy is counted while it lives: with all blocks recomputed at most one block has its copy, forward and backward."""
    denoiser, attach = network(kit)
    blocks.recompute(denoiser, "all")
    alive, most = {}, {"forward": 0, "backward": 0}
    phase = "forward"
    owner = {id(p): number for number, block in enumerate(blocks.innermost(denoiser)) for p in block.parameters()}
    real = blocks.copied

    def counted(p, device):
        made = real(p, device)
        if id(p) in owner:
            alive[id(made)] = (weakref.ref(made), owner[id(p)])
            most[phase] = max(most[phase], len({number for ref, number in alive.values() if ref() is not None}))
        return made

    monkeypatch.setattr(blocks, "copied", counted)
    blocks.hold_in_ram(denoiser, "cpu", 1.0)
    alive.clear()
    attach()
    blocks.settle(denoiser, "cpu")
    denoiser.train()
    loss = call(kit, denoiser).pow(2).sum()
    gc.collect()
    unheld = {number for ref, number in alive.values() if ref() is not None}
    recomputed = len(blocks.innermost(denoiser))
    phase = "backward"
    loss.backward()
    gc.collect()
    assert not [ref for ref, _ in alive.values() if ref() is not None], "nothing is left after the backward pass"
    if kit[0] == "flux1":  # each of its blocks is recomputed; a UNet's resampling layers are not, and keep theirs until they are done
        assert not unheld and most == {"forward": 1, "backward": 1}
    else:
        assert most["forward"] < recomputed and most["backward"] < recomputed


def test_innermost_blocks_of_both_kinds_of_network(kit):
    denoiser, _ = network(kit)
    found = {type(b).__name__ for b in blocks.innermost(denoiser)}
    wanted = {"sd15": {"BasicTransformerBlock", "ResnetBlock2D"}, "flux1": {"FluxTransformerBlock", "FluxSingleTransformerBlock"}}[kit[0]]
    assert wanted <= found and not any(isinstance(b, nn.ModuleList) for b in blocks.innermost(denoiser))


@pytest.mark.slow
def test_a_run_with_blocks_in_ram_is_the_run_without(kit, lab):
    id, folder = kit
    made = importlib.import_module(f"tests.families.{id}")
    runs = [
        lab.run(model__family=id, model__source=str(folder), data__resolutions=[made.SIDE], sample__every=0, model__offload=share, loss__gradient_checkpointing="all")
        for share in (0.0, 0.5)
    ]
    assert [r.status() for r in runs] == ["finished"] * 2, [r.why() for r in runs]
    losses = [[e["loss"] for e in r.events()[0] if e["kind"] == "step"] for r in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
