"""What a worker imports before it trains: the libraries that quantise only where something is, or may be, quantised."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.families.sd15 import build
from training import jobfile, registry
from training.config import TrainConfig
from training.engine import libraries

SCRIPT = """
import gc, json, sys
from training import jobfile, registry
from training.config import TrainConfig
from training.engine import libraries
config = jobfile.parse(TrainConfig, json.loads(sys.argv[1]))
libraries.load(config, registry.get("families", "sd15").SPEC, registry.get("optimizers", config.optimizer.type))
at_start = [name for name in libraries.QUANTISING if name in sys.modules]
from diffusers.utils import is_bitsandbytes_available
from peft.import_utils import is_bnb_available
import bitsandbytes
print(json.dumps([at_start, is_bitsandbytes_available(), is_bnb_available(), gc.isenabled(), bitsandbytes.__name__]))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return build(tmp_path_factory.mktemp("base") / "sd15")


def loaded(base, **job):
    """What a fresh process has, once the libraries of such a run are there."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(given(base, **job))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def given(base, **job) -> dict:
    """The mapping of a job on this base."""
    whole = {"kind": "train", "name": "x", "data": {"datasets": [{"name": "x"}]}, **job}
    return whole | {"model": {"family": "sd15", "source": str(base), **whole.get("model", {})}}


@pytest.mark.slow
def test_a_plain_run_does_without_them_and_whoever_asks_still_gets_them(base):
    assert loaded(base) == [[], False, False, True, "bitsandbytes"]


@pytest.mark.slow
def test_they_are_there_where_they_are_needed(base):
    assert loaded(base, model={"quantise": "nf4"})[1:] == [True, True, True, "bitsandbytes"]


@pytest.mark.parametrize(
    ("job", "needed"),
    [
        ({}, False),
        ({"model": {"quantise": "nf4"}}, True),
        ({"model": {"quantise_text": "int8"}}, True),
        ({"optimizer": {"type": "adamw8bit"}}, True),
        ({"model": {"source": "owner/not-here"}}, True),
    ],
    ids=str,
)
def test_what_may_need_them(base, job, needed):
    assert may_quantise(base, **job) is needed


def test_a_base_that_is_quantised_itself_needs_them(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base")
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": {"quant_method": "bitsandbytes"}}))
    assert may_quantise(folder)


def may_quantise(base, **job) -> bool:
    config = jobfile.parse(TrainConfig, given(base, **job))
    return libraries._may_quantise(config, registry.get("families", "sd15").SPEC, registry.get("optimizers", config.optimizer.type))
