"""A base model from the Hub: only what is needed, told in bytes, resumed, and used without a network afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import tiny
from tests.hub_standin import File, Repo, Standin
from training.home import REPO

pytestmark = pytest.mark.slow

NAME = "owner/tiny"
SCRIPT = """
from training import registry
from training.hub.download import fetch
from training.formats.basemodel import check_folder
spec = registry.get("families", "sd15").SPEC
told = []
try:
    folder = fetch("owner/tiny", "", spec, False, None, lambda done, of: told.append((done, of)), lambda: False)
    check_folder(folder, spec)
    print("whole", told[-1] if told else "nothing to fetch")
except ValueError as error:
    print("refused:", error)
"""

BEFORE = """
from training import registry
from training.hub.download import hindrance
print(hindrance("owner/tiny", "", registry.get("families", "sd15").SPEC, None) or "nothing")
"""


@pytest.fixture
def hub(tmp_path):
    folder = tiny.sd15(tmp_path / "base")
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    unwanted = {"model.ckpt": b"pickle", "unet/diffusion_pytorch_model.bin": b"pickle", "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
                "safety_checker/model.safetensors": b"w" * 1000, "README.md": b"#"}  # fmt: skip
    with Standin() as hub:
        hub.user("hf_" + "x" * 30, "owner")
        repo = hub.repos[NAME] = Repo(NAME, False)
        repo.commit("initial", {n: File(d, n.endswith((".safetensors", ".ckpt"))) for n, d in (files | unwanted).items()})
        hub.wanted = set(files)
        yield hub


def fetch(hub, cache, script: str = SCRIPT, **environment: str) -> str:
    """What a fresh process says: the Hub's client reads its environment once."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_TOKEN": "hf_" + "x" * 30, **environment}
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_what_is_needed_is_fetched_once_and_then_works_without_a_hub(hub, nasty):
    said = fetch(hub, nasty)
    assert said.startswith("whole (") and said.split("(")[1].split(",")[0] == said.split(", ")[1].split(")")[0]
    asked = {path.split("/resolve/")[1].split("/", 1)[1] for endpoint, path in hub.seen if endpoint == "resolve"}
    assert asked == hub.wanted
    assert fetch(hub, nasty).strip() == "whole nothing to fetch"
    hub.fail("info", 503, times=-1)
    assert fetch(hub, nasty).startswith("whole")


def test_a_download_that_breaks_off_says_so_and_goes_on_next_time(hub, nasty):
    hub.fail("resolve", 403, times=-1)
    assert "broke off" in fetch(hub, nasty)
    hub.heal()
    assert fetch(hub, nasty).startswith("whole")


def test_a_licence_that_was_not_accepted_is_told_before_and_after_the_start(hub, nasty):
    assert fetch(hub, nasty, BEFORE).strip() == "nothing"
    hub.repos[NAME].gated = True
    for script in (BEFORE, SCRIPT):
        assert f"accept its licence: open {hub.url}/owner/tiny" in fetch(hub, nasty, script)
    hub.repos[NAME].gated = False
    fetch(hub, nasty)
    hub.repos[NAME].gated = True  # what is on this computer can be used
    assert fetch(hub, nasty, BEFORE).strip() == "nothing"


def test_what_cannot_be_had_is_told_before_the_start(hub, nasty):
    hub.fail("auth", 503, times=-1)
    assert "not on this computer yet, and the Hub cannot be reached" in fetch(hub, nasty, BEFORE)
    hub.heal()
    del hub.repos[NAME]
    assert "there is no model 'owner/tiny' on the Hub" in fetch(hub, nasty, BEFORE)


def test_a_model_that_is_not_there_says_so(hub, nasty):
    del hub.repos[NAME]
    assert "there is no model 'owner/tiny' on the Hub" in fetch(hub, nasty)


LORA = """
from training.hub.download import lora_file
for source in {sources!r}:
    try:
        file = lora_file(source, None, {pairs})
        print(file.read_bytes().decode(), *(p.name for p in {pairs} * sorted(file.parent.iterdir())))
    except ValueError as error:
        print("refused:", error)
"""


def lora_files(hub, cache, *sources, pairs=False) -> list[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_TOKEN": "hf_" + "x" * 30}
    done = subprocess.run([sys.executable, "-c", LORA.format(sources=sources, pairs=pairs)], cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def test_a_lora_of_several_is_named_behind_the_hub_id(hub, nasty):
    repo = hub.repos["owner/adapters"] = Repo("owner/adapters", False)
    repo.commit("initial", {"a_v1.safetensors": File(b"one", False), "a_v2.safetensors": File(b"two", False)})
    unclear, second, missing, elsewhere = lora_files(hub, nasty, "owner/adapters", "owner/adapters/a_v2.safetensors", "owner/adapters/c.safetensors", "C:/no/a.safetensors")
    assert second == "two"
    assert "a_v1.safetensors, a_v2.safetensors" in unclear and "owner/adapters/a_v1.safetensors" in unclear
    assert "but not c.safetensors" in missing and "there is no file 'C:/no/a.safetensors'" in elsewhere
    hub.__exit__(None, None, None)
    assert lora_files(hub, nasty, "owner/adapters/a_v2.safetensors") == ["two"]


def test_both_files_for_two_denoisers_come_where_the_model_has_two(hub, nasty):
    repo = hub.repos["owner/pair"] = Repo("owner/pair", False)
    repo.commit("initial", {"in/x_HIGH_fp16.safetensors": File(b"high", False), "in/x_LOW_fp16.safetensors": File(b"low", False)})
    named = "owner/pair/in/x_LOW_fp16.safetensors"
    assert lora_files(hub, nasty / "one", "owner/pair", named)[1] == "low" and not list((nasty / "one").rglob("x_HIGH*"))
    assert lora_files(hub, nasty / "two", "owner/pair", named, pairs=True) == [f"{which} x_HIGH_fp16.safetensors x_LOW_fp16.safetensors" for which in ("high", "low")]

def test_without_a_network_it_says_what_is_in_the_way(hub, nasty):
    assert "and offline mode is on (HF_HUB_OFFLINE); turn it off" in fetch(hub, nasty, HF_HUB_OFFLINE="1")
    hub.fail("info", 503, times=-1)
    assert "and the Hub cannot be reached (" in fetch(hub, nasty)
