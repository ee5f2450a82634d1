"""What a tuned model has learnt, as a LoRA: the difference of two models' weights, layer by layer, each cut to the rank that holds it best.

Both models' files are mapped, one layer of each is read at a time, and no network is built.  The singular vectors come from torch's
randomised SVD (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1) with three power iterations and half
as many directions to spare as are kept (on a matrix of pure noise, the worst case, within 0.7 % of the best rank's error); how much of a
layer's change they hold is then known exactly, because ‖dW‖² is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from ..config import ModelPart
from ..family import FamilySpec
from ..formats.adapting import ends_on
from ..formats.basemodel import is_top, weight_files
from ..formats.factors import Cut, Product, balanced
from ..formats.layouts import CLIP_ROOT
from ..formats.mapped import FLOATS, Folder
from ..runs.context import Context
from ..runs.run import Run

SPARE, POWER = 8, 3  # directions beyond one and a half times the rank, and power iterations, of the randomised SVD
FIRST = 32  # directions that are looked for first where a share is asked for
DENSE = 0.4  # from this share of a matrix's smaller side on, all directions are looked for at once


NO_ROOM = "layers that the size left no room for"
NAMES_BYTES = 600  # of a layer in a file's header: two or three tensors, its rank and its alpha
HEADER_BYTES = 4_000  # of the rest of the header


@dataclass
class Room:
    """How many bytes all layers may take together, and who has them: the directions that hold the most for their bytes (a threshold over all layers).

    A direction of a layer costs its inputs and outputs, and holds the square of its singular value.  What a layer once lost it never gets back, as more
    layers only raise the threshold: so what has no room is dropped at once, and memory stays at what the file will take.
    """

    size_bytes: float
    width: int  # bytes of a number
    values: dict[str, np.ndarray] = field(default_factory=dict)  # singular values of the layers so far
    norms: dict[str, float] = field(default_factory=dict)

    def worth(self, costs: Mapping[str, int]) -> float:
        """Square per number under which nothing has room, of layers that cost so many numbers a direction; 0 while there is room for all."""
        free = self.size_bytes - HEADER_BYTES - NAMES_BYTES * len(costs)
        values = np.concatenate([np.square(self.values[s], dtype=np.float64) / costs[s] for s in costs])
        sizes = np.concatenate([np.full(len(self.values[s]), costs[s] * self.width, np.float64) for s in costs])
        order = np.argsort(-values, kind="stable")
        fitting = int(np.searchsorted(np.cumsum(sizes[order]), free, side="right"))
        return 0.0 if fitting == len(order) else float(np.nextafter(values[order[fitting]], np.inf))


@dataclass
class Found:
    """What came of two models.  layers: {module.layer: product}; kept: share of each one's ‖dW‖; beside: {what a LoRA cannot hold: ‖change‖}."""

    layers: dict[str, Product] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)
    beside: dict[str, float] = field(default_factory=dict)
    unchanged: int = 0
    small: int = 0  # layers whose change was too small to be meant

    def share(self) -> float:
        """Share of the whole change, Frobenius, that the LoRA holds."""
        held = sum(p.norm() ** 2 for p in self.layers.values())
        whole = sum((p.norm() / max(self.kept[s], 1e-12)) ** 2 for s, p in self.layers.items()) + sum(n**2 for n in self.beside.values())
        return (held / whole) ** 0.5 if whole else 1.0


def model_folder(model: ModelPart, family: ModuleType, ctx: Context) -> Path:
    """The folder of a model that is named as a run that trained it, or as anything that a base model may be.  Raises ValueError, Stopped."""
    from ..engine.weights import base_folder

    if (ctx.home.outputs / model.source).is_dir() and model.source and "/" not in model.source:
        result = Run.open(ctx.home.outputs, model.source).result()
        if result is None or not result.is_dir():
            raise ValueError(f"the run {model.source} has no whole model as its result")
        return result
    local = Path(model.source).expanduser()
    if local.is_dir() and not is_top(local):
        return part_of(local, family.SPEC.denoiser, family.SPEC).parent if (local / family.SPEC.denoiser).is_dir() else part_of(local, family.SPEC.denoiser, family.SPEC)
    return base_folder(model, family, ctx)


