"""What makes steps quicker changes nothing but rounding: each option beside the plain way, on a processor."""

from __future__ import annotations

import contextlib
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from training import registry
from training.config import AdapterPart, EnginePart, OptimizerPart
from training.engine import blocks, fused, optim, quantise, speed
from training.engine.ahead import Ahead, moved
from training.engine.lessons import Switch
from training.family import Cond, Placement

LORA = registry.get("adapters", "lora")


class Net(nn.Module):
    """Three Linear layers, one without a bias, and a convolution."""

    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.conv = nn.Linear(12, 24), nn.Linear(24, 16, bias=False), nn.Linear(16, 8), nn.Conv2d(8, 4, 2)

    def forward(self, x):
        x = self.to_v(self.to_k(self.to_q(x)).tanh())
        return self.conv(x.movedim(-1, 1).reshape(len(x), 8, 3, -1))


def pair(dropout: float = 0.0) -> tuple[nn.Module, nn.Module]:
    """(as peft computes it, with fewer operations): the same weights, the LoRA's all other than zero."""
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        net = Net().requires_grad_(False)
        LORA.attach(net, AdapterPart(rank=4, alpha=3.0, dropout=dropout), ("to_q", "to_k", "to_v", "conv"), 0)
        with torch.no_grad():
            for p in LORA.parameters(net):
                p.normal_(std=0.3)
        made.append(net)
    assert fused.fuse(made[1]) == 3
    return made[0], made[1]


def answer_and_gradients(net, autocast=None) -> list[torch.Tensor]:
    torch.manual_seed(1)  # dropout
    x = torch.randn(2, 6, 12, generator=torch.Generator().manual_seed(2)).requires_grad_()
    with torch.autocast("cpu", autocast) if autocast else contextlib.nullcontext():
        y = net(x)
    y.float().pow(2).mean().backward()
    found = [y.detach().float(), x.grad, *(p.grad for p in LORA.parameters(net))]
    net.zero_grad()
    return found


def assert_alike(plain, quick, within: float) -> None:
    for a, b in zip(plain, quick, strict=True):
        assert a.dtype == b.dtype and (a - b).abs().max() <= within * a.abs().max() and a.abs().max() > 0


def test_a_lora_in_fewer_operations_is_pefts_to_rounding():
    plain, quick = pair()
    assert_alike(answer_and_gradients(plain), answer_and_gradients(quick), 1e-5)
    assert_alike(answer_and_gradients(plain, torch.bfloat16), answer_and_gradients(quick, torch.bfloat16), 0.03)
    assert plain.state_dict().keys() == quick.state_dict().keys()


def test_it_follows_the_switch_and_dropout_and_what_is_not_plain():
    plain, quick = pair(dropout=0.5)
    assert_alike(answer_and_gradients(plain), answer_and_gradients(quick), 0)  # dropout acts: peft's own way, to the bit
    switches = [Switch(LORA, {"net": net}) for net in (plain, quick)]
    x = torch.randn(2, 6, 12)
    for net in (plain, quick):
        net.eval()
    for how in (lambda s: s.times(-1), lambda s: s.times(0.5)):
        said = []
        for net, switch in zip((plain, quick), switches, strict=True):
            with how(switch), torch.no_grad():
                said.append(net(x))
        assert torch.allclose(*said, atol=1e-5) and not torch.allclose(said[0], plain(x), atol=1e-3)
    with switches[1].base():
        bare = quick(x)
    torch.manual_seed(0)
    assert torch.equal(bare, Net()(x))
    assert all(p.requires_grad for p in LORA.parameters(quick))  # the base model was asked, and they still learn
    for net in (plain, quick):
        net.to_q.base_layer.register_forward_hook(lambda layer, args, out: out + 1)  # as a training adapter does
    assert torch.allclose(plain(x), quick(x), atol=1e-5)


def test_what_is_recomputed_is_the_same():
    _, quick = pair()
    straight = answer_and_gradients(quick)
    forward = quick.forward
    quick.forward = lambda x: torch.utils.checkpoint.checkpoint(forward, x, use_reentrant=False)
    assert_alike(straight, answer_and_gradients(quick), 0)


