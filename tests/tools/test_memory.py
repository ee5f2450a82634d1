"""A tool's memory is that of its largest layer: twice as many layers take no more."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

from training.formats.mapped import Folder
from training.formats.onefile import Piece, Whole
from training.tools.fuse import Change
from training.tools.fuse_file import Assembly

SIDE = 512  # 1 MiB a layer in fp32


def peak(work) -> int:
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def model(folder, layers: int):
    folder.mkdir()
    rng = np.random.default_rng(0)
    save_file({f"layers.{n}.proj.weight": rng.standard_normal((SIDE, SIDE), np.float32) for n in range(layers)}, folder / "model.safetensors")
    return Folder([folder / "model.safetensors"])


def fused(folder, layers: int) -> int:
    weights = model(folder, layers)
    parts = {"lora_A.weight": np.ones((2, SIDE), np.float32), "lora_B.weight": np.ones((SIDE, 2), np.float32)}
    changes = {f"net.layers.{n}.proj": Change([(1.0, parts)]) for n in range(layers)}
    plan = {f"blocks.{n}.weight": Whole((SIDE, SIDE), (Piece("net", f"layers.{n}.proj.weight", np.arange(SIDE)),)) for n in range(layers)}
    return peak(lambda: Assembly({"net": weights}, plan).write(folder / "one.safetensors", changes, {}, lambda *told: None))


def extracted(folder, layers: int) -> int:
    from training.formats.factors import Cut
    from training.tools.extract import Found, _one

    base, tuned = model(folder, layers), model(folder / "tuned", layers)
    rng = np.random.default_rng(1)
    changed = {n: tuned.tensor(n) + rng.standard_normal((SIDE, 1), np.float32) @ rng.standard_normal((1, SIDE), np.float32) for n in tuned}
    save_file(changed, folder / "tuned" / "changed.safetensors")
    tuned = Folder([folder / "tuned" / "changed.safetensors"])
    found = Found()
    took = peak(lambda: [_one(found, "net", n, tuned, base, n, ("proj",), Cut(1), 0.0, "cpu") for n in tuned])
    assert len(found.layers) == layers
    return took


@pytest.mark.parametrize("work", [fused, extracted])
def test_memory_does_not_grow_with_the_layers(tmp_path, work):
    few, many = work(tmp_path / "few", 6), work(tmp_path / "many", 24)
    assert many < few + 2 * SIDE * SIDE * 4, (few, many)
    assert few > SIDE * SIDE * 4  # it was measured at all
