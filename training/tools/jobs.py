"""What the jobs that work on weights share: settings, adapters found by name, and how a result is proven and told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from .. import registry
from ..config import Part, Pattern
from ..family import Expert, FamilySpec
from ..files import write_atomic
from ..formats import foreign, halves
from ..formats.basehash import sha256_of
from ..formats.basemodel import MAX_JSON_BYTES
from ..formats.deliver import offers
from ..formats.factors import Cut, Product
from ..formats.layouts import CLIP_ROOT, EXPERT_HEADER
from ..formats.mapped import Folder
from ..outside import read_json, size
from ..plan.layers import layer_names
from ..runs.adapters import named
from ..runs.context import Context, Stopped
from .adapters import Adapter, Precision, alike, families, in_diffusers, laid_down, metadata_of, opened, written

REPORT = "report.json"
PROBES = 16  # random vectors by which a written layer is compared


class Use(Part):
    """One adapter, and how strong."""

    file: str = Field(min_length=1, max_length=1000, description="An adapter: a .safetensors file, a run, one of its checkpoints (RUN/STEP), or a Hub id.")
    strength: float = Field(1.0, ge=-100, le=100, description="How strong it is; below 0 it does the opposite.")


class Block(Part):
    """A strength of its own for some layers."""

    pattern: Pattern = Field(min_length=1, max_length=500, description="Text that a layer's name holds in the file; a regular expression also works.")
    strength: float = Field(1.0, ge=-100, le=100, description="Factor for these layers; 0 leaves them out.")
    adapter: int = Field(0, ge=0, le=64, description="For which adapter of the list, counted from 1; 0 means all.")


def checked(blocks: tuple[Block, ...], adapters: int) -> tuple[Block, ...]:
    """The blocks.  Raises ValueError for one that is for an adapter which is not in the list."""
    for block in blocks:
        if block.adapter > adapters:
            raise ValueError(f"blocks has a rule for adapter {block.adapter}, but there {'is one' if adapters == 1 else f'are {adapters}'}")
    return blocks


def refuse_experts(spec: FamilySpec) -> None:
    """Raises ValueError for a model with two denoisers, of which this tool would see one."""
    if spec.experts:
        raise ValueError(f"{spec.title} has two denoisers, and this tool knows models with one; use its LoRA's two files as they are")


def denoiser(adapters: list[Adapter], family: str, plugins: Path) -> Expert | None:
    """Of a model with two denoisers, the one that these are for; None for any other, for checkpoints of both, and where nothing says it.

    Raises ValueError for files that are not for the same.
    """
    found: dict[str, str] = {}  # folder, "" for both: a file
    experts: tuple[Expert, ...] = ()
    for adapter in adapters:
        fitting = [registry.get("families", family, plugins).SPEC] if family else families(adapter, plugins)
        if spec := next((s for s in fitting if s.experts), None):
            with suppress(ValueError):  # nothing says it
                found.setdefault(halves.half_of(adapter.file, adapter.mapped.entries, adapter.mapped.metadata, spec), adapter.file.name)
                experts = spec.experts
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise ValueError(f"{one} and {other} are for different denoisers of one model, that for much noise and that for little; put together only files that are for the same")
    return next((e for e in experts if e.folder in found), None)


def find(source: str, ctx: Context) -> Path:
    """The file of an adapter that a setting names.  Raises ValueError."""
    token = ctx.secrets.get("hf_token")
    ctx.phase("looking for the adapters")
    return named(source, ctx.home, token.reveal() if token else None)


def progress(ctx: Context, name: str) -> Callable[[str, int, int], None]:
    """A function that says how far it is, and raises Stopped when Stop was pressed."""

    def told(_layer: str, done: int, of: int) -> None:
        ctx.phase(name, done, of, "layers")
        if ctx.stop_requested():
            raise Stopped(0)

    return told


@dataclass(frozen=True)
class Naming:
    """How the result names its layers: as a file does that it is made of, or, where files differed, as most programs read this family's."""

    like: Adapter | None
    spec: FamilySpec | None = None
    names: foreign.Names = lambda folder: []
    layout: str = ""

    def write(self, target: Path, made: Mapping[str, Product], precision: Precision, metadata: Mapping[str, str]) -> None:
        if self.spec:
            laid_down(target, made, self.spec, self.layout, precision, metadata)
        else:
            written(target, made, self.like, precision, metadata)  # type: ignore[arg-type]

    def read(self, file: Path) -> Callable[[str], Product]:
        """A function: layer -> what the file does to it."""
        if self.spec is None:
            return opened(file).product
        return in_diffusers(opened(file), self.spec, self.names).__getitem__