def test_adamw_in_one_operation_moves_alike_and_comes_back_from_disk():
    def made(whole, kind="adamw"):
        weights = [nn.Parameter(torch.linspace(-1, 1, n)) for n in (5, 3)]
        return weights, optim.make_optimizer(OptimizerPart(type=kind, learning_rate=0.1), [(weights, 0.1)], fused=whole)

    def go(weights, optimizer, steps):
        for step in steps:
            for w in weights:
                w.grad = (w.detach() + step).cos()
            optimizer.step()

    runs = {}
    for whole in (False, True):
        weights, optimizer = made(whole)
        go(weights, optimizer, range(4))
        tensors, rest = optim.pack(optimizer)
        assert bool(optimizer.param_groups[0]["fused"]) is whole
        others, later = made(whole)
        for w, now in zip(others, weights, strict=True):
            w.data.copy_(now.data)
        optim.unpack(later, tensors, rest)
        go(weights, optimizer, range(4, 8))
        go(others, later, range(4, 8))
        assert all(map(torch.equal, weights, others))
        runs[whole] = weights
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(runs[False], runs[True], strict=True))
    assert not optim.can_fuse(made(True, "adafactor")[1])


def test_products_in_fp8_are_off_by_what_is_said():
    torch.manual_seed(0)
    layer = quantise.FrozenLinear(1024, 64, device="cpu")
    layer.weight = quantise._quantised(layer, torch.randn(64, 1024) / 32, "fp8")
    layer.bias = nn.Parameter(torch.randn(64), requires_grad=False)
    x = torch.randn(2, 40, 1024, requires_grad=True)
    exact = layer(x)
    exact.sum().backward()
    of_x, x.grad = x.grad, None
    assert quantise.multiply_in_fp8(nn.Sequential(layer, quantise.FrozenLinear(24, 8, device="meta"))) == 1  # whose sides do not divide by 16
    quick = layer(x)
    quick.sum().backward()
    off = (quick - exact).norm() / (exact - layer.bias).norm()
    assert 0.01 < off < 0.04 and (quick - exact).mean().abs() < 0.002
    assert torch.equal(x.grad, of_x)  # backwards nothing is rounded


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_blocks_that_are_copied_ahead_are_the_same_blocks(share):
    def made(overlap):
        torch.manual_seed(0)
        net = nn.Module()
        net.blocks = nn.ModuleList(nn.Linear(6, 6).requires_grad_(False) for _ in range(4))
        blocks.hold_in_ram(net, "cpu", share, overlap)
        return net

    def steps(net):
        found = []
        for n in range(3):
            x = torch.full((2, 6), n + 1.0, requires_grad=True)
            y = x
            for block in net.blocks:
                y = torch.utils.checkpoint.checkpoint(lambda v, b=block: b(v).tanh(), y, use_reentrant=False)
            y.sum().backward()
            found += [y.detach(), x.grad]
        return found

    made_ahead = []
    real = blocks._Ahead

    class Watched(real):
        def __init__(self, device):
            super().__init__(device)
            made_ahead.append(self)

    blocks._Ahead = Watched
    try:
        quick = steps(made(True))
    finally:
        blocks._Ahead = real
    assert all(map(torch.equal, steps(made(False)), quick))
    chosen = round(share * 4)
    assert made_ahead[0].hits >= 2 * (2 * chosen - 2) - 1  # in the second and third step all but those that run twice in a row


def test_batches_made_ahead_come_in_order_and_a_fault_is_told():
    asked = []

    def make(step):
        asked.append(step)
        if step == 3:
            raise ValueError("a torn file")
        return [step]

    ahead = Ahead(make, 5)
    assert [ahead.at(n) for n in (0, 1, 2)] == [[0], [1], [2]]
    with pytest.raises(ValueError, match="a torn file"):
        ahead.at(3)
    assert ahead.at(0) == [0]  # another step than was prepared
    ahead.close()
    assert asked[:4] == [0, 1, 2, 3]
    there = moved(Cond({"embeds": torch.ones(2)}), "meta")
    assert there.tensors["embeds"].device.type == "meta"


def config(device="cpu", **engine):
    model = SimpleNamespace(dtype="fp32", quantise="none", offload=0.0)
    return SimpleNamespace(engine=EnginePart(**engine), device=device, model=model, adapter=SimpleNamespace(type="lora", text_encoder=False), steps=600, optimizer=OptimizerPart())


