"""Adapters from files: into fresh modules as a user's program would load them, or as the start of a new run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from ..family import FamilySpec
from ..formats import foreign, layouts
from ..formats.adapting import is_whole, put, stands_alone
from ..formats.deliver import LORA_HEADER
from ..formats.halves import expert_of, together
from ..runs.adapters import place
from ..runs.context import Context


def load(file: Path, modules: dict[str, nn.Module], spec: FamilySpec, name: str = "default") -> dict[str, list[str]]:
    """{folder: layers} of the adapters that `file`, in any layout, puts into `modules` under a name that is not taken.  Raises ValueError where something does not fit."""
    tensors, header = _read(file, modules, spec)
    found = {}
    for prefix in sorted({k.split(".", 1)[0] for k in tensors}):
        if prefix not in modules:
            raise ValueError(f"{file.name} also holds an adapter for {prefix}, which was not loaded")
        own = {k.removeprefix(prefix + "."): torch.from_numpy(v) for k, v in tensors.items() if k.startswith(prefix + ".")}
        told = {k.removeprefix(prefix + "."): v for k, v in header.items() if k.startswith(prefix + ".")}
        found[prefix] = put(modules[prefix], own, told, name)
    return found


def load_denoiser(file: Path, denoiser: nn.Module, spec: FamilySpec, name: str) -> list[str]:
    """As load(), of what `file` holds for the denoiser alone.  Raises ValueError where something does not fit."""
    tensors, header = _read(file, {spec.denoiser: denoiser}, spec, text_prefixes(spec))
    own = {k.removeprefix(f"{spec.denoiser}."): torch.from_numpy(v) for k, v in tensors.items()}
    told = {k.removeprefix(f"{spec.denoiser}."): v for k, v in header.items() if k.startswith(f"{spec.denoiser}.")}
    return put(denoiser, own, told, name) if own else []


def text_prefixes(spec: FamilySpec) -> tuple[str, ...]:
    """How the names begin of what a file, in any program's layout, has for a text encoder of the family."""
    kohya = tuple(f"{p}_" for name, p in (spec.kohya.prefixes if spec.kohya else {}).items() if name in spec.trainable_text)
    return (*(f"{name}." for name in spec.trainable_text), *kohya)


def start(source: str, adapter: ModuleType, modules: dict[str, nn.Module], spec: FamilySpec, ctx: Context) -> None:
    """Fills the fresh adapters of `modules` with those of `source` (adapter.start_from).

    Raises ValueError when it is not there, or when kind, layers or ranks are not those of this run.
    """
    place = find(source, ctx, pairs=bool(spec.experts))
    if stands_alone(adapter):
        return _start_whole(place, adapter, modules)
    if place.is_dir():
        raise ValueError(f"adapter.start_from is {source!r}, a folder; name the .safetensors file in it")
    tensors = {k: v for half in together(place, spec) for k, v in _read(half, modules, spec)[0].items()}
    _refuse_other_denoisers(source, {k.split(".", 1)[0] for k in tensors}, modules, spec)
    idle = {e.folder for e in spec.experts} - modules.keys()
    tensors = {k: v for k, v in tensors.items() if k.split(".", 1)[0] not in idle}
    header = {k: v for name, module in modules.items() for k, v in adapter.settings(module, name).items()}
    mine = {k: v for name, module in modules.items() for k, v in adapter.tensors(module, name).items()}
    _refuse_others(source, tensors, mine)
    if less := foreign.left_out(place, layouts.names_in(place), spec):
        ctx.warn(less)
    # the file's strength lies in its weights, this run's in alpha: divided out, both act alike
    by_name = layouts.scales(mine, header)
    ready = {k: torch.from_numpy(v.astype(np.float32)) / by_name.get(k, 1.0) for k, v in tensors.items()}
    for name, module in modules.items():
        adapter.restore(module, ready, name)


def find(source: str, ctx: Context, setting: str = "adapter.start_from", pairs: bool = False) -> Path:
    """The file or folder that a setting means, as training.runs.adapters.place says.  pairs: see hub.download.lora_file.  Raises ValueError that names the setting."""
    token = ctx.secrets.get("hf_token")
    try:
        return place(source, ctx.home, token.reveal() if token else None, lambda: ctx.phase("downloading the adapter"), pairs)
    except ValueError as error:
        raise ValueError(f"{setting} is {source!r}, but {error}") from None


