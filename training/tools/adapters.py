"""Adapters' files read layer by layer, and a new one written under the names that its readers know.  numpy only, no torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..family import FamilySpec
from ..formats import deliver, foreign, layouts
from ..formats.factors import Product, layers_of, lora_parts, product
from ..formats.foreign import FLAT, FLAT_TEXT, normal
from ..formats.layouts import BESIDE, EXPERT_HEADER, LORA_HEADER, TENSOR, Arrays
from ..formats.mapped import Mapped, encoded, write
from ..formats.recognise import DENOISERS, families_of

MADE = "easel.made"  # in the header: of what, and how
Precision = Literal["same", "fp32", "fp16", "bf16"]
FORMATS = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}
WIDTH = {"F64": 3, "F32": 3, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
KEPT = ("modelspec.architecture", "modelspec.implementation", "modelspec.trigger_phrase", "modelspec.usage_hint", "modelspec.resolution", "modelspec.prediction_type",
        "modelspec.license", "ss_base_model_version", "ss_sd_model_name", "ss_v2", "ss_resolution", EXPERT_HEADER)  # of a file that stay true of what is made of it  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """One file.  tensors: {layer: names of its tensors}; header: alpha and rank by module, of a checkpoint whose scale is not in its weights."""

    file: Path
    mapped: Mapped
    tensors: dict[str, list[str]]
    header: dict

    def layer(self, stem: str) -> Arrays:
        """One layer's tensors by peft's names, fp32, its scale in its weights."""
        found = {name: self.mapped.tensor(name) for name in self.tensors[stem]}
        if self.header:
            found, _ = layouts.bake({normal(k): v for k, v in found.items()}, self.header)
        return layers_of({k: v for k, v in found.items() if not (k.endswith(".dora_scale") and any(o.endswith("lora_magnitude_vector") for o in found))})[stem]

    def product(self, stem: str) -> Product:
        """What it does to one layer."""
        return product(stem, self.layer(stem))

    @property
    def dtype(self) -> str:
        """The widest number format in it."""
        return max((self.mapped.dtype(n) for names in self.tensors.values() for n in names if not n.endswith(".alpha")), key=lambda d: WIDTH.get(d, 3))

    @property
    def underscored(self) -> bool:
        """Whether its layers are named as kohya's scripts name them."""
        return all(stem.startswith((*FLAT, *FLAT_TEXT)) for stem in self.tensors)


def opened(file: Path) -> Adapter:
    """The adapter in a file of any layout.  Raises ValueError for what is none, or holds more than adapters beside layers."""
    mapped = Mapped(file)
    names = list(mapped.entries)
    foreign.refuse_others([normal(n) for n in names])
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(TENSOR.fullmatch(normal(name))["layer"], []).append(name)  # type: ignore[index]
    if any(stem.split(".", 1)[0] in DENOISERS for stem in grouped):
        grouped = {stem: found for stem, found in grouped.items() if not stem.startswith(BESIDE)}  # stands there a second time, for ComfyUI
    header = json.loads(mapped.metadata.get(LORA_HEADER) or "{}")
    return Adapter(file, mapped, dict(sorted(grouped.items())), header if isinstance(header, dict) else {})


def families(adapter: Adapter, plugins: Path | None = None) -> list[FamilySpec]:
    """The families that it may be for."""
    return families_of(adapter.mapped.entries, adapter.mapped.metadata, plugins)


def in_diffusers(adapter: Adapter, spec: FamilySpec, names: foreign.Names) -> dict[str, Product]:
    """{layer with its module in front, as diffusers names it: what is done to it}.  names: see foreign.to_diffusers.  Raises ValueError."""
    tensors, said = layouts.read(adapter.file)
    made, _ = foreign.to_diffusers(tensors, said, spec, names)
    return {stem: product(stem, parts) for stem, parts in layers_of(made).items()}


def alike(adapters: list[Adapter]) -> bool:
    """Whether all name their layers in one way, so that equal names mean equal layers."""
    style = {_style(a) for a in adapters}
    first = set(adapters[0].tensors)
    return len(style) == 1 and all(first & set(a.tensors) for a in adapters[1:])


