"""A run notes the versions of its datasets; where one cannot be kept, it warns and goes on."""

from __future__ import annotations

from filelock import FileLock, Timeout

from tests.data.make import write
from training import jobfile, registry
from training.data import datasets, versions
from training.runs import exactly
from training.runs.context import Context
from training.runs.run import create


def test_a_version_that_cannot_be_kept_is_a_warning(home, monkeypatch):
    ds = datasets.create(home, "cats")
    write(ds.path / "a.png", 1)
    told = {"kind": "train", "name": "cat", "trigger": "zibbo", "steps": 5, "model": {"family": "sd15", "source": "x"}, "data": {"datasets": [{"name": "cats"}]}}
    config = jobfile.parse(registry.get("jobs", "train").Config, told)
    ctx = Context(create(home.outputs, config), home, attempt=1)
    exactly.note(config, ctx)
    assert exactly.learnt(ctx.run)["cats"].version == versions.newest(ds).id == 1
    write(ds.path / "b.png", 2)
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(Timeout("another program is at it")))
    exactly.note(config, ctx)
    (said,) = [e["text"] for e in ctx.run.events()[0] if e["kind"] == "warning"]
    assert "cannot be kept (another program has been changing this dataset" in said and len(versions.listed(ds)) == 1
