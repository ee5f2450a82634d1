"""Every optimizer by itself: what it says of itself is so, each of its settings acts, and its state goes to disk and back to the bit."""

from __future__ import annotations

import json

import pytest
import torch

from tests import tiny
from training import registry
from training.config import OptimizerPart, TrainConfig
from training.engine import optim
from training.plan import optimizing, schedule

ALL = sorted(registry.find("optimizers"))
SHAPES = ((16, 320), (320, 16))  # of a LoRA
MIXED = (*SHAPES, (16, 320, 3, 3), (320,))  # with a convolution, and the lengths of a DoRA
# another value for each option, and what has to be set besides so that it can matter
CHANGED = {
    "adafactor": {"clip_threshold": (0.1, {}), "decay_rate": (-0.2, {}), "scale_parameter": (True, {})},
    "adamw_schedulefree": {"r": (2.0, {}), "weight_lr_power": (0.0, {"warmup_steps": 3})},
    "came": {"beta1": (0.5, {}), "beta2": (0.9, {}), "beta3": (0.9, {}), "clip_threshold": (0.1, {})},
    "lion": {"beta1": (0.5, {}), "beta2": (0.5, {})},
    "lion8bit": {"beta1": (0.5, {}), "beta2": (0.5, {})},
    "muon": {"momentum": (0.5, {}), "nesterov": (False, {}), "ns_steps": (3, {})},
    "prodigy": {"d_coef": (3.0, {}), "d0": (1e-3, {}), "safeguard_warmup": (True, {"warmup_steps": 3}), "bias_correction": (False, {})},
    "prodigy_schedulefree": {
        "beta1": (0.5, {}), "beta2": (0.9, {}), "d_coef": (3.0, {}), "d0": (1e-3, {}), "d_limiter": (False, {}), "prodigy_steps": (2, {}),
        "split_groups": (False, {}), "schedulefree_c": (8.0, {}), "factored": (False, {}), "stable": (False, {}),
    },
}  # fmt: skip


def part(id: str, **more) -> OptimizerPart:
    return OptimizerPart(**{"type": id, "learning_rate": 1.0 if hasattr(registry.get("optimizers", id), "RATE") else 1e-3, **more})


def weights(shapes, seed: int = 0) -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=draw) * 0.02) for shape in shapes]


class Learning:
    """Weights that move towards fixed ones, under a schedule; the second half of them at half the rate."""

    def __init__(self, config: OptimizerPart, shapes=MIXED, steps: int = 12):
        self.weights, self.goal = weights(shapes), weights(shapes, seed=1)
        half = len(shapes) // 2
        rate = config.learning_rate
        self.optimizer = optim.make_optimizer(config, [(self.weights[:half], rate), (self.weights[half:], rate / 2)])
        self.scheduler = optim.make_scheduler(config, self.optimizer, steps)
        self.noise = torch.Generator().manual_seed(5)

    def loss(self) -> torch.Tensor:
        return sum(5 * (w - g).square().sum() for w, g in zip(self.weights, self.goal, strict=True))

    def go(self, steps: int) -> list[torch.Tensor]:
        for _ in range(steps):
            self.loss().backward()
            for weight in self.weights:
                weight.grad += 0.05 * torch.randn(weight.shape, generator=self.noise)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad(set_to_none=True)
        return [w.detach().clone() for w in self.weights]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_option_of_every_optimizer_is_tried_here():
    assert {id: set(registry.get("optimizers", id).Options.model_fields) for id in ALL} == {id: set(CHANGED.get(id, ())) for id in ALL}


@pytest.mark.parametrize("id", ALL)
def test_each_says_when_to_take_it_and_offers_what_is_asked_of_it(id):
    optimizer = registry.get("optimizers", id)
    assert optimizer.TITLE and optimizer.BLURB.endswith(".") and set(optimizer.USES) <= set(optimizing.OWN)
    assert all(field.description for field in optimizer.Options.model_fields.values())


