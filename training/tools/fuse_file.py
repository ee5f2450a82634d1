"""Adapters put into a base model, written as one file: under a single file's own names, or a folder under those of the model's first release.

Which rows of which tensor a layer lies in is told by formats/onefile.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..family import FamilySpec
from ..formats.basemodel import MAX_JSON_BYTES, weight_files
from ..formats.layouts import CLIP_ROOT
from ..formats.mapped import SIZES, Folder, Mapped, encoded, write
from ..formats.onefile import Piece, Rows, Whole, held, plan
from ..outside import read_json
from .fuse import Change, changed, refuse_lost
from .jobs import network

Told = Callable[[str, int, int], None]


def into_file(base: Path, target: Path, spec: FamilySpec, all_changes: Mapping[str, Change], where: Mapping[str, Rows], metadata: Mapping[str, str], told: Told) -> None:
    """`target`, a single file under the base file's own names, whole or not at all.  where: see onefile.places.  Raises ValueError, Stopped."""
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


@dataclass(frozen=True)
class Assembly:
    """A model in diffusers' layout, and where each of its tensors lies in one file.  marks: names of empty tensors by which files say how they are noised."""

    parts: Mapping[str, Folder]
    plan: Mapping[str, Whole]
    marks: tuple[str, ...] = ()

    def write(self, target: Path, all_changes: Mapping[str, Change], metadata: Mapping[str, str], told: Told) -> None:
        """`target`, whole or not at all, with the changes in it.  Raises ValueError for a layer that is not in it, and where a number does not fit; Stopped."""
        beside = sorted({stem.partition(".")[0] for stem in all_changes} - set(self.parts))
        if beside:
            raise ValueError(f"an adapter also changes {beside[0]}, and a single file of this model holds {', '.join(self.parts)} alone; write a folder, or leave {beside[0]}'s layers out by a block strength of 0")
        refuse_lost([stem for stem in all_changes if stem not in self.spots])
        laid = {name: (self.dtype(whole), whole.shape) for name, whole in self.plan.items()}

        def tensors() -> Iterator[tuple[str, bytes | np.ndarray]]:
            for done, (name, whole) in enumerate(self.plan.items()):
                told(name, done, len(self.plan))
                yield name, self._bytes(whole, all_changes)
            for mark in self.marks:
                yield mark, b""

        write(target, laid | {mark: ("F32", (0,)) for mark in self.marks}, tensors(), {"format": "pt", **metadata})

    def dtype(self, whole: Whole) -> str:
        """The number format of one tensor of the file: that of what it holds; fp32 where they differ."""
        found = {self.parts[p.part].dtype(p.name) for p in whole.pieces}
        return found.pop() if len(found) == 1 else "F32"

    @cached_property
    def spots(self) -> dict[str, tuple[str, Piece]]:
        """{module.layer: (name in the file, what of it)} of every weight."""
        return {_stem(p): (name, p) for name, whole in self.plan.items() for p in whole.pieces}

    def _bytes(self, whole: Whole, all_changes: Mapping[str, Change]) -> bytes | np.ndarray:
        dtype = self.dtype(whole)
        if len(whole.pieces) == 1 and not whole.pieces[0].turned and np.array_equal(whole.pieces[0].rows, np.arange(len(whole.pieces[0].rows))):
            return self._piece(whole.pieces[0], dtype, all_changes)
        made = np.empty((whole.shape[0], math.prod(whole.shape[1:]) * SIZES[dtype]), np.uint8)
        for piece in whole.pieces:
            data = np.frombuffer(memoryview(self._piece(piece, dtype, all_changes)), np.uint8)  # type: ignore[arg-type]
            if piece.turned:
                cells = data.reshape(*whole.shape[::-1], -1)
                data = np.ascontiguousarray(cells.transpose(1, 0, 2))
            made[piece.rows] = data.reshape(len(piece.rows), -1)
        return made

    def _piece(self, piece: Piece, dtype: str, all_changes: Mapping[str, Change]) -> bytes | np.ndarray:
        """One tensor of diffusers' as bytes of a format, as it is unless it changes."""
        folder, change = self.parts[piece.part], all_changes.get(_stem(piece))
        if change is not None:
            return changed(piece.name, folder.tensor(piece.name), change, dtype)
        own = folder.dtype(piece.name)
        return folder.where[piece.name].raw(piece.name) if own == dtype else encoded(folder.tensor(piece.name), dtype, piece.name)

    def before(self, stem: str) -> np.ndarray:
        """A weight in the folder."""
        piece = self.spots[stem][1]
        return self.parts[piece.part].tensor(piece.name)

    def after(self, made: Mapped, stem: str) -> np.ndarray:
        """The same in the file."""
        name, piece = self.spots[stem]
        there = made.tensor(name)
        found = there.T if piece.turned else there[piece.rows]
        return found.reshape(self.parts[piece.part].shape(piece.name))


def assembly(folder: Path, spec: FamilySpec) -> Assembly:
    """How a model in diffusers' layout becomes one file.  Raises ValueError where there is no such file of it."""
    name, _ = network(folder / spec.denoiser)
    parts = {part: Folder(weight_files(folder / part)) for part in held(spec, name)}
    noised = read_json(folder / "scheduler" / "scheduler_config.json", MAX_JSON_BYTES, linked=True) if len(parts) > 1 else {}
    marks = [mark for mark, said in (("v_pred", noised.get("prediction_type") == "v_prediction"), ("ztsnr", noised.get("rescale_betas_zero_snr"))) if said]
    shapes = {part: {n: weights.shape(n) for n in weights} for part, weights in parts.items()}
    return Assembly(parts, plan(shapes, spec, name, {part: network(folder / part)[1] for part in parts}), tuple(marks))


def _stem(piece: Piece) -> str:
    name = piece.name.removeprefix(CLIP_ROOT)
    return f"{piece.part}.{name.removesuffix('.weight')}" if name.endswith(".weight") else f"{piece.part}.{name}:"