def in_one_way(adapters: list[Adapter], family: str, base: str, ctx: Context) -> tuple[list[dict[str, Callable[[], Product]]], Naming]:
    """([{layer: its product}] under names that mean the same in all, the naming of what is made of them).

    Raises ValueError where files are laid out in different ways and nothing says for which family they are.
    """
    denoiser(adapters, family, ctx.home.plugins)
    if alike(adapters):
        return [{stem: partial(a.product, stem) for stem in a.tensors} for a in adapters], Naming(adapters[0])
    plugins = ctx.home.plugins
    fitting = [[s.id for s in families(a, plugins)] for a in adapters]
    common = [family] if family else [id for id in fitting[0] if all(id in other for other in fitting[1:])]
    if len(common) != 1:
        seen = f"may be for {' or '.join(registry.get('families', id, plugins).SPEC.title for id in common)}" if common else "are not for one family that is known here"
        raise ValueError(f"the files name their layers in different ways, and {seen}; say for which family of models they are")
    plugin = registry.get("families", common[0], plugins)
    names = layer_names(base or plugin.SPEC.default_source, plugin)
    for a in adapters:
        if less := foreign.left_out(a.file, a.mapped.entries, plugin.SPEC):
            ctx.warn(less)
    layout = offers(plugin.SPEC, "lora", registry.get("adapters", "lora", plugins))[0].layout
    return [{stem: partial(_given, p) for stem, p in in_diffusers(a, plugin.SPEC, names).items()} for a in adapters], Naming(adapters[0], plugin.SPEC, names, layout)


def _given(change: Product) -> Product:
    return change


def finish(
    ctx: Context, name: str, made: Mapping[str, Product], sources: list[Adapter], naming: Naming, precision: Precision, how: dict, kept: Mapping[str, float],
    said: Mapping[str, str] | None = None, beside: Mapping[str, object] | None = None, whole: float | None = None,
) -> None:  # fmt: skip
    """The file written, read again and compared layer by layer, then in its place; the report beside it; `finished`.  Raises ValueError where it differs.

    Of two denoisers, its name and its header say which it is for.
    said: further metadata.  beside: further lines of the report.  whole: share of the whole change that is kept; without it, of that of these layers.
    """
    expert = denoiser(sources, naming.spec.id if naming.spec else "", ctx.home.plugins)
    ending = expert.ending if expert and halves.named(name)[0] != expert.called else ""
    target = ctx.path(f"{name}{ending}.safetensors")
    ctx.phase("writing the file")
    how = {"files": [{"name": a.file.name, "sha256": sha256_of(a.file)} for a in sources], **how}
    unproven = ctx.path(".unproven.safetensors")
    try:
        naming.write(unproven, made, precision, {**metadata_of(sources, name, made, how), **({EXPERT_HEADER: expert.folder} if expert else {}), **(said or {})})
        worst = compare(unproven, naming.read(unproven), made, progress(ctx, "comparing the file"))
        os.replace(unproven, target)
    finally:
        unproven.unlink(missing_ok=True)
    ranks = sorted({p.rank for p in made.values()})
    whole = kept_of_all(made, kept) if whole is None else whole
    layers = {s: {"rank": p.rank, "size": p.norm(), "kept": kept.get(s, 1.0)} for s, p in made.items()}
    report(ctx, {"layers": layers, "kept": whole, "largest difference after writing": worst, **(beside or {})})
    took = size(target.stat().st_size)
    text = [f"{len(made)} layers of rank {ranks[0]}, {took}" if len(ranks) == 1 else f"{len(made)} layers of ranks {ranks[0]} to {ranks[-1]}, {took}"]
    if whole < 1 - 1e-6:
        text.append(f"It keeps {whole:.1%} of the change, {min(kept.values()):.1%} in the layer that loses most")
    ctx.emit("finished", path=target.name, summary=". ".join(text))


