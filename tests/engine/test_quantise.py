"""A base model in 8 or 4 bits: close to the plain one, small while it loads, trained on, resumed exactly, and proven at the end."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tests import tiny
from tests.engine.conftest import state_files
from training import registry
from training.engine import quantise
from training.family import Cond, Placement

HOW = ("int8", "fp8", "nf4")
TOLD = {"int8": 0.02, "fp8": 0.08, "nf4": 0.25}  # of the largest answer; a toy's few weights do not average out
TOLD_TEXT = {"int8": 0.05, "fp8": 0.2, "nf4": 1.0}  # of what they say on average
# nf4 of a toy is rough: bitsandbytes' CPU kernel takes a wrong scale where a row is shorter than its block of 64 weights.  Rows of
# real models are longer; the next test is of those.
BITS = {"int8": 8, "fp8": 8, "nf4": 4}


@pytest.fixture(scope="module", params=["sd15", "flux1"])
def toy(request, tmp_path_factory):
    made = importlib.import_module(f"tests.families.{request.param}")
    return request.param, made, made.build(tmp_path_factory.mktemp("toy") / request.param)


def loaded(id, folder, part, how="none", dtype=torch.float32):
    return registry.get("families", id).load(folder, {part}, Placement(dtype, "cpu", how))


def answer(id, toy, folder, m):
    """What the denoiser says of fixed noise, [1,C,h,w], with fixed text."""
    family = registry.get("families", id)
    rows = {}
    for encoder in family.SPEC.parts["text"]:
        rows |= family.encode_text(loaded(id, folder, encoder), ["a cat"])[0]
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    cond = Cond.of([rows]).to("cpu", m.dtype)
    return family.predict(m, noisy.to(m.dtype), torch.tensor([0.5 if family.SPEC.prediction == "flow" else 500]), cond)


@pytest.mark.parametrize(("how", "error"), [("int8", 0.01), ("fp8", 0.03), ("nf4", 0.1)])
def test_a_weight_is_kept_about_as_it_was(how, error):
    layer = nn.Linear(256, 192)
    weight = layer.weight.detach().clone()
    small = quantise._empty(layer, Placement(torch.float32, "cpu", how))
    quantise._put(small, "weight", weight, True, torch.float32, Placement(torch.float32, "cpu", how))
    assert (dequantised(small) - weight).norm() < error * weight.norm()
    assert size_bits(small.weight) < 1.1 * BITS[how] * weight.numel()


@pytest.mark.parametrize("how", HOW)
def test_it_says_about_what_the_plain_model_says(toy, how):
    id, made, folder = toy
    part = registry.get("families", id).SPEC.denoiser
    plain, small = (loaded(id, folder, part, h) for h in ("none", how))
    with torch.no_grad():
        expected, got = (answer(id, made, folder, m) for m in (plain, small))
    assert not torch.equal(expected, got)
    assert (expected - got).abs().max() < TOLD[how] * expected.abs().max()


@pytest.mark.parametrize("how", HOW)
def test_only_the_layers_of_blocks_are_quantised(toy, how):
    id, _, folder = toy
    part = registry.get("families", id).SPEC.denoiser
    plain, small = (loaded(id, folder, part, h).denoiser for h in ("none", how))
    chosen = {name for name, _ in quantise.block_linears(plain)}
    assert chosen and all(".".join(name.split(".")[:1]).endswith(("blocks", "mid_block")) for name in chosen)
    for name, layer in plain.named_modules():
        twin = small.get_submodule(name)
        if name in chosen:
            assert size_bits(twin.weight) < 1.6 * BITS[how] * layer.weight.numel()  # scales of a toy's short rows weigh much
            assert twin.weight.requires_grad is False
        elif getattr(layer, "weight", None) is not None:
            assert torch.equal(layer.weight, twin.weight), name
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, small.get_buffer(name))


def size_bits(weight) -> int:
    parts = [weight.data] if not hasattr(weight, "__tensor_flatten__") else [getattr(weight, n) for n in weight.__tensor_flatten__()[0]]
    return sum(8 * p.numel() * p.element_size() for p in parts)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_backward_pass_keeps_no_dequantised_weight_and_gives_its_gradient(toy, how, dtype):
    id, _, folder = toy
    m = loaded(id, folder, registry.get("families", id).SPEC.denoiser, how, dtype)
    name, _ = quantise.block_linears(m.denoiser)[0]
    layer = m.denoiser.get_submodule(name)
    dense = dequantised(layer)
    shapes = []
    x = torch.randn(3, layer.in_features, dtype=dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: shapes.append(t.shape) or t, lambda t: t):
        y = layer(x)
    assert y.dtype == dtype
    y.float().pow(2).sum().backward()
    assert not [s for s in shapes if s.numel() >= layer.in_features * layer.out_features]
    again = x.detach().clone().requires_grad_()
    nn.functional.linear(again, dense.to(dtype), layer.bias).float().pow(2).sum().backward()
    torch.testing.assert_close(x.grad, again.grad, rtol=0.05, atol=1e-3 if dtype == torch.float32 else 0.1)


def dequantised(layer):
    if hasattr(layer.weight, "quant_state"):
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return layer.weight.dequantize()


@pytest.mark.parametrize("how", HOW)
def test_text_encoders(toy, how):
    id, _, folder = toy
    family = registry.get("families", id)
    for encoder in family.SPEC.parts["text"]:
        plain, small = (family.encode_text(loaded(id, folder, encoder, h), ["a red cat"])[0] for h in ("none", how))
        for name, tensor in plain.items():
            assert tensor.dtype == small[name].dtype and not torch.equal(tensor, small[name])
            assert (tensor - small[name]).abs().mean() < TOLD_TEXT[how] * tensor.abs().mean()


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_training_on_it_is_resumed_exactly_and_the_lora_is_proven(toy, how, lab, dataset):
    id, made, folder = toy
    changes = dict(
        model__family=id, model__source=str(folder), model__quantise=how, model__quantise_text=how, data__resolutions=[made.SIDE],
        sample__every=0, steps=8, save__every=4, adapter__targets="attention+ff", loss__gradient_checkpointing="half",
    )  # fmt: skip
    whole = lab.run(**changes)
    assert whole.status() == "finished", whole.why()  # finish.prove loaded the file into the quantised base
    parted = lab.go(lab.run(stop_at=5, **changes))
    assert parted.status() == "finished", parted.why()
    assert state_files(parted, 8) == state_files(whole, 8)


def test_a_file_that_does_not_fit_is_said(toy, tmp_path):
    from safetensors.torch import load_file, save_file

    id, _, folder = toy
    part = registry.get("families", id).SPEC.denoiser
    (tmp_path / part).mkdir()
    (tmp_path / part / "config.json").write_bytes((folder / part / "config.json").read_bytes())
    tensors = load_file(folder / part / "diffusion_pytorch_model.safetensors")
    name = min(tensors)
    cls = type(loaded(id, folder, part).denoiser)
    for changed, says in (({"odd": torch.zeros(1)}, "'odd'"), ({name: None}, f"no weights for '{name}'")):
        save_file({k: v for k, v in {**tensors, **changed}.items() if v is not None}, tmp_path / part / "diffusion_pytorch_model.safetensors")
        with pytest.raises(ValueError, match=says):
            quantise.load_network(cls, tmp_path / part, Placement(torch.float32, "cpu", "int8"))


PEAK = """
import json, sys, threading, time
from pathlib import Path
import torch
from diffusers import FluxTransformer2DModel
import torchao, bitsandbytes
from training.engine.quantise import load_network
from training.family import Placement
rss = lambda: next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) * 1024
tiny, folder, how = sys.argv[1:]
load_network(FluxTransformer2DModel, Path(tiny), Placement(torch.bfloat16, "cpu", how))  # what the libraries take once
before, peak, done = rss(), [0], []
def watch():
    while not done:
        peak[0] = max(peak[0], rss()); time.sleep(0.0005)