def part_of(folder: Path, name: str, spec: FamilySpec) -> Path:
    """The folder of one part: below a whole model's, or the folder itself where it holds the denoiser alone.  Raises ValueError."""
    if (folder / name).is_dir():
        return folder / name
    if name == spec.denoiser and (folder / "config.json").is_file():
        return folder
    raise ValueError(f"{folder.name} has no {name}; give a model in diffusers layout, or the folder of its {spec.denoiser}")


def extract(tuned: Path, base: Path, parts: list[str], spec: FamilySpec, targets: str, cut: Cut, least: float, device: str, told: Callable[[str, int, int], None], room: Room | None = None) -> Found:
    """The change from base to tuned.  parts: folders of the diffusers layout.  least: changes below this share of a layer's weights are left out.

    Raises ValueError where the two are not one architecture.
    """
    pairs = [(part, Folder(weight_files(part_of(tuned, part, spec))), Folder(weight_files(part_of(base, part, spec)))) for part in parts]
    names = {part: _same_names(part, a, b) for part, a, b in pairs}
    found, done, of = Found(), 0, sum(map(len, names.values()))
    for part, a, b in pairs:
        endings = spec.lora_targets[targets] if part == spec.denoiser else spec.text_targets[targets]
        for mine, theirs in names[part]:
            told(mine, done, of)
            done += 1
            stem = _one(found, part, mine, a, b, theirs, endings, cut, least, device)
            if room and stem:
                _made_room(found, stem, room)
    return found


def _made_room(found: Found, stem: str, room: Room) -> None:
    """The new layer and those before it, each with the directions that still have room."""
    new = found.layers[stem]
    room.values[stem] = np.sum(np.square(new.up, dtype=np.float64), axis=0)  # √s in each factor
    room.norms[stem] = new.norm() / found.kept[stem]
    costs = {s: p.up.shape[0] + p.down.shape[1] for s, p in found.layers.items()}
    worth = room.worth(costs)
    for name, cost in costs.items():
        rank = int(np.sum(np.square(room.values[name]) / cost >= worth))
        if rank == found.layers[name].rank:
            continue
        room.values[name] = room.values[name][:rank]
        if rank:
            whole = found.layers[name]
            found.layers[name] = Product(whole.up[:, :rank].copy(), whole.down[:rank].copy(), whole.kernel)
            found.kept[name] = min(1.0, float(np.sqrt(np.sum(room.values[name] ** 2))) / room.norms[name])
        else:
            found.beside[NO_ROOM] = (found.beside.get(NO_ROOM, 0.0) ** 2 + room.norms[name] ** 2) ** 0.5
            del found.layers[name], found.kept[name]


