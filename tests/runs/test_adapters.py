"""Whoever names an adapter means one file, wherever it is named: tools, the start of a training, a drawing."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from training.engine import adapter_files
from training.home import Home
from training.runs.adapters import named, place
from training.runs.context import Context
from training.runs.run import create


def test_a_file_and_what_is_none(tmp_path):
    from training import jobfile, registry

    home, file = Home(tmp_path / "home").made(), tmp_path / "a.safetensors"
    save_file({"unet.x.lora_A.weight": np.ones((1, 2), np.float32), "unet.x.lora_B.weight": np.ones((2, 1), np.float32)}, file)
    config = jobfile.parse(registry.get("jobs", "scale").Config, {"kind": "scale", "name": "x", "adapter": str(file)}, "the test")
    run = create(home.outputs, config)
    ctx = Context(run, home, 1)
    assert named(str(file), home) == adapter_files.find(str(file), ctx) == file
    assert place(str(tmp_path), home) == adapter_files.find(str(tmp_path), ctx) == tmp_path  # a folder may be a whole model
    for source, sentence in ((run.id, "has no result and no checkpoint yet"), (f"{run.id}/7", "has no checkpoint '7'"), ("nobody", "no file 'nobody' and no such run")):
        with pytest.raises(ValueError, match=sentence):
            named(source, home)
        with pytest.raises(ValueError, match=f"^adapter.start_from is '{source}', but .*{sentence}"):
            adapter_files.find(source, ctx)
    with pytest.raises(ValueError, match="is a folder; name the .safetensors file"):
        named(str(tmp_path), home)