@pytest.mark.parametrize("id", ALL)
def test_each_comes_nearer_to_what_is_learnt(id):
    learning = Learning(part(id, schedule="constant"), steps=80)
    before = learning.loss().item()
    learning.go(80)
    with optim.averaged(learning.optimizer):
        assert learning.loss().item() < 0.7 * before


@pytest.mark.parametrize("id", ALL)
def test_state_goes_to_plain_tensors_and_back_to_the_bit(id):
    config = part(id, warmup_steps=2)
    whole, first, second = Learning(config), Learning(config), Learning(config)
    first.go(5)
    tensors, rest = optim.pack(first.optimizer)
    with torch.no_grad():
        for to, weight in zip(second.weights, first.weights, strict=True):
            to.copy_(weight)
    optim.unpack(second.optimizer, tensors, json.loads(_json(rest)))
    second.scheduler.load_state_dict({**second.scheduler.state_dict(), **{k: v for k, v in first.scheduler.state_dict().items() if k != "lr_lambdas"}})
    second.noise.set_state(first.noise.get_state())
    assert same(second.go(7), whole.go(12))
    assert _json(optim.pack(second.optimizer)[1]) == _json(optim.pack(whole.optimizer)[1])


def _json(value) -> str:
    return json.dumps(value, allow_nan=False, sort_keys=True)


@pytest.mark.parametrize("id", ALL)
def test_the_memory_it_says_is_the_memory_it_takes(id):
    config = part(id)
    learning = Learning(config, shapes=((16, 1280), (1280, 16)))
    learning.go(2)
    kept = sum(t.numel() * t.element_size() for t in optim.pack(learning.optimizer)[0].values())
    assert kept / sum(w.numel() for w in learning.weights) == pytest.approx(optimizing.state_bytes(config), rel=0.1, abs=0.1)


@pytest.mark.parametrize(("id", "name"), [(id, name) for id, options in CHANGED.items() for name in options])
def test_each_option_acts(id, name):
    value, besides = CHANGED[id][name]
    usual, changed = (Learning(part(id, options=options, **besides)).go(6) for options in ({}, {name: value}))
    assert not same(usual, changed)


@pytest.mark.parametrize("id", ALL)
@pytest.mark.parametrize(("name", "value"), [("weight_decay", 0.5), ("betas", (0.5, 0.9)), ("eps", 1e-3), ("schedule", "linear")])
def test_a_setting_acts_where_it_says_so_and_nowhere_else(id, name, value):
    optimizer = registry.get("optimizers", id)
    changed = same(Learning(part(id)).go(6), Learning(part(id, **{name: value})).go(6))
    assert changed == (name not in optimizer.USES)
    job = TrainConfig.model_validate(tiny.train_job("base", "pictures") | {"optimizer": part(id, **{name: value}).model_dump()})
    assert any(f"optimizer.{name} has no effect" in text for text in optimizing.idle(job, optimizer)) == (name not in optimizer.USES)


@pytest.mark.parametrize("id", ALL)
def test_a_part_has_its_own_rate_unless_the_optimizer_finds_it(id):
    one_rate = optimizing.one_rate(registry.get("optimizers", id))
    config = part(id)
    made = optim.make_optimizer(config, [(weights(SHAPES), config.learning_rate), (weights(SHAPES), config.learning_rate / 4)])
    rates = sorted({group["lr"] for group in made.param_groups})
    assert rates == ([config.learning_rate] if one_rate else [config.learning_rate / 4, config.learning_rate])


def test_rates_are_set_apart_by_name():
    from training.config import RateRule

    a, b, c = weights(((2, 2),) * 3)
    rules = (RateRule(pattern="up_blocks.*lora_B", times=2), RateRule(pattern="lora_B", times=16))
    named = [("unet.up_blocks.0.lora_B", b), ("unet.mid.lora_A", a), ("unet.mid.lora_B", c)]
    assert optim.grouped(named, 1e-3, rules) == [([a], 1e-3), ([b], 2e-3), ([c], 16e-3)]
    with pytest.raises(ValueError, match="optimizer.rates has 'lora_C'.*for example unet.up_blocks"):
        optim.refuse_empty_rules([n for n, _ in named], (RateRule(pattern="lora_C", times=2),))