def _style(adapter: Adapter) -> str:
    found = Counter(next((s for s in (*foreign.DOTTED, *FLAT_TEXT, *FLAT) if stem.startswith(s)), stem.split(".", 1)[0] if stem.split(".", 1)[0] in DENOISERS else "") for stem in adapter.tensors)
    text = [k for k in found if k in FLAT_TEXT]
    return next((k for k in found if k not in text), "lora_te_")


def written(target: Path, layers: Mapping[str, Product], like: Adapter, precision: Precision, metadata: Mapping[str, str]) -> None:
    """A LoRA file, whole or not at all, its layers named as `like` names them.  Raises ValueError where a number does not fit the format."""
    dtype = format_of([like], precision)
    usual = Counter(p.rank for p in layers.values()).most_common(1)[0][0]
    plan: dict[str, tuple[str, tuple[int, ...]]] = {}
    tensors: dict[str, np.ndarray] = {}
    for stem, change in layers.items():
        parts = layouts.kohya_parts(lora_parts(change), usual) if like.underscored else lora_parts(change)
        for what, tensor in parts.items():
            name = f"{stem}.{what}"
            plan[name], tensors[name] = ("F32" if what == "alpha" else dtype, tensor.shape), tensor
    write(target, plan, ((n, encoded(t, plan[n][0], n)) for n, t in tensors.items()), {"format": "pt", **metadata, **_header(layers, like)})


def laid_down(target: Path, layers: Mapping[str, Product], spec: FamilySpec, layout: str, precision: Precision, metadata: Mapping[str, str]) -> None:
    """The same in one of the layouts of a family.  layers: as diffusers names them, the module in front."""
    tensors = {f"{stem}.{what}": t for stem, p in layers.items() for what, t in lora_parts(p).items()}
    laid, told = deliver.laid_out(tensors, foreign.inferred(tensors), spec, layout)  # type: ignore[arg-type]
    dtype = FORMATS["fp32" if precision == "same" else precision]
    plan = {n: ("F32" if n.endswith(".alpha") else dtype, t.shape) for n, t in laid.items()}
    write(target, plan, ((n, encoded(t, plan[n][0], n)) for n, t in laid.items()), {"format": "pt", **metadata, **told})


def format_of(adapters: list[Adapter], precision: Precision) -> str:
    """The number format of a file that is made of these."""
    if precision != "same":
        return FORMATS[precision]
    widest = max((a.dtype for a in adapters), key=lambda d: WIDTH.get(d, 3))
    return widest if widest in FORMATS.values() else "F16" if WIDTH.get(widest) == 1 else "F32"


def _header(layers: Mapping[str, Product], like: Adapter) -> dict[str, str]:
    """What diffusers reads of ranks that differ, in its own layout."""
    if like.underscored or not any(stem.split(".", 1)[0] in DENOISERS for stem in layers):
        return {}
    shapes = {f"{s}.lora_A.weight": np.empty((p.rank, 0)) for s, p in layers.items()} | {f"{s}.lora_B.weight": np.empty((0, p.rank)) for s, p in layers.items()}
    return {LORA_HEADER: json.dumps(foreign.inferred(shapes), sort_keys=True)}


def metadata_of(sources: list[Adapter], title: str, layers: Mapping[str, Product], how: Mapping[str, object]) -> dict[str, str]:
    """What the new file says of itself: what all it was made of say alike, its ranks, and how it was made."""
    said = [a.mapped.metadata for a in sources]
    alike = {k: v for k, v in said[0].items() if k in KEPT and all(other.get(k) == v for other in said)} if said else {}
    ranks = sorted({p.rank for p in layers.values()})
    made = {"modelspec.title": title, "ss_output_name": title, "ss_network_module": "networks.lora", "ss_network_dim": str(ranks[-1]), "ss_network_alpha": str(ranks[-1])}
    return alike | made | {MADE: json.dumps(how, sort_keys=True, ensure_ascii=False)}