def _read(file: Path, modules: dict[str, nn.Module], spec: FamilySpec, without: tuple[str, ...] = ()) -> tuple[layouts.Arrays, dict]:
    """without: how the names begin of tensors that are left out."""
    tensors, said = layouts.read(file)
    tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(without)} if without else tensors
    names = lambda folder: [n.replace(".base_layer", "") for n, _ in modules[folder].named_modules()] if folder in modules else []
    stored = list(tensors)
    tensors, header = foreign.to_diffusers(tensors, said, spec, names)
    if spec.experts and {k.split(".", 1)[0] for k in tensors} == {spec.denoiser}:  # one of two files; a checkpoint of ours holds both
        folder = expert_of(file, stored, said, spec).folder
        tensors, header = ({f"{folder}.{k.split('.', 1)[1]}": v for k, v in found.items()} for found in (tensors, header))
    return {foreign.as_named_here(k, spec, names): v for k, v in tensors.items()}, header


def _refuse_other_denoisers(source: str, theirs: set[str], modules: Mapping[str, nn.Module], spec: FamilySpec) -> None:
    """Raises ValueError where a denoiser that learns is not among theirs; what the file has for one that does not is left out."""
    mine, there = ([e.called for e in spec.experts if e.folder in found] for found in (modules.keys(), theirs))
    if missing := [called for called in mine if called not in there]:
        has = f"is for the denoiser {there[0]!r}" if len(there) == 1 else "is for neither of the two denoisers"
        cure = f"put its file for {missing[0]!r} beside it, under the same name, or set loss.expert to {there[0]!r}" if there else "name a file that is"
        raise ValueError(f"adapter.start_from is {source!r}, which does not fit this run: it {has}, and this run trains {' and '.join(map(repr, mine))}; {cure}")


def _refuse_others(source: str, theirs: layouts.Arrays, mine: dict[str, Tensor]) -> None:
    """Raises ValueError that says in which way the file is not like this run's adapter."""
    start = f"adapter.start_from is {source!r}, which does not fit this run"
    their_kinds, my_kinds = ({k.rsplit(".", 2 if k.endswith(".weight") else 1)[1] for k in found} for found in (theirs, mine))
    if their_kinds != my_kinds and not (their_kinds & my_kinds):
        raise ValueError(f"{start}: it is another kind of adapter (it has {', '.join(sorted(their_kinds))}; this run trains {', '.join(sorted(my_kinds))}); change adapter.type")
    modules = [{k.split(".", 1)[0] for k in found} for found in (theirs, mine)]
    if modules[0] != modules[1]:
        what = [" and ".join(sorted(m)) for m in modules]
        raise ValueError(f"{start}: it is for {what[0]}, and this run trains {what[1]}; set adapter.text_encoder accordingly")
    for key in sorted(mine):
        if key in theirs and theirs[key].shape != tuple(mine[key].shape):
            raise ValueError(
                f"{start}: {key} is {'x'.join(map(str, theirs[key].shape))} there and {'x'.join(map(str, mine[key].shape))} here; "
                "set adapter.rank (or factor, block_size, rank_patterns) to what it was trained with"
            )
    odd = sorted(set(theirs) ^ set(mine))
    if odd:
        where = "in it but not in this run" if odd[0] in theirs else "in this run but not in it"
        raise ValueError(f"{start}: {odd[0]} is {where} ({len(odd)} such tensors); set adapter.targets, include and exclude to what it was trained with")


def _start_whole(place: Path, adapter: ModuleType, modules: dict[str, nn.Module]) -> None:
    """place: a file of weights, a checkpoint's with names that carry the folder, or a folder in diffusers' layout."""
    from safetensors.torch import load_file

    for name, module in modules.items():
        if place.is_file():
            saved = load_file(place)
            if not hasattr(adapter, "inward") and not any(k.startswith(f"{name}.") for k in saved):
                saved = {f"{name}.{k}": v for k, v in saved.items()}
        else:
            files = sorted((place / name).glob("*.safetensors")) or sorted(place.glob("*.safetensors"))
            if not files:
                raise ValueError(f"adapter.start_from is the folder {place.name!r}, which holds no weights of a {name}")
            saved = {k: v for file in files for k, v in load_file(file).items()}
            if not hasattr(adapter, "inward"):
                learning = {f"{name}.{key}" for key, p in module.named_parameters() if p.requires_grad} if is_whole(adapter) else set(adapter.tensors(module, name))
                saved = {f"{name}.{k}": v for k, v in saved.items() if f"{name}.{k}" in learning}
        adapter.restore(module, adapter.inward(saved, name) if hasattr(adapter, "inward") else saved, name)


def headers(adapter: ModuleType, modules: dict[str, nn.Module]) -> dict[str, str]:
    """Metadata of a checkpoint's adapter file."""
    told = {k: v for name, module in modules.items() for k, v in adapter.settings(module, name).items()}
    return {"format": "pt", LORA_HEADER: json.dumps(told, sort_keys=True, default=str)}
