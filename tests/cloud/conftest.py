"""Hugging Face Jobs on this computer, and a bundle small enough to send in every test."""

from __future__ import annotations

import hashlib

import pytest

from tests.hub.conftest import some_token
from tests.hub_standin import File, Repo
from tests.jobs_standin import JobsStandin
from training.away import checkout
from training.away.bundle import Bundle
from training.cloud import hf_jobs


@pytest.fixture
def token(monkeypatch) -> str:
    made = some_token("j")
    monkeypatch.setenv("HF_TOKEN", made)
    return made


@pytest.fixture
def hub(token, tmp_path, monkeypatch):
    """Jobs and buckets, where `token` belongs to alice; huggingface_hub may go online to it, and nowhere else."""
    import huggingface_hub
    from huggingface_hub.utils._http import default_client_factory

    with JobsStandin(tmp_path / "standin") as standin:
        standin.user(token, "alice", orgs={"acme": "write"})
        standin.repos["owner/base"] = Repo("owner/base", private=False)
        standin.repos["owner/base"].commit("the base", {"model_index.json": File(b"{}", False)})
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        monkeypatch.setenv("EASEL_SHELF_S", "0.3")
        monkeypatch.setattr(hf_jobs, "EVERY_S", 0.3)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", standin.url)
        yield standin
    huggingface_hub.set_client_factory(default_client_factory)


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    """A job and two pictures, as far as a place looks into them."""
    folder = tmp_path / "bundle"
    contents = {"job.yaml": b"model: {source: owner/base, revision: ''}\n", "datasets/cats/a.png": b"a picture", "datasets/cats/b.png": b"another picture"}
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    files = {name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in contents.items()}
    return Bundle(folder, files, sum(size for _, size in files.values()))


@pytest.fixture
def small_checkout(tmp_path, monkeypatch):
    """In place of Easel's own code, a checkout whose run-bundle does what the test writes into it.  It is called with the bundle's folder."""
    root = tmp_path / "checkout"
    (root / "launchers").mkdir(parents=True)
    (root / "training").mkdir()
    (root / "launchers" / "install.py").write_text("")

    def write(code: str) -> None:
        head = "import json, sys, time\nfrom pathlib import Path\nrun = Path(sys.argv[2]) / 'outputs' / 'run'\nrun.mkdir(parents=True, exist_ok=True)\n"
        say = "def say(**event):\n    with (run / 'events.jsonl').open('a') as file:\n        file.write(json.dumps(event) + '\\n')\n"
        (root / "training" / "__main__.py").write_text(head + say + code)

    write("say(kind='started')\n(run / 'cat.safetensors').write_bytes(b'weights')\nsay(kind='finished')\n")
    monkeypatch.setattr(checkout, "REPO", root)
    return write
