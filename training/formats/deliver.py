"""The adapter that people download: a checkpoint's, alpha baked in, with its metadata, under the names that most programs read.  numpy only, no torch.

alpha is baked into the weights (B times alpha / rank) and the header says alpha = rank, because programs that do not read
the header take exactly that: the file means the same everywhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

import numpy as np
from safetensors.numpy import save

from .. import registry
from ..family import Expert, FamilySpec
from ..files import write_atomic
from . import foreign, layouts
from .adapting import file_kind, is_whole, stands_alone
from .layouts import EXPERT_HEADER, KOHYA_HEADER, LAYERS_HEADER, LORA_HEADER
from .modelspec import stamp_hash

__all__ = ["LAYOUTS", "LORA_HEADER", "Layout", "Offer", "adapter_file", "deliver", "laid_out", "needed", "offer_for", "offers", "relaid", "unread", "write"]

Layout = Literal["diffusers", "kohya", "comfyui"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True)
class Offer:
    """One file in which an adapter can be had."""

    layout: Layout
    title: str  # the programs that read it, for a person: "diffusers and ComfyUI"
    ending: str  # of its name, before .safetensors: "" where it is for all of them, else "-comfyui"
    pipeline: bool  # whether load_lora_weights of the family's pipeline takes it
    comfyui: bool  # whether ComfyUI reads it whole
    expert: Expert | None = None  # whose adapter it holds, of a family with two denoisers

    @property
    def id(self) -> str:
        """What tells it from the adapter's other files."""
        return f"{self.layout}{self.expert.ending if self.expert else ''}"

    def file_name(self, name: str) -> str:
        """What the file is called: the adapter's name, for which of two denoisers it is, and for whom where there are several."""
        return f"{name}{self.expert.ending if self.expert else ''}{self.ending}.safetensors"


def offers(spec: FamilySpec, kind: str, adapter: ModuleType, experts: tuple[Expert, ...] = ()) -> tuple[Offer, ...]:
    """The files that an adapter of this family and kind can be had in, the one for most programs first; it is the run's result.

    experts: FamilySpec.learning of a run; each has files of its own.

    One file where there is a layout that both diffusers' loader and ComfyUI read whole; else one for each, and their names say so.
    Empty for an adapter whose result is a network of its own.
    """
    if stands_alone(adapter):
        return ()
    if experts:
        plain = offers(spec, kind, adapter)
        titled = lambda o, e: f"{e.called} noise, {o.title}" if plain[1:] else f"{e.called} noise"  # one file of each is for whoever reads any
        return tuple(replace(o, expert=e, title=titled(o, e)) for e in experts for o in plain)
    kind = file_kind(adapter, kind)
    found = [layout for layout in LAYOUTS if _pipeline_reads(spec, kind, layout) and _comfyui_reads(spec, adapter, layout)]
    order = [spec.comfyui or "kohya", "comfyui"] if not spec.pipeline_reads_originals else ["comfyui", spec.comfyui]
    if found:
        chosen = [min(found, key=lambda layout: order.index(layout) if layout in order else len(order))]
    elif _comfyui_reads(spec, adapter, "diffusers"):
        chosen = ["diffusers"]
    else:  # the pipeline's own loader first, where it takes this kind at all
        comfyui = next((layout for layout in dict.fromkeys((*order, *LAYOUTS)) if layout and _comfyui_reads(spec, adapter, layout)), None)
        chosen = list(dict.fromkeys(["diffusers", comfyui] if _pipeline_reads(spec, kind, "diffusers") else [comfyui, "diffusers"]))
        chosen = [layout for layout in chosen if layout]
    several = len(chosen) == 2
    ends = {layout: "-comfyui" if _comfyui_reads(spec, adapter, layout) else "-diffusers" for layout in chosen} if several else {chosen[0]: ""}  # type: ignore[arg-type]
    if _has_kohya(spec, adapter) and "kohya" not in chosen:
        chosen.append("kohya")
    return tuple(_offer(spec, kind, adapter, layout, ends.get(layout, f"-{layout}")) for layout in chosen)  # type: ignore[arg-type]


