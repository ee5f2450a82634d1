"""Train again on exactly that: the same weights, to the bit, from pictures that were edited and removed since."""

import shutil

import pytest

from tests import tiny
from training import jobfile, registry
from training.data import bin, datasets, restoring, states, versions
from training.runs import exactly
from training.runs.run import create

pytestmark = pytest.mark.slow


@pytest.fixture
def ds(home, dataset):
    shutil.copytree(dataset, home.datasets / "cats")
    return datasets.open_dataset(home, "cats")


def run_of(lab, base, config=None):
    job = config or jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, "cats", steps=3))
    return lab.go(create(lab.home.outputs, job))


def test_a_run_is_repeated_to_the_bit_after_its_pictures_have_changed(lab, base, ds, home):
    run = run_of(lab, base)
    assert run.last("finished") and exactly.learnt(run)["cats"].version == versions.newest(ds).id == 1
    ids = [p.id for p in ds.pictures()]
    ds.prefix("zibbo, ")
    ds.set_focus(ids[2], 0.1, 0.1)
    ds.remove(ids[:2])
    assert exactly.missing(run, home) == {} and "run “" in exactly.lost_with_bin(ds, home)
    names, said = exactly.again(run, home)
    other = datasets.open_dataset(home, names["cats"])
    assert other.title.endswith(", version 1") and states.now(other) == versions.read(ds, 1) and "take no room" in said[0]
    assert all((other.path / id).stat().st_nlink == 2 for id in ids), "disk used once"
    again = run_of(lab, base, exactly.with_datasets(run.config(), names, home))
    assert _weights(again) == _weights(run)
    assert exactly.again(run, home)[0] == names, "it is made once"

    restoring.restore(ds, 1)
    assert exactly.again(run, home)[0] == {"cats": "cats"}, "nothing differs any more"
    ds.remove(ids[:1])
    datasets.delete(other)
    bin.empty(ds)
    assert exactly.missing(run, home) == {"cats": ids[:1]} and ids[0] in exactly.said_of(exactly.missing(run, home))[0]
    datasets.delete(ds)
    assert "no dataset called 'cats'" in exactly.hindrance(run, home)


def _weights(run) -> bytes:
    from safetensors import safe_open

    with safe_open(run.result(), "np") as file:
        return b"".join(key.encode() + file.get_tensor(key).tobytes() for key in sorted(file.keys()))
