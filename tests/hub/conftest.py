"""A local Hub, a token that is nobody's, and a run as the engine leaves it behind."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from tests.hub_standin import Standin
from training.config import AdapterPart, DataPart, DatasetUse, ModelPart, SamplePart, TrainConfig
from training.formats.deliver import LORA_HEADER, deliver
from training.formats.modelspec import modelspec_metadata
from training.hub.publish import Patience
from training.runs import journal
from training.runs.run import Run, create

SOON = Patience(tries=5, shortest_s=0.01, longest_s=0.05, asked_s=2.0)


def some_token(letter: str = "c") -> str:
    """A token's form, made here so that none stands in a file of the repository."""
    return "hf" + "_" + (letter + "Anary") * 5


@pytest.fixture
def token() -> str:
    return some_token()


@pytest.fixture
def hub(token, monkeypatch):
    """A Hub on which `token` belongs to alice, who also writes to the organisation acme.  huggingface_hub may go online to it."""
    import huggingface_hub
    from huggingface_hub.utils._http import default_client_factory

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with Standin() as standin:
        standin.user(token, "alice", orgs={"acme": "write", "readers": "read"})
        yield standin
    huggingface_hub.set_client_factory(default_client_factory)


def train_config(**changes) -> TrainConfig:
    values = {
        "name": "my cat",
        "trigger": "zibbo",
        "steps": 20,
        "model": ModelPart(family="sd15", source="stable-diffusion-v1-5/stable-diffusion-v1-5"),
        "data": DataPart(datasets=(DatasetUse(name="cats"),)),
        "adapter": AdapterPart(rank=4, alpha=8),
        "sample": SamplePart(prompts=("[trigger] on a sofa", "a *bold* dog"), every=10),
    }
    return TrainConfig(**(values | changes))


def finished_run(outputs, config: TrainConfig, big_bytes: int = 0) -> Run:
    """A run with checkpoints at 10 and 20, samples of two prompts at both, and a result."""
    from training.registry import get

    run = create(outputs, config)

    def say(kind, **data):
        journal.append(run.events_path, {"t": time.time(), "kind": kind, **data})

    say("started", pid=1, attempt=1, boot_id="b", oom_kills=0, versions={}, device="cpu")
    (run.path / "samples").mkdir()
    for step in (10, 20):
        folder = run.path / "checkpoints" / f"{step:06d}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(step)
        tensors = {f"unet.down.{i}.to_q.lora_{ab}.weight": rng.normal(size=(4, 4)).astype(np.float32) for i in range(3) for ab in "AB"}
        if big_bytes:
            tensors["unet.big.lora_A.weight"] = rng.normal(size=big_bytes // 4).astype(np.float32)
        header = {LORA_HEADER: json.dumps({"unet.r": 4, "unet.lora_alpha": 8.0, "unet.target_modules": ["to_q"]})}
        (folder / "adapter.safetensors").write_bytes(save(tensors, header))
        (folder / "MANIFEST.json").write_text(json.dumps({"step": step}))
        say("checkpoint", step=step, path=f"checkpoints/{step:06d}")
        for index, prompt in enumerate(config.sample.prompts, 1):
            path = f"samples/{step:06d}_{index}.webp"
            Image.new("RGB", (64, 64), (step, index, 99)).save(run.path / path)
            say("sample", step=step, index=index, prompt=prompt, path=path, seed=42)
    spec = get("families", config.model.family).SPEC
    meta = modelspec_metadata(config, spec, prediction_type="v_prediction", pictures=7, date="2026-01-31")
    deliver(run.path / "checkpoints" / "000020", run.path / f"{config.name}.safetensors", meta, half=False, spec=spec, layout="kohya")
    say("finished", path=f"{config.name}.safetensors", summary="20 steps")
    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Run:
    """The run that `run` is a copy of."""
    return finished_run(tmp_path_factory.mktemp("made") / "outputs", train_config())


@pytest.fixture
def run(made, home) -> Run:
    return Run(shutil.copytree(made.path, home.outputs / made.id))
