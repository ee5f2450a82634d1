"""A run that is packed, deleted, brought back on another computer and resumed ends with the same weights, to the bit."""

import shutil

import pytest

from tests import tiny
from training import jobfile, registry
from training.data import datasets
from training.home import find_home
from training.runs import needs, origin, packing, unpacking
from training.runs.run import create, delete

pytestmark = pytest.mark.slow


def test_export_delete_import_and_resume_give_the_same_weights_to_the_bit(lab, base, dataset, tmp_path, nasty):
    whole = lab.run(steps=4, sample__every=0)
    home = lab.home
    source, pictures = shutil.copytree(base, tmp_path / "a base"), shutil.copytree(dataset, tmp_path / "my pictures")
    config = jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(source, pictures, steps=4, sample__every=0))
    run = lab.go(create(home.outputs, config), stop_at=2)
    assert run.status() == "stopped"
    packing.write(packing.parcel(run, home, base=True, pictures=True), nasty / "gift.zip")
    delete(run)
    for gone in (source, pictures):
        shutil.rmtree(gone)

    there = find_home(nasty / "elsewhere").made()
    brought = unpacking.bring(nasty / "gift.zip", there)
    assert brought.lacking == () and brought.refused == (), brought
    assert brought.run.status() == "stopped" and brought.run.view().step == 2 and not origin.made_here(brought.run.path)
    assert [ds.name for ds in datasets.list_datasets(there)] == ["my pictures"] and needs.missing(brought.run, there) == []
    lab.home = there
    resumed = _resume(brought.run, there)
    assert resumed.status() == "finished" and not resumed.view().warnings
    assert _weights(resumed) == _weights(whole)


def _resume(run, home):
    from training.runs.context import Context

    ctx = Context(run, home, 2)
    ctx.emit("started", pid=1, attempt=2, boot_id="", oom_kills=0, versions={}, device="CPU")
    registry.get("jobs", "train").run(run.config(), ctx)
    return run


def _weights(run) -> bytes:
    from safetensors import safe_open

    with safe_open(run.result(), "np") as file:
        return b"".join(key.encode() + file.get_tensor(key).tobytes() for key in sorted(file.keys()))
