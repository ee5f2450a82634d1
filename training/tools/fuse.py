"""Adapters put into a base model for good: W + dW in fp32, written tensor by tensor in the base's own layout, names and number formats.

A folder in diffusers' layout comes back as one, with the same shards; single files are fuse_file.py's.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..family import FamilySpec
from ..files import fsync_folder
from ..formats import foreign, layouts
from ..formats.basemodel import weight_files
from ..formats.factors import layers_of, product
from ..formats.layouts import CLIP_ROOT, Arrays
from ..formats.mapped import Mapped, encoded, write

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Rotation:
    """How peft's OFT turns a layer's inputs (Qiu et al. 2023): block by block by the Cayley transform of a skew-symmetric matrix, or its series."""

    series: bool = True  # Cayley-Neumann: (I + Q)(I - Q)^-1 by its first terms (Qiu et al. 2025), peft's default
    terms: int = 5

    def on(self, name: str, upper: np.ndarray, weight: np.ndarray, strength: float) -> np.ndarray:
        """dW.  upper: [blocks, side (side - 1) / 2], what stands above the diagonals.  Raises ValueError for another strength than 1, and for other shapes."""
        if strength != 1:
            raise ValueError(f"the strength of an OFT is {strength:g}, but it rotates the base model's weights, so it acts whole or not at all; use 1 or 0")
        if weight.ndim > 2 and any(width != 1 for width in weight.shape[2:]):
            raise ValueError(f"{name} is a convolution, whose patches peft's OFT turns one by one, which no weights do; leave it out by a block strength of 0")
        side = round((1 + math.sqrt(1 + 8 * upper.shape[1])) / 2)
        flat = weight.reshape(len(weight), -1).astype(np.float64)
        if flat.shape[1] % side or len(upper) not in (1, flat.shape[1] // side):  # one block may stand for all
            raise ValueError(f"{name} has {flat.shape[1]} inputs in the base model, and {len(upper)} blocks of {side} in the adapter; is it for this one?")
        skew = np.zeros((len(upper), side, side))
        rows, columns = np.triu_indices(side, 1)
        skew[:, rows, columns] = upper
        turned = flat.reshape(len(flat), -1, 1, side) @ self._cayley(skew - skew.transpose(0, 2, 1)).transpose(0, 2, 1)
        return (turned.reshape(flat.shape) - flat).astype(np.float32)

    def _cayley(self, skew: np.ndarray) -> np.ndarray:
        """[blocks, side, side] rotations."""
        eye = np.eye(skew.shape[-1])
        if not self.series:
            return np.linalg.solve((eye + skew).transpose(0, 2, 1), np.broadcast_to((eye - skew).transpose(0, 2, 1), skew.shape)).transpose(0, 2, 1)
        made, power = eye + np.zeros_like(skew), eye
        last = max(3, self.terms - 1) if self.terms > 2 else 0  # which counts once, the others twice
        for term in range(1, max(last + 1, self.terms)):
            power = power @ skew
            made = made + (1.0 if term == last else 2.0) * power
        return made


@dataclass(frozen=True)
class Change:
    """What all adapters do to one layer: [(strength, its tensors by peft's names)].  rotation: how an OFT's numbers are meant, as its file says."""

    parts: Sequence[tuple[float, Arrays]]
    rotation: Rotation = Rotation()

    def on(self, name: str, weight: np.ndarray) -> np.ndarray:
        """dW beside a weight of any shape, fp32.  Raises ValueError where the shapes differ."""
        whole = np.zeros(weight.shape, np.float32)
        for strength, parts in self.parts:
            if "oft_R.weight" in parts:
                made = self.rotation.on(name, parts["oft_R.weight"], weight, strength)
            else:
                made = _dora(name, parts, weight) if "lora_magnitude_vector" in parts else product(name, parts).dense()
            if made.size != weight.size or made.shape[0] != weight.shape[0]:
                raise ValueError(f"{name} is {'x'.join(map(str, made.shape))} in the adapter and {'x'.join(map(str, weight.shape))} in the base model; is it for this one?")
            whole += np.float32(strength) * made.reshape(weight.shape)
        return whole


def _dora(name: str, parts: Arrays, weight: np.ndarray) -> np.ndarray:
    """m (W + BA) / ‖W + BA‖ - W, a length for each output (Liu et al. 2024), as peft computes it."""
    plain = product(name, {k: v for k, v in parts.items() if k != "lora_magnitude_vector"}).dense()
    turned = weight + plain.reshape(weight.shape)
    flat = turned.reshape(len(turned), -1)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    return (parts["lora_magnitude_vector"].reshape(-1, 1) * flat / lengths).reshape(weight.shape) - weight


def changes(adapters: Sequence[tuple[Path, Callable[[str], float]]], spec: FamilySpec, names: foreign.Names) -> dict[str, Change]:
    """{module.layer, as diffusers names it: what is done to it}.  adapters: [(file, layer -> strength)].  Raises ValueError."""
    found: dict[str, list[tuple[float, Arrays]]] = {}
    rotations: dict[str, Rotation] = {}
    for file, strength in adapters:
        tensors, said = layouts.read(file)
        made, header = foreign.to_diffusers(tensors, said, spec, names)
        for stem, parts in layers_of(made).items():
            stem = stem.replace(f".{CLIP_ROOT}", ".", 1)
            if strength(stem):
                found.setdefault(stem, []).append((strength(stem), parts))
                if "oft_R.weight" in parts:
                    rotations[stem] = _rotation(file, stem.partition(".")[0], header, rotations.get(stem))
    return {stem: Change(parts, rotations.get(stem, Rotation())) for stem, parts in found.items()}


def _rotation(file: Path, module: str, header: Mapping[str, object], other: Rotation | None) -> Rotation:
    """How an OFT's file says that its rotations are meant.  Raises ValueError for a second one on the same layer, and for constrained ones."""
    if other:
        raise ValueError(f"{file.name} is an OFT for layers that another one already rotates; which comes first would matter, so put them in one after the other")
    if header.get(f"{module}.coft"):
        raise ValueError(f"{file.name} is a constrained OFT, whose rotations peft cuts anew at each use; it is not put into models here")
    return Rotation(bool(header.get(f"{module}.use_cayley_neumann", True)), int(header.get(f"{module}.num_cayley_neumann_terms", 5)))  # type: ignore[call-overload]


def into_folder(base: Path, target: Path, spec: FamilySpec, all_changes: Mapping[str, Change], metadata: Mapping[str, str], told: Told) -> None:
    """`target`, a model in diffusers' layout, whole or not at all.  Parts that no adapter is for share their files with the base where the disk can do that.

    Raises ValueError for a layer that the base lacks, and where the result does not fit the base's number format; Stopped.
    """
    by_part: dict[str, dict[str, Change]] = {}
    for stem, change in all_changes.items():
        part, _, layer = stem.partition(".")
        by_part.setdefault(part, {})[layer] = change
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for path in sorted(base.rglob("*")):
            name = path.relative_to(base)
            heavy = name.parts[0] in by_part and path.suffix == ".safetensors"
            if path.is_file() and not heavy and not any(p.startswith(".") for p in name.parts):
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                _same_file(path.resolve(), temporary / name)
        left = {part: dict(layers) for part, layers in by_part.items()}
        files = [(part, file) for part in by_part for file in weight_files(base / part)]
        for n, (part, file) in enumerate(files):
            _one_file(file, temporary / part / file.name, left[part], metadata, lambda name, done, of, n=n: told(name, n * 1000 + 1000 * done // of, 1000 * len(files)))  # type: ignore[misc]
        refuse_lost([f"{part}.{layer}" for part, layers in left.items() for layer in layers])
        os.replace(temporary, target)
        fsync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _same_file(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)


def _one_file(file: Path, to: Path, left: dict[str, Change], metadata: Mapping[str, str], told: Told) -> None:
    """One shard with its layers changed; those are taken out of `left`."""
    mapped = Mapped(file)
    to.parent.mkdir(parents=True, exist_ok=True)
    plan = {n: (mapped.dtype(n), mapped.shape(n)) for n in mapped.entries}

    def parts() -> Iterator[tuple[str, bytes | np.ndarray]]:
        for done, name in enumerate(plan):
            told(name, done, len(plan))
            layer = name.removesuffix(".weight").removeprefix(CLIP_ROOT)
            change = left.pop(layer, None) if name.endswith(".weight") else None
            yield name, mapped.raw(name) if change is None else changed(name, mapped.tensor(name), change, mapped.dtype(name))

    write(to, plan, parts(), {"format": "pt", **mapped.metadata, **metadata})


def refuse_lost(layers: Sequence[str]) -> None:
    """Raises ValueError where adapters change layers that the base model lacks."""
    if layers:
        raise ValueError(f"{min(layers)} is a layer that this base model does not have{f', and {len(layers) - 1} more' if layers[1:] else ''}; is the adapter for another one?")


def changed(name: str, weight: np.ndarray, change: Change, dtype: str) -> bytes:
    """A weight with what is done to it, as bytes of a format."""
    return encoded(weight + change.on(name, weight), dtype, name)


def needed_bytes(base: Path) -> int:
    """How much room the result takes at most."""
    return base.stat().st_size if base.is_file() else sum(p.stat().st_size for p in base.rglob("*") if p.is_file())


def check_room(folder: Path, size_bytes: int) -> None:
    """Nothing, or ValueError where the disk is too full."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes + 2**30:
        raise ValueError(f"the result takes {size_bytes / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free; free some, or move the home folder")


def proven(base: Callable[[str], np.ndarray], made: Callable[[str], np.ndarray], all_changes: Mapping[str, Change], rounding: Callable[[str], float], told: Told) -> float:
    """The largest |written - (W + dW)| / largest |W + dW| of a layer.  base, made: weight of a layer.  Raises ValueError where it is no rounding."""
    worst = 0.0
    for done, (stem, change) in enumerate(all_changes.items()):
        told(stem, done, len(all_changes))
        weight = base(stem)
        meant = weight + change.on(stem, weight)
        off = float(np.max(np.abs(made(stem) - meant))) / max(float(np.max(np.abs(meant))), math.ulp(0.0))
        if not off <= rounding(stem):
            raise ValueError(f"{stem} was written with an error of {off:.2g}, so the result was not kept; please report this")
        worst = max(worst, off)
    return worst