def _same_names(part: str, a: Folder, b: Folder) -> list[tuple[str, str]]:
    """[(name in the tuned model, in the base)].  Raises ValueError that says which tensors differ.

    A CLIP's names have a level less since transformers 5; both mean the same.
    """
    plain = lambda name: name.removeprefix(CLIP_ROOT)
    there = {plain(n): n for n in b}
    mine = {plain(n): n for n in a}
    odd = sorted(n for n in set(there) ^ set(mine) if not n.endswith("position_ids"))
    shapes = sorted(n for n in set(there) & set(mine) if a.shape(mine[n]) != b.shape(there[n]))
    if odd or shapes:
        first = f"{odd[0]} is only in {'the tuned model' if odd[0] in mine else 'the base model'}" if odd else f"{shapes[0]} is {_by(a.shape(mine[shapes[0]]))} in the tuned model and {_by(b.shape(there[shapes[0]]))} in the base model"
        count = len(odd) + len(shapes)
        raise ValueError(f"these are not two models of one architecture: {part}: {first}{f', and {count - 1} more differ' if count > 1 else ''}")
    return [(mine[n], there[n]) for n in sorted(mine) if n in there]


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _one(found: Found, part: str, name: str, a: Folder, b: Folder, theirs: str, endings, cut: Cut, least: float, device: str) -> str:
    """Adds what one tensor changed to what was found.  The layer's name where a LoRA holds it, else ""."""
    if a.dtype(name) not in FLOATS:
        return ""
    if a.dtype(name) == b.dtype(theirs) and np.array_equal(a.where[name].raw(name), b.where[theirs].raw(theirs)):
        found.unchanged += 1
        return ""
    before = b.tensor(theirs)
    change = a.tensor(name).astype(np.float64 if a.dtype(name) == "F64" else np.float32) - before
    if not np.isfinite(change).all():
        raise ValueError(f"{part}: {name} holds values that are not finite in one of the models; it is damaged, get it again")
    size, weight = float(np.linalg.norm(change.astype(np.float64).ravel())), float(np.linalg.norm(before.astype(np.float64).ravel()))
    if size == 0:
        found.unchanged += 1
    elif size < least * weight:
        found.small += 1
    elif change.ndim < 2 or not name.endswith(".weight") or not ends_on(name.removesuffix(".weight"), endings):
        kind = "biases" if name.endswith(".bias") else "norms" if re.search(r"norm", name) and change.ndim == 1 else "other layers"
        found.beside[kind] = (found.beside.get(kind, 0.0) ** 2 + size**2) ** 0.5
    else:
        stem = f"{part}.{name.removesuffix('.weight')}"
        found.layers[stem], found.kept[stem] = decomposed(change, cut, device)
        return stem
    return ""


def decomposed(change: np.ndarray, cut: Cut, device: str = "cpu") -> tuple[Product, float]:
    """(the best product of the rank that `cut` asks for, share of ‖dW‖ that it keeps)."""
    import torch

    kernel = change.shape if change.ndim > 2 else ()
    matrix = torch.from_numpy(np.ascontiguousarray(change.reshape(len(change), -1), np.float32)).to(device)
    norm = float(torch.linalg.vector_norm(matrix, dtype=torch.float64))
    side = min(matrix.shape)
    for q in _sizes(cut, side):
        if q >= DENSE * side:
            u, s, v = torch.linalg.svd(matrix, full_matrices=False)
            v = v.T
            q = side
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # the same models give the same file
                u, s, v = torch.svd_lowrank(matrix, q=q, niter=POWER)
        values = s.double().cpu().numpy()
        r = cut.of(values, norm)
        if r <= (q - SPARE) * 2 // 3 or q == side:
            break
    kept = min(1.0, float(np.sqrt(np.sum(values[:r] ** 2))) / norm)
    return balanced(u[:, :r].cpu().numpy(), values[:r].astype(np.float32), v[:, :r].T.cpu().numpy(), kernel), kept


def _sizes(cut: Cut, side: int) -> Iterator[int]:
    """How many directions are looked for, until they are enough: what a fixed rank needs, else more and more."""
    q = cut.rank + cut.rank // 2 + SPARE if cut.share == 1 and not cut.threshold and cut.rank < side else min(FIRST, cut.rank) * 3 // 2 + SPARE
    while q < DENSE * side:
        yield q
        q *= 2
    yield side


def told_of(found: Found) -> list[str]:
    """Sentences on what a LoRA cannot hold and what was left out."""
    said = []
    whole = (sum((p.norm() / max(found.kept[s], 1e-12)) ** 2 for s, p in found.layers.items()) + sum(n**2 for n in found.beside.values())) ** 0.5
    for what, size in sorted(found.beside.items()):
        lost = "hold" if what == NO_ROOM else "changed too, by"
        said.append(f"{what} {lost} {size / whole:.2%} of the whole change{'' if what == NO_ROOM else ', which a LoRA of these layers cannot hold'}")
    if found.small:
        said.append(f"{found.small} tensors changed by less than was asked for, and are left out")
    return said


def report_of(found: Found) -> dict:
    """For report.json."""
    return json.loads(json.dumps({"unchanged tensors": found.unchanged, "too small to be meant": found.small, "beside the LoRA": found.beside}))