@pytest.mark.parametrize("id", ALL)
def test_the_average_is_there_for_use_and_gone_after_it_to_the_bit(id):
    learning = Learning(part(id))
    trained = learning.go(5)
    before = _json(optim.pack(learning.optimizer)[1])
    with optim.averaged(learning.optimizer):
        used = [w.detach().clone() for w in learning.weights]
    assert same(used, trained) == (not optimizing.averages(registry.get("optimizers", id)))
    assert same([w.detach() for w in learning.weights], trained) and _json(optim.pack(learning.optimizer)[1]) == before


def test_muon_moves_a_matrix_by_an_orthogonal_one_of_adamws_size_and_the_rest_by_adamw():
    config = part("muon", weight_decay=0.0)
    muon, adamw = Learning(config, steps=10**6), Learning(part("adamw", weight_decay=0.0), steps=10**6)
    start = weights(MIXED)
    moved = [m - s for m, s in zip(muon.go(1), start, strict=True)]
    # singular values between 0.7 and 1.2 (Jordan 2024), of which the step makes 0.2 times the root of the longer side
    sizes = torch.linalg.svdvals(moved[0].detach()) / (1e-3 * 0.2 * 320**0.5)
    assert 0.6 < sizes.min() and sizes.max() < 1.3
    assert same([(s + m).detach() for s, m in zip(start[2:], moved[2:], strict=True)], adamw.go(1)[2:])


@pytest.mark.parametrize(
    ("name", "theirs", "more"),
    [
        ("constant", "constant_with_warmup", {}),
        ("linear", "linear", {}),
        ("cosine", "cosine", {}),
        ("cosine_restarts", "cosine_with_restarts", {"num_cycles": 4}),
        ("polynomial", "polynomial", {"power": 3.0}),
    ],
)
@pytest.mark.parametrize("warmup", [0, 5])
def test_schedules_are_those_of_diffusers_to_the_bit(name, theirs, more, warmup):
    from diffusers.optimization import get_scheduler

    if (theirs, warmup) == ("constant_with_warmup", 0):
        theirs = "constant"
    config = OptimizerPart(schedule=name, warmup_steps=warmup, schedule_cycles=4, schedule_power=3.0)
    reference = get_scheduler(theirs, torch.optim.SGD(weights(SHAPES), lr=1.0), num_warmup_steps=warmup, num_training_steps=50, **more)
    for step in range(50):
        ours = schedule.share(config, step, 50)
        assert ours == reference.get_last_lr()[0] if name != "polynomial" else ours == pytest.approx(reference.get_last_lr()[0], abs=1e-7), step  # theirs ends at 1e-7
        reference.optimizer.step()
        reference.step()


def test_the_schedules_that_diffusers_lacks_have_their_papers_values():
    at = lambda name, step, **more: schedule.share(OptimizerPart(schedule=name, **more), step, 100)
    assert [at("wsd", step) for step in (0, 80, 85, 100)] == pytest.approx([1, 1, 0.5, 0])  # 1 - sqrt(1/4)
    assert [at("rex", step) for step in (0, 50, 75, 100)] == pytest.approx([1, 2 / 3, 0.4, 0])  # (1-z) / (1/2 + (1-z)/2)
    assert [at("wsd", step, schedule_end=0.1, warmup_steps=10) for step in (0, 5, 10, 100)] == pytest.approx([0, 0.5, 1, 0.1])


def test_an_optimizer_whose_package_is_missing_says_so_before_any_work(home):
    folder = home.plugins / "optimizers"
    folder.mkdir(parents=True)
    (folder / "far.py").write_text("from training.optimizers.adamw import BLURB, USES, Options, bytes_per_weight, make\nTITLE = 'Far'\nNEEDS = ('no_such_library',)\n", encoding="utf-8")
    config = TrainConfig.model_validate(tiny.train_job("base", "pictures", optimizer__type="far"))
    [(path, text)] = optimizing.problems(config, home.plugins)
    assert path == "optimizer.type" and "needs the Python package 'no_such_library'" in text
