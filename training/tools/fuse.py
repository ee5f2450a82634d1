"""Adapters put into a base model for good: W + dW in fp32, written tensor by tensor in the base's own layout, names and number formats.

A folder in diffusers' layout comes back as one, with the same shards; a single file comes back as a single file under the same names, so
that whatever read the base reads the result.  Where diffusers' names and the file's differ, which rows of which tensor a layer lies in is
told by diffusers' own conversion, run on the numbers of the rows instead of on the weights.
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
class Change:
    """What all adapters do to one layer: [(strength, its tensors by peft's names)]."""

    parts: Sequence[tuple[float, Arrays]]

    def on(self, name: str, weight: np.ndarray) -> np.ndarray:
        """dW beside a weight of any shape, fp32.  Raises ValueError where the shapes differ, and for OFT."""
        whole = np.zeros(weight.shape, np.float32)
        for strength, parts in self.parts:
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
    for file, strength in adapters:
        tensors, said = layouts.read(file)
        made, _ = foreign.to_diffusers(tensors, said, spec, names)
        for stem, parts in layers_of(made).items():
            stem = stem.replace(f".{CLIP_ROOT}", ".", 1)
            if strength(stem):
                found.setdefault(stem, []).append((strength(stem), parts))
    return {stem: Change(parts) for stem, parts in found.items()}


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
            _one_file(file, temporary / part / file.name, left[part], metadata, lambda name, done, of, n=n: told(name, n * 1000 + 1000 * done // of, 1000 * len(files)))
        lost = [f"{part}.{layer}" for part, layers in left.items() for layer in layers]
        if lost:
            raise ValueError(f"{min(lost)} is a layer that this base model does not have{f', and {len(lost) - 1} more' if lost[1:] else ''}; is the adapter for another one?")
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
            yield name, mapped.raw(name) if change is None else _changed(name, mapped.tensor(name), change, mapped.dtype(name))

    write(to, plan, parts(), {"format": "pt", **mapped.metadata, **metadata})


def _changed(name: str, weight: np.ndarray, change: Change, dtype: str) -> bytes:
    return encoded(weight + change.on(name, weight), dtype, name)


# -- a single file


@dataclass(frozen=True)
class Rows:
    """Where a layer of diffusers' lies in a single file: these rows of this tensor."""

    name: str
    rows: np.ndarray  # [out] numbers


def places(mapped: Mapped, class_name: str, config: dict) -> dict[str, Rows]:
    """{diffusers' name of a weight of the denoiser: where it lies in the file}, by diffusers' own conversion of this class's files.

    The conversion is run on a stand-in of each tensor that holds the numbers of its rows and has no other size, so it costs next to nothing.
    Raises ValueError where diffusers cannot convert such files.
    """
    import torch
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    how = SINGLE_FILE_LOADABLE_CLASSES.get(class_name, {}).get("checkpoint_mapping_fn")
    if how is None:
        raise ValueError(f"diffusers has no way from a single file to a {class_name}; give the base model as a folder")
    starts, at = {}, 0
    standins = {}
    for name, entry in mapped.entries.items():
        shape = entry["shape"]
        if shape:
            starts[name] = at
            standins[name] = torch.arange(at, at + shape[0], dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))
            at += shape[0]
    order = sorted(starts, key=starts.get)
    first = np.array([starts[n] for n in order])
    try:
        converted = how(checkpoint=dict(standins), config=config)
    except Exception as error:  # noqa: BLE001 a conversion may fail in any way on a file that it was not written for
        raise ValueError(f"{mapped.file.name} is not taken apart by diffusers' conversion to a {class_name} ({type(error).__name__}); give the base model as a folder") from None
    found = {}
    for name, rows in converted.items():
        numbers = rows.reshape(-1).numpy().astype(np.int64)
        if not len(numbers):
            continue
        source = order[int(np.searchsorted(first, numbers[0], side="right")) - 1]
        inside = numbers - starts[source]
        if inside.min() >= 0 and inside.max() < mapped.shape(source)[0]:
            found[name] = Rows(source, inside)
    return found


def into_file(base: Path, target: Path, spec: FamilySpec, all_changes: Mapping[str, Change], where: Mapping[str, Rows], metadata: Mapping[str, str], told: Told) -> None:
    """`target`, a single file under the base file's own names, whole or not at all.  where: see places().  Raises ValueError, Stopped."""
    mapped = Mapped(base)
    at: dict[str, list[tuple[str, np.ndarray, Change]]] = {}
    for stem, change in all_changes.items():
        part, _, layer = stem.partition(".")
        if part != spec.denoiser:
            raise ValueError(f"an adapter also changes {part}, which single files lay out in other ways; give the base model as a folder in diffusers layout")
        if f"{layer}.weight" not in where:
            raise ValueError(f"{layer} is a layer that this base model does not have; is the adapter for another one?")
        spot = where[f"{layer}.weight"]
        at.setdefault(spot.name, []).append((layer, spot.rows, change))
    plan = {n: (mapped.dtype(n), mapped.shape(n)) for n in mapped.entries}

    def parts() -> Iterator[tuple[str, bytes | np.ndarray]]:
        for done, name in enumerate(plan):
            told(name, done, len(plan))
            if name not in at:
                yield name, mapped.raw(name)
                continue
            weight = mapped.tensor(name)
            for layer, rows, change in at[name]:
                weight[rows] += change.on(layer, weight[rows])
            yield name, encoded(weight, mapped.dtype(name), name)

    write(target, plan, parts(), {"format": "pt", **mapped.metadata, **metadata})


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

