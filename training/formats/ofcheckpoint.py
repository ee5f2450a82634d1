"""A checkpoint of a network of its own as the folder that diffusers loads: the run's result with the checkpoint's weights in place of its own.  numpy only, no torch.

A checkpoint holds what learns, in fp32, under the names that training has for it.  Everything else of the result is the same at each step: its settings,
its shards, its number format, and of a whole model what did not learn.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from .mapped import Mapped, encoded, write

Sources = Mapping[str, tuple[str, ...]]  # a tensor of the result -> those of the checkpoint that it is, one on another


def sources(adapter: ModuleType, names: Iterable[str], prefix: str, denoiser: str) -> Sources:
    """What of a checkpoint goes where in the result.  prefix: of the checkpoint's names; denoiser: the family's word for it."""
    if hasattr(adapter, "outward"):
        return adapter.outward(names, prefix, denoiser)
    return {name.removeprefix(f"{prefix}."): (name,) for name in names if name.startswith(f"{prefix}.")}


def write_folder(weights: Path, result: Path, target: Path, adapter: ModuleType, prefix: str, denoiser: str) -> None:
    """`target`, a folder like `result` with the tensors of the checkpoint's file `weights` in it, whole or not at all.

    Raises ValueError where the two are not of one network, or a weight does not fit the result's number format.
    """
    held = Mapped(weights)
    wanted = dict(sources(adapter, held.entries, prefix, denoiser))
    partial = target.with_name(f".{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for file in sorted(f for f in result.rglob("*") if f.is_file()):
            place = partial / file.relative_to(result)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".safetensors":
                _write_file(held, Mapped(file), place, wanted)
            else:
                shutil.copyfile(file, place)
        if wanted:
            raise ValueError(f"the checkpoint's {min(wanted)} is not in the finished result: they are of different networks; publish the finished one")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_file(held: Mapped, model: Mapped, target: Path, wanted: dict[str, tuple[str, ...]]) -> None:
    """One file like `model`; takes what it writes out of `wanted`."""

    def parts() -> Iterator[tuple[str, bytes | np.ndarray]]:
        for name in model.entries:
            found = wanted.pop(name, ())
            yield name, encoded(_joined(held, found, name, model.shape(name)), model.dtype(name), name) if found else model.raw(name)

    write(target, {name: (model.dtype(name), model.shape(name)) for name in model.entries}, parts(), model.metadata)


def _joined(held: Mapped, found: tuple[str, ...], name: str, shape: tuple[int, ...]) -> np.ndarray:
    tensor = np.concatenate([held.tensor(one) for one in found]) if len(found) > 1 else held.tensor(found[0])
    if tensor.shape != shape:
        raise ValueError(f"{name} is {list(tensor.shape)} in the checkpoint and {list(shape)} in the finished result: they are of different networks; publish the finished one")
    return tensor
