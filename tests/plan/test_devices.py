"""What a device cannot do is chosen by no preset and by no Make it fit, and is refused before Start where a person chose it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests import tiny
from tests.plan.test_fit import job
from tests.plan.test_presets import CARD, GB, LAPTOP
from training import jobfile
from training.config import TrainConfig
from training.plan import devices
from training.plan.devices import Device, of, problems
from training.plan.fit import make_it_fit
from training.plan.presets import QUALITIES, Answers, Wrong, list_presets, resolve, resolve_and_tell

MAC = replace(LAPTOP, mps_ok=True, ram_bytes=64 * GB, ram_free_bytes=60 * GB)
TURING = replace(CARD, gpu_name="NVIDIA GeForce RTX 2080", compute=(7, 5))
ARC = replace(CARD, gpu_name="Intel Arc B580", compute=(0, 0), vendor="intel", gpu="")
RDNA2 = replace(CARD, gpu_name="AMD Radeon (gfx1030)", compute=(0, 0), vendor="amd", arch="gfx1030")
RDNA3 = replace(RDNA2, arch="gfx1100")


@pytest.fixture
def macos(monkeypatch):
    """The system's own answer, at the edge of the standard library."""
    return lambda version: monkeypatch.setattr("platform.mac_ver", lambda: (version, ("", "", ""), "arm64"))


def preset_ids(home):
    return [p.id for p in list_presets(plugins=home.plugins) if p.ok]


MACHINES = {"mac": MAC, "laptop": LAPTOP, "turing": TURING, "arc": ARC, "rdna2": RDNA2, "rdna3": RDNA3}


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_no_preset_chooses_what_the_device_cannot_do(home, macos, name):
    machine, shift = MACHINES[name], list(MACHINES).index(name)
    macos("15.1" if machine is MAC else "")
    for n, id in enumerate(preset_ids(home)):
        quality = QUALITIES[(n + shift) % 3]  # each preset in each quality on two machines: all of all take half a minute
        config = resolve(id, Answers(dataset="d", quality=quality), machine, 20, home)
        assert config.device == machine.device
        assert not problems(config, of(config.device, machine)), id


def test_a_preset_says_what_it_changed_for_an_apple_gpu(home, macos):
    macos("15.1")
    big = next(p for p in list_presets(plugins=home.plugins) if p.ok and p.config.get("optimizer", {}).get("type") == "adamw8bit")
    config, said = resolve_and_tell(big.id, Answers(dataset="d"), MAC, 20, home)
    assert config.optimizer.type == "adamw" and config.model.dtype == "bf16"
    assert any("adamw instead of adamw8bit" in text for text in said)


@pytest.mark.parametrize(
    ("path", "value", "nearest"),
    [("optimizer.type", "adamw8bit", "adamw"), ("optimizer.type", "paged_adamw8bit", "adamw"), ("model.quantise", "nf4", "int8"), ("model.quantise_text", "fp8", "int8"), ("model.offload", 0.5, "0.0")],
)  # fmt: skip
def test_what_a_person_chose_is_refused_with_the_nearest_that_works(home, macos, path, value, nearest):
    macos("15.1")
    with pytest.raises(Wrong) as refused:
        resolve(preset_ids(home)[0], Answers(dataset="d", overrides={path: value}), MAC, 20, home)
    assert [where for where, _ in refused.value.problems] == [path]
    assert nearest in str(refused.value) and "Apple GPU" in str(refused.value)


def test_make_it_fit_tries_nothing_that_an_apple_gpu_cannot_do(home):
    on = Device("mps", macos=15)
    for ram_gb in (48, 24, 16, 8):
        found = make_it_fit(job(device="mps", optimizer__type="adamw"), float("inf"), ram_gb * GB, home, on)
        assert not problems(found.config, on)
    assert "int8" in str(found.changes)


def test_the_best_number_format_of_each_device():
    assert Device("cuda", (8, 0)).best_dtype == "bf16" and Device("cuda", (7, 5)).best_dtype == "fp16" and Device("cuda", (6, 1)).best_dtype == "fp16"
    assert Device("mps", macos=14).best_dtype == "bf16" and Device("mps", macos=13).best_dtype == "fp32"
    assert Device("rocm", arch="gfx1100").best_dtype == "bf16" and Device("rocm", arch="gfx1030").best_dtype == "fp16" and Device("rocm", arch="gfx90a").best_dtype == "bf16"
    assert Device("xpu").best_dtype == "bf16" and Device("cpu").best_dtype == "fp32"


def test_bf16_is_refused_on_a_card_that_only_emulates_it(home):
    with pytest.raises(Wrong, match="only emulates it"):
        resolve(preset_ids(home)[0], Answers(dataset="d", overrides={"model.dtype": "bf16"}), TURING, 20, home)


def test_the_table_says_what_the_installed_bitsandbytes_registers():
    """The library's own list of kernels, so that a new version which brings one is noticed."""
    pytest.importorskip("bitsandbytes")
    import importlib
    from pathlib import Path

    folder = Path(importlib.import_module("bitsandbytes").__file__).parent / "backends"
    has = {kind: "optimizer_update_8bit_blockwise" in (folder / kind / "ops.py").read_text() for kind in ("cuda", "cpu", "xpu", "mps", "default")}
    assert has == {"cuda": True, "cpu": True, "xpu": True, "mps": False, "default": False}


# what torch says of the device, at the edge of the library
SAID_BY_TORCH = {
    "turing": {
        "cuda.is_available": lambda: True, "cuda.current_device": lambda: 0, "cuda.get_device_capability": lambda at=0: (7, 5),
        "cuda.get_device_properties": lambda at=0: SimpleNamespace(major=7, minor=5),
    },
    "rdna2": {"version.hip": "7.1", "cuda.is_available": lambda: True, "cuda.get_device_properties": lambda at=0: SimpleNamespace(gcnArchName="gfx1030:sramecc+")},
    "mps": {"backends.mps.is_available": lambda: True},
    "none": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changes", "wanted"),
    [
        ("turing", {"device": "cuda", "model__dtype": "bf16"}, "emulates"),
        ("turing", {"device": "cuda", "model__dtype": "fp16"}, "ok"),
        ("rdna2", {"device": "cuda", "model__dtype": "bf16"}, "emulates"),
        ("mps", {"device": "mps", "model__dtype": "bf16", "optimizer__type": "adamw8bit"}, "choose 'adamw'"),
        ("mps", {"device": "mps", "model__dtype": "bf16"}, "ok"),
        ("none", {"device": "xpu"}, "no usable Intel card"),
    ],
)
def test_the_worker_refuses_it_too(kind, changes, wanted, monkeypatch):
    from training.engine.memory import check_device

    for name, answer in SAID_BY_TORCH[kind].items():
        monkeypatch.setattr(f"torch.{name}", answer)
    config = jobfile.parse(TrainConfig, tiny.train_job("base", "pictures", **changes))
    if wanted == "ok":
        check_device(config)
    else:
        with pytest.raises(ValueError, match=wanted):
            check_device(config)


def test_every_setting_of_the_table_exists():
    config = job()
    assert all(devices._at(config, path) is not None for path in devices.PATHS)
    assert {path for lacks in devices.LACKS.values() for path in lacks} <= set(devices.PATHS)