thread = threading.Thread(target=watch); thread.start()
module = load_network(FluxTransformer2DModel, Path(folder), Placement(torch.bfloat16, "cpu", how))
done.append(1); thread.join()
print(json.dumps({"peak": peak[0] - before, "end": rss() - before, "weights": sum(p.numel() for p in module.parameters())}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the anonymous memory of a process is read from /proc")
@pytest.mark.parametrize("how", HOW)
def test_memory_while_loading_holds_the_result_and_little_more(how, tmp_path):
    from diffusers import FluxTransformer2DModel

    def save(name, layers, width):
        shape = dict(patch_size=1, in_channels=16, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8], attention_head_dim=16)
        made = FluxTransformer2DModel(num_layers=layers, num_single_layers=layers, num_attention_heads=width // 16, **shape).to(torch.bfloat16)
        made.save_pretrained(tmp_path / name, max_shard_size="60MB")
        return sum(p.numel() for p in made.parameters()), max(p.numel() for p in made.parameters())

    save("tiny", 1, 32)
    count, largest = save("big", 4, 768)
    assert 180e6 < 2 * count < 300e6
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}  # glibc gives freed copies back at once, so that only what is held is counted
    words = [sys.executable, "-c", PEAK, *(str(tmp_path / n) for n in ("tiny", "big")), how]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=env)
    found = json.loads(said.stdout.splitlines()[-1])
    result = count * BITS[how] / 8
    assert found["peak"] < 1.05 * result + 6 * 4 * largest, (found, largest)  # quantising a layer takes some copies of it in fp32
    assert found["peak"] < 0.7 * 2 * count, (found, count)  # of what the plain weights take


def test_an_apple_gpu_is_told_what_it_does_not_compute(monkeypatch):
    from training import jobfile
    from training.config import TrainConfig
    from training.engine import memory

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    config = jobfile.parse(TrainConfig, tiny.train_job("x", "y", device="mps", model__quantise="nf4"))
    with pytest.raises(ValueError, match="model.quantise is 'nf4', which an Apple GPU"):
        memory.check_device(config)
