"""One adapter mended block by block, and with blocks of a donor: what the Playground draws with is the file that the job then writes.  numpy only.

A block is what `inspecting.block_of` calls one.  Its slider becomes rules of `merge` and `scale`, so nothing is reckoned twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ..family import FamilySpec
from ..formats.halves import half_of
from ..formats.inspecting import block_of, natural
from ..formats.layouts import EXPERT_HEADER
from ..formats.mapped import Mapped
from ..runs.context import Context
from . import combine, jobs
from .adapters import metadata_of, opened

MOST_FILES = 12  # mended files that a studio keeps
LONGEST = 480  # characters of a rule's pattern; a job takes 500

Rule = tuple[int, str, float]  # adapter, counted from 1; regular expression of a layer's name in its file; factor


@dataclass(frozen=True)
class Held:
    """A block and the layers that it holds, as the file names them."""

    name: str
    layers: tuple[str, ...]


def blocks_in(file: Path) -> tuple[Held, ...]:
    """The blocks of an adapter's file, in the network's order.  Raises ValueError for what is no adapter; OSError."""
    found = file.stat()
    return _blocks_in(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=32)
def _blocks_in(file: Path, _changed_ns: int, _bytes: int) -> tuple[Held, ...]:
    held: dict[str, list[str]] = {}
    for stem in opened(file).tensors:
        held.setdefault(block_of(stem), []).append(stem)
    return tuple(Held(name, tuple(held[name])) for name in sorted(held, key=natural))


def rules(held: Sequence[Held], factors: Mapping[str, float], adapter: int) -> list[Rule]:
    """What `merge` is told for blocks whose factor is not 1: each pattern fits the block's layers and no other of the file."""
    every = [stem for block in held for stem in block.layers]
    return [(adapter, pattern, factors[b.name]) for b in held if factors.get(b.name, 1.0) != 1.0 for pattern in _patterns(b.layers, every)]


def _patterns(mine: Sequence[str], every: Sequence[str]) -> list[str]:
    """The shortest beginning that these names alone have; else the names themselves, as many to a pattern as it may be long."""
    common = mine[0]
    while not all(stem.startswith(common) for stem in mine):
        common = common[:-1]
    short = f"^{re.escape(common)}"
    if common and len(short) <= LONGEST and sum(stem.startswith(common) for stem in every) == len(mine):
        return [short]
    found: list[str] = []
    for stem in mine:
        name = re.escape(stem)
        if found and len(found[-1]) + len(name) < LONGEST:
            found[-1] = f"{found[-1][:-2]}|{name})$"
        else:
            found.append(f"^(?:{name})$")
    return found


def mended_apart(uses: Sequence[tuple[Path, float, int]], told: Sequence[Rule], spec: FamilySpec, base: str, ctx: Context) -> list[Path]:
    """mended(), of the files for each denoiser by themselves: one file for a model with one.  uses: (file, strength, the adapter that rules count it as)."""
    halves: dict[str, list[tuple[Path, float, int]]] = {}
    for use in uses:
        mapped = Mapped(use[0])
        halves.setdefault(half_of(use[0], mapped.entries, mapped.metadata, spec), []).append(use)
    made = []
    for folder, own in ({f: own for f, own in halves.items() if any(strength for _, strength, _ in own)} or halves).items():
        rules = [(place, pattern, factor) for place, (_, _, n) in enumerate(own, 1) for adapter, pattern, factor in told if adapter == n]
        made.append(mended([(file, strength) for file, strength, _ in own], rules, spec.id, base, ctx, {EXPERT_HEADER: folder} if folder else {}))
    return made


def mended(uses: Sequence[tuple[Path, float]], told: Sequence[Rule], family: str, base: str, ctx: Context, said: Mapping[str, str] = MappingProxyType({})) -> Path:
    """A file whose strength 1 is these adapters at their strengths and rules, to the bit what `merge` or `scale` makes of them.  said: further metadata.

    It lies in the run's folder, is made once for each such wish, and the oldest of them go.  Raises ValueError, OSError, Stopped.
    """
    key = [[str(f), f.stat().st_mtime_ns, f.stat().st_size, s] for f, s in uses] + [list(rule) for rule in told]
    folder = ctx.path("mended")
    folder.mkdir(exist_ok=True)
    target = folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.safetensors"
    if target.is_file():
        return target
    adapters = [opened(file) for file, _ in uses]
    layers, naming = jobs.in_one_way(adapters, family, base, ctx)
    shares = [combine.Share(own, strength, [(p, f) for n, p, f in told if n == k]) for k, ((_, strength), own) in enumerate(zip(uses, layers, strict=True), 1)]
    made, _ = combine.merged(shares, "sum", 1.0, 0, jobs.cut_of(0, 1.0), jobs.progress(ctx, "mending"))
    naming.write(target, made, "same", {**metadata_of(adapters, "mended", made, {"method": "sum"}), **said})
    for old in sorted(folder.glob("*.safetensors"), key=lambda f: f.stat().st_mtime_ns)[:-MOST_FILES]:
        old.unlink()
    return target