def test_each_option_that_does_nothing_says_why():
    asked = {"fp8": True, "cudnn_benchmark": True, "tf32": True, "overlap": True, "attention": "cudnn", "compile": "auto"}
    said = speed.idle(config(**asked))
    assert sorted(text.split()[0] for text in said) == sorted(f"engine.{name}" for name in asked)
    assert speed.idle(config()) == [] and speed.idle(config(prefetch=True, fused_lora="off", attention="math")) == []
    assert EnginePart.model_validate({"compile": True, "fused_lora": False}) == EnginePart(compile="on", fused_lora="off")  # what YAML makes of on and off
    assert speed.acts(config(), "fused_lora") and not speed.acts(config("cuda"), "fused_lora") and speed.acts(config("cuda", fused_lora="on"), "fused_lora")
    for engine, says in (({"attention": "flash_package"}, "not installed here"), ({"compile": "on"}, "wait in RAM")):
        asked = config(**engine)
        asked.model.offload = 0.5 * (engine.get("compile") == "on")
        with pytest.raises(ValueError, match=says):
            speed.check(asked)


def test_torch_is_left_as_it_was(home):
    before = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.fp32_precision
    q = torch.randn(1, 1, 4, 8)
    with speed.in_force(config(tf32=True, cudnn_benchmark=True, attention="math"), home):
        assert torch.backends.cudnn.benchmark and torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert not torch.backends.cuda.flash_sdp_enabled()
        assert nn.functional.scaled_dot_product_attention(q, q, q).isfinite().all()
    assert (torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.fp32_precision) == before and torch.backends.cuda.flash_sdp_enabled()


def test_channels_last_is_another_order_of_the_same_numbers():
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(9))).requires_grad_(False)
    x = torch.randn(2, 4, 6, 6)
    before = net(x)
    speed.furnish(config(channels_last=True), {}, net, False)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last) and torch.allclose(net(x), before, atol=1e-6)
    assert not speed.has_convolutions(Net())


def test_quantised_layers_stay_as_peft_has_them():
    net = nn.Module()
    net.blocks = nn.ModuleList([nn.Module()])
    net.blocks[0].to_q = quantise._empty(nn.Linear(16, 16), Placement(torch.float32, "cpu", quantise="int8"))
    net.blocks[0].to_q.weight = quantise._quantised(net.blocks[0].to_q, torch.randn(16, 16), "int8")
    net.blocks[0].to_q.bias = nn.Parameter(torch.zeros(16), requires_grad=False)
    LORA.attach(net, AdapterPart(rank=4), ("to_q",), 0)
    assert fused.fuse(net) == 0


@pytest.mark.slow
def test_a_run_with_batches_made_ahead_is_the_same_run_and_resumes(lab):
    how = dict(steps=6, save__every=3, data__batch_size=2, data__flip=True, optimizer__accumulation=2, keep__on=True)
    plain = lab.run(**how)
    ahead = lab.run(**how, engine__prefetch=True)
    stopped = lab.go(lab.run(stop_at=3, **how, engine__prefetch=True))
    assert plain.view().losses == ahead.view().losses
    assert plain.result().read_bytes()[-4096:] == ahead.result().read_bytes()[-4096:] == stopped.result().read_bytes()[-4096:]


@pytest.mark.slow
def test_compiled_blocks_answer_as_plain_ones(tmp_path, monkeypatch):
    if not shutil.which("g++"):
        pytest.skip("there is no C++ compiler here")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, quick = pair()
    inside = nn.Module()
    inside.blocks = nn.ModuleList([quick.to_q])  # one layer with its LoRA: what a compiler takes grows with what it is given
    assert speed.compile_blocks(inside) == 1
    try:
        said = []
        for layer in (plain.to_q, quick.to_q):
            y = layer(torch.linspace(-1, 1, 24).view(2, 12))
            y.pow(2).mean().backward()
            said.append([y, *(p.grad for p in LORA.parameters(layer))])
        assert_alike(*said, 1e-4)
        assert any(tmp_path.iterdir())
    finally:
        torch.compiler.reset()