def kept_of_all(made: Mapping[str, Product], kept: Mapping[str, float]) -> float:
    """Share of ‖all changes‖ that is left, of layers that keep these shares of their own."""
    left = np.array([p.norm() for p in made.values()])
    before = np.array([p.norm() / max(kept.get(s, 1.0), 1e-12) for s, p in made.items()])
    return float(np.sqrt(np.sum(left**2) / np.sum(before**2))) if np.any(before) else 1.0


def compare(file: Path, read: Callable[[str], Product], made: Mapping[str, Product], told: Callable[[str, int, int], None]) -> float:
    """The largest ‖dW in the file - dW that was meant‖ / ‖dW that was meant‖ of a layer.  Raises ValueError where it is no rounding."""
    worst, dtype = 0.0, opened(file).dtype
    for done, (stem, meant) in enumerate(made.items()):
        told(stem, done, len(made))
        off = _distance(read(stem), meant)
        if off and meant.norm():
            worst = max(worst, off / meant.norm())
    if not worst < ROUNDING[dtype]:
        raise ValueError(f"the file that was written differs from what was meant by {worst:.2g} of a layer, so it was not kept; please report this")
    return worst


ROUNDED = {"F64": 1e-6, "F32": 1e-6, "F16": 1e-3, "BF16": 8e-3}  # of one number: half a unit of the last place, and what fp32 sums lose
ROUNDING = {"F64": 1e-5, "F32": 1e-5, "F16": 5e-3, "BF16": 3e-2}  # of a product of two rounded factors, generously


def _distance(found: Product, meant: Product) -> float:
    """About ‖dW found - dW meant‖, within some 20 %: the mean length of it times random vectors, whose square is its square on average (Hutchinson 1990).

    Where both are in the same factors it is (up' - up) down' + up (down' - down): exactly 0 where nothing was rounded, and no digits are lost where
    little was.  The trace of the factors' Gram matrices would lose half of the digits of a small difference, and a QR of them takes ten times as long.
    """
    if found.up.shape == meant.up.shape and found.down.shape == meant.down.shape:
        ups, downs = found.up - meant.up, found.down - meant.down
        if not ups.any() and not downs.any():
            return 0.0
        terms = ((ups, found.down), (meant.up, downs))
    else:
        terms = tuple((sign * p.up.astype(np.float64), p.down.astype(np.float64)) for sign, p in ((1, found), (-1, meant)))
    probes = np.random.default_rng(0).standard_normal((meant.down.shape[1], PROBES)).astype(terms[0][0].dtype)
    return float(np.sqrt(np.sum(sum(up @ (down @ probes) for up, down in terms).astype(np.float64) ** 2) / PROBES))


def report(ctx: Context, told: dict) -> None:
    """report.json in the run's folder: what became of each layer."""
    write_atomic(ctx.path(REPORT), json.dumps(told, indent=1, ensure_ascii=False).encode())


def told(made: dict) -> str:
    """How something was made, as a header holds it."""
    return json.dumps(made, sort_keys=True, ensure_ascii=False)


def network(part: Path) -> tuple[str, dict]:
    """(class, settings) of a part in diffusers' layout."""
    config = read_json(part / "config.json", MAX_JSON_BYTES, linked=True)
    return str(config.get("_class_name", "")), config


def spot(parts: Mapping[str, Folder], stem: str) -> tuple[Folder, str]:
    """(the part's files, name of the weight) of a layer with its module in front; a CLIP's names may have a level more."""
    part, _, layer = stem.partition(".")
    name = f"{layer}.weight"
    return parts[part], name if name in parts[part] else f"{CLIP_ROOT}{name}"


def cut_of(rank: int, share: float, threshold: float = 0.0) -> Cut:
    """How far layers are cut down; rank 0 sets no limit."""
    return Cut(rank or Cut().rank, share, threshold)