def offer_for(file: Path, spec: FamilySpec, plugins: Path | None = None) -> Offer:
    """The layout that most programs read for the kind of adapter in `file`.  Raises ValueError for a file that holds none."""
    kind = foreign.kind_of(layouts.names_in(file))
    return offers(spec, kind, registry.get("adapters", kind, plugins))[0]


def readers(spec: FamilySpec, kind: str, adapter: ModuleType, layout: Layout) -> Offer:
    """Who reads an adapter of this family and kind in this layout."""
    return _offer(spec, file_kind(adapter, kind), adapter, layout, "")


def needed(files: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """Of the files in which an adapter can be had, those that serve diffusers and ComfyUI between them, of every expert: what is published."""
    apart = [tuple(o for o in files if o.expert == expert) for expert in dict.fromkeys(o.expert for o in files)]
    return tuple(o for own in apart for o in (own[:2] if own[0].ending else own[:1]))


def _offer(spec: FamilySpec, kind: str, adapter: ModuleType, layout: Layout, ending: str) -> Offer:
    pipeline, comfyui = _pipeline_reads(spec, kind, layout), _comfyui_reads(spec, adapter, layout)
    readers = [spec.pipeline_title] * pipeline + ["ComfyUI"] * comfyui + ["AUTOMATIC1111"] * (layout == "kohya") + ["peft"] * (layout == "diffusers" and not pipeline)
    if ending == "-kohya":  # beside one that the others read already
        readers = ["AUTOMATIC1111", "kohya's scripts"]
    return Offer(layout, " and ".join([", ".join(readers[:-1]), readers[-1]] if readers[1:] else readers), ending, pipeline, comfyui)


def _pipeline_reads(spec: FamilySpec, kind: str, layout: Layout) -> bool:
    if layout == "diffusers":
        return kind in spec.pipeline_loads
    return kind == "lora" and kind in spec.pipeline_loads and (spec.kohya is not None and spec.pipeline_reads_kohya if layout == "kohya" else spec.pipeline_reads_originals)


def _comfyui_reads(spec: FamilySpec, adapter: ModuleType, layout: Layout) -> bool:
    if adapter.KOHYA == "never":
        return False
    if layout == "kohya":
        return _has_kohya(spec, adapter)
    if layout == "comfyui":
        return bool(spec.originals) and spec.comfyui in ("comfyui", "diffusers") and (adapter.KOHYA == "always" or not _joined(spec.originals))
    return spec.comfyui == "diffusers"


def _has_kohya(spec: FamilySpec, adapter: ModuleType) -> bool:
    return spec.kohya is not None and (adapter.KOHYA == "always" or (adapter.KOHYA == "unfused" and not _joined(spec.kohya.originals)))


def _joined(originals) -> bool:
    """Whether the first release holds several layers in one matrix."""
    return any(len(o.parts) > 1 for o in originals)


def unread(spec: FamilySpec, kind: str, adapter: ModuleType) -> str:
    """What to know before this kind is trained with this family: which program will not load it, or that there will be two files; "" for neither."""
    if is_whole(adapter):
        return "The result is a whole denoiser in a folder in diffusers' layout, not a LoRA file: a LoRA loader, ComfyUI's too, does not take it"
    if stands_alone(adapter):
        return f"The result is a {adapter.TITLE} in a folder in diffusers' layout, not a LoRA file"
    files = offers(spec, kind, adapter)
    if any(o.pipeline and o.comfyui for o in files):
        return ""
    pipeline, comfyui = (any(getattr(o, what) for o in files) for what in ("pipeline", "comfyui"))
    if pipeline and comfyui:
        return f"The result comes as two files, one for {files[0].title} and one for {files[1].title}: none serves both"
    able = " and ".join(dict.fromkeys(o.title for o in files))
    cannot = " and ".join(name for name, can in ((f"the loader of {spec.pipeline_title}", pipeline), ("ComfyUI", comfyui)) if not can)
    return f"{adapter.TITLE} with {spec.title} is for {able}: {cannot} cannot load it, but can load a LoRA"


def adapter_file(checkpoint: Path) -> Path:
    """The file of a checkpoint that is meant for use: the averaged weights where there are some."""
    averaged = checkpoint / "ema.safetensors"
    return averaged if averaged.is_file() else checkpoint / "adapter.safetensors"


def deliver(checkpoint: Path, target: Path, metadata: dict[str, str], half: bool, spec: FamilySpec, layout: Layout, expert: Expert | None = None) -> None:
    """Writes `target`, whole or not at all, mode 0644; equal checkpoints give equal bytes.  half: as fp16 instead of fp32.

    expert: of two denoisers, the one whose adapter it is; the names are then those of a model with one, as programs want them.  Raises ValueError when a weight does not fit fp16, or the family or kind of adapter has no such layout.
    """
    tensors, said = layouts.read(adapter_file(checkpoint))
    tensors, header = layouts.bake(tensors, json.loads(said.get(LORA_HEADER, "{}")))
    if expert:
        tensors, header = ({f"{spec.denoiser}.{k.split('.', 1)[1]}": v for k, v in found.items() if k.split(".", 1)[0] == expert.folder} for found in (tensors, header))
        metadata = {**metadata, EXPERT_HEADER: expert.folder}
    if half:
        tensors = {name: _halved(name, t) for name, t in tensors.items()}
    write(target, tensors, header, metadata, spec, layout)


def write(target: Path, tensors: layouts.Arrays, header: dict, metadata: dict[str, str], spec: FamilySpec, layout: Layout) -> None:
    """Writes a baked adapter in diffusers' layout to `target` in the layout that was asked for.  Raises ValueError where there is none."""
    laid, text = laid_out(tensors, header, spec, layout)
    made = {k: v if v.flags.c_contiguous else np.ascontiguousarray(v) for k, v in laid.items()}
    write_atomic(target, stamp_hash(save(made, {**metadata, "format": "pt", **text})))


def laid_out(tensors: layouts.Arrays, header: dict, spec: FamilySpec, layout: Layout) -> tuple[layouts.Arrays, dict[str, str]]:
    """(tensors, metadata) of a baked adapter in the layout that was asked for.  Raises ValueError where there is none."""
    settings = json.dumps(header, sort_keys=True)
    if layout == "diffusers":
        named = layouts.with_clip_root(tensors, header, spec)
        return layouts.for_comfyui_too(named, spec) if spec.comfyui == "diffusers" else named, {LORA_HEADER: settings}
    if layout == "comfyui":
        return layouts.to_comfyui(tensors, spec), {} if _joined(spec.originals) else {KOHYA_HEADER: settings}
    made = layouts.to_kohya(tensors, spec)
    if _joined(spec.kohya.originals):  # type: ignore[union-attr]  # the header would speak of other layers
        return made, {}
    told = {layouts.kohya_stem(*layer.split(".", 1), spec): layer for layer in layouts.by_layer(tensors)}  # type: ignore[arg-type, call-arg]
    stems = {name.split(".", 1)[0] for name in made}
    return made, {KOHYA_HEADER: settings, LAYERS_HEADER: json.dumps({k: v for k, v in told.items() if k in stems}, sort_keys=True)}


def relaid(source: Path, target: Path, spec: FamilySpec, layout: Layout, names: foreign.Names) -> None:
    """An adapter's file written again in another layout; its other metadata stays.  names: see foreign.to_diffusers.  Raises ValueError."""
    tensors, said = layouts.read(source)
    tensors, header = foreign.to_diffusers(tensors, said, spec, names)
    kept = {k: v for k, v in said.items() if k not in (LORA_HEADER, KOHYA_HEADER, LAYERS_HEADER)}
    write(target, tensors, header, kept, spec, layout)


def _halved(name: str, tensor: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        small = tensor.astype(np.float16)
    if not np.isfinite(small).all():
        raise ValueError(f"{name} holds values that do not fit fp16; train with a lower learning rate, or with model.dtype fp32")
    return small
