"""What the adapters share: layers chosen by name, peft's layers put around them, their weights taken out and put back.

torch and peft are imported inside the functions: the page lists the adapters without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..family import NAMED_BLOCKS
from .beside import is_beside

UNUSED = ("peft_version", "auto_mapping", "base_model_name_or_path")  # of a peft config: says nothing about the weights
DROPOUTS = ("lora_dropout", "rank_dropout", "module_dropout")


def chosen_layers(module, config, targets: Sequence[str]) -> list[str]:
    """Names of the layers that get an adapter: those that end on one of `targets`, less what include and exclude say.

    config: AdapterPart.  Raises ValueError when nothing is left, or when a pattern fits no layer.
    """
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    named = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear | _ConvNd) and ends_on(name, targets)]
    if not named:
        raise ValueError(f"adapter.targets is {config.targets!r}, but this base model has no such layers")
    for field, patterns in (("include", config.include), ("exclude", config.exclude)):
        for pattern in patterns:
            if not pattern.startswith(NAMED_BLOCKS) and not any(re.search(pattern, name) for name in named):
                raise ValueError(f"adapter.{field} has {pattern!r}, but no layer's name holds that; a layer is called for example {named[0]}")
    kept = [name for name in named if picks(config, name, targets)]
    if not kept:
        refuse_blocks(config, f"of adapter.targets {config.targets!r}")
        raise ValueError("adapter.include and adapter.exclude together leave no layer; take a pattern out")
    return kept


def refuse_blocks(config, what: str) -> None:
    """Raises ValueError where a named set of blocks is chosen, of which nothing is left."""
    if config.blocks:
        raise ValueError(f"adapter.blocks is {config.blocks!r}, which leaves no layer {what}; choose another set, or other layers that learn")


def in_force(config, spec):
    """An AdapterPart of a run as its layers are chosen by: the named set of blocks is among what it excludes.  config: AdapterPart.

    A set that the family has not is passed over: problems() refuses it where it counts.
    """
    if config.blocks not in spec.blocks:
        return config
    return config.model_copy(update={"exclude": (*config.exclude, *spec.blocks[config.blocks].left_out())})


def picks(config, name: str, targets: Sequence[str]) -> bool:
    """Whether the layer of this name gets an adapter."""
    return ends_on(name, targets) and included(config, name)


def included(config, name: str) -> bool:
    """Whether include and exclude let this name through."""
    return (not config.include or _fits(name, config.include)) and not _fits(name, config.exclude)


def rank_at(config, name: str) -> int:
    """The rank of the layer of this name: that of the first rule that fits, else adapter.rank."""
    return next((rule.rank for rule in config.rank_patterns if re.search(rule.pattern, name)), config.rank)


def ends_on(name: str, endings: Sequence[str]) -> bool:
    """Whether a layer's name ends on one of `endings`, whole parts between dots."""
    return any(name == e or name.endswith("." + e) for e in endings)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(re.search(p, name) for p in patterns)


def is_whole(adapter) -> bool:
    """Whether this kind moves the base model's own weights, so that its result is a denoiser instead of a file beside one."""
    return getattr(adapter, "WHOLE", False)


def file_kind(adapter, kind: str) -> str:
    """The kind of adapter that its file is to every program that reads it: mostly the one that was trained."""
    return getattr(adapter, "FILE", kind)


def stands_alone(adapter) -> bool:
    """Whether its result is a network of its own, in a folder in diffusers' layout, and not a file that changes the base model."""
    return is_whole(adapter) or is_beside(adapter)


def problems(config, plugins=None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of settings that a kind of adapter cannot train with.  config: TrainConfig."""
    from .. import registry

    adapter = registry.get("adapters", config.adapter.type, plugins)
    spec = registry.get("families", config.model.family, plugins).SPEC
    if config.adapter.blocks and "blocks" in adapter.USES and config.adapter.blocks not in spec.blocks:
        able = f"there are: {', '.join(spec.blocks)}" if spec.blocks else "there is none for it; leave it empty"
        return [("adapter.blocks", f"is {config.adapter.blocks!r}, which is no set of {spec.title}; {able}")]
    if is_beside(adapter):
        return _problems_beside(config, adapter, registry.get("families", config.model.family, plugins).SPEC)
    if hasattr(adapter, "heed") and config.engine.compile != "off":
        return [("engine.compile", f"is {config.engine.compile!r}, but the adapter {config.adapter.type!r} acts otherwise at each noise level, which compiled blocks would not see; set it to off")]
    if not is_whole(adapter):
        return []
    kind, m = config.adapter.type, config.model
    found = [("model.quantise", f"is {m.quantise!r}, but the adapter {kind!r} moves the base model's own weights, which 8 or 4 bits cannot hold; set it to none")]
    found += [("model.offload", f"is {m.offload:g}, but the adapter {kind!r} moves weights that would wait in RAM; set it to 0")]
    found += [("keep.on", f"is on, but the adapter {kind!r} changes the base model itself, so there is none to ask what it knew; switch it off")]
    return [problem for problem, wrong in zip(found, (m.quantise != "none", m.offload, config.keep.on), strict=True) if wrong]


def _problems_beside(config, adapter, spec) -> list[tuple[str, str]]:
    kind, found = config.adapter.type, []
    if kind not in spec.beside:
        able = f"; beside it can hang: {', '.join(spec.beside)}" if spec.beside else ""
        found.append(("adapter.type", f"is {kind!r}, but there is no {adapter.TITLE} for {spec.title}; choose another kind, such as 'lora', or another base model{able}"))
    if getattr(adapter, "INSIDE", False):
        if config.model.quantise != "none" and not getattr(adapter, "WIDENS", False):
            found.append(("model.quantise", f"is {config.model.quantise!r}, but the layers of an adapter {kind!r} begin as copies of the denoiser's own; set it to none"))
        if config.model.offload:
            found.append(("model.offload", f"is {config.model.offload:g}, but the layers of an adapter {kind!r} lie in the denoiser's blocks; set it to 0"))
        lying = {"model.context_adapter": config.model.context_adapter, "model.training_adapter": config.model.training_adapter, "sample.speed_adapter": config.sample.speed_adapter}
        found += [(path, f"is {source!r}, but the layers of an adapter {kind!r} lie in the denoiser, which no other LoRA can lie on then; leave it empty") for path, source in lying.items() if source]
    if config.keep.on:
        found.append(("keep.on", f"is on, but the adapter {kind!r} leaves the base model as it is, so there is nothing to keep; switch it off"))
    if any(use.prior for use in config.data.datasets):
        found.append(("data.datasets", f"has one that is kept as it is, but the adapter {kind!r} leaves the base model as it is; take that dataset out"))
    return found


def target_modules(module, names: list[str], targets: Sequence[str]) -> list[str] | str:
    """The layers as peft takes them: the short endings where they mean just these layers, else one expression of all names."""
    if {n for n, _ in module.named_modules() if n and ends_on(n, targets)} == set(names):
        return list(targets)
    return "|".join(re.escape(name) for name in names)


def layer_ranks(config, names: list[str]) -> dict[str, int]:
    """{layer: rank} of those layers that adapter.rank_patterns gives another rank.  Raises ValueError when a rule fits no layer."""
    for rule in config.rank_patterns:
        if not any(re.search(rule.pattern, name) for name in names):
            raise ValueError(f"adapter.rank_patterns has {rule.pattern!r}, but no chosen layer's name holds that; a layer is called for example {names[0]}")
    found = {name: rank_at(config, name) for name in names}
    return {name: rank for name, rank in found.items() if rank != config.rank}


def shape_of(module, config, targets: Sequence[str]) -> dict:
    """target_modules, r, rank_pattern and alpha_pattern for a peft config.  alpha follows a layer's rank, so that its strength is that of all."""
    names = chosen_layers(module, config, targets)
    ranks = {exactly(name): rank for name, rank in layer_ranks(config, names).items()}
    alphas = {name: config.alpha * rank / config.rank for name, rank in ranks.items()}
    return {"target_modules": target_modules(module, names, targets), "r": config.rank, "rank_pattern": ranks, "alpha_pattern": alphas}


def exactly(name: str) -> str:
    """The pattern by which peft finds this one layer: without ^ it would also take any layer whose name ends so."""
    return "^" + re.escape(name)


def inject(module, peft_config, seed: int, name: str = "default") -> list[str]:
    """Puts a fresh adapter called `name` into `module`; gives the names of the wrapped layers.  Its weights are fp32 and the only ones that learn."""
    import torch
    from peft import inject_adapter_in_model

    torch.manual_seed(seed)
    inject_adapter_in_model(peft_config, module, name)
    module._hf_peft_config_loaded = True  # by which diffusers and transformers know of an adapter
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapter_layers(module)


def adapter_layers(module) -> list[str]:
    """Names of the layers that carry an adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [name for name, layer in module.named_modules() if isinstance(layer, BaseTunerLayer)]


def parameters(module) -> list:
    """The weights that learn, in a fixed order."""
    return [p for p in module.parameters() if p.requires_grad]


def tensors(module, prefix: str, name: str = "default") -> dict:
    """{key in diffusers' layout: a copy of the tensor} of the adapter as it is now: alpha not baked in, see settings()."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(module, adapter_name=name, save_embedding_layers=False)
    return {f"{prefix}.{k}": v.detach().cpu().contiguous().clone() for k, v in state.items()}


def restore(module, saved: dict, prefix: str) -> None:
    """Puts tensors() back.  saved may hold other modules' tensors too.  Raises ValueError when a key is missing or left over."""
    from peft import set_peft_model_state_dict

    state = {k.removeprefix(prefix + "."): v for k, v in saved.items() if k.startswith(prefix + ".")}
    expected = {k.removeprefix(prefix + "."): v for k, v in tensors(module, prefix).items()}
    odd = set(state) ^ set(expected) or {k for k in expected if expected[k].shape != state[k].shape}
    if odd:
        raise ValueError(f"the saved adapter does not fit this run: {min(odd)!r} is on one side only, or has another size; start a new run")
    set_peft_model_state_dict(module, state)


@contextmanager
def off(module) -> Iterator[None]:
    """Inside: the module answers as the base model does.  Outside: as before.

    The layers' own switch alone: enable_adapters() also goes through all weights to say that they learn or not, which took 3 % of a small model's step.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped = [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    before = [layer._disable_adapters for layer in wrapped]
    for layer in wrapped:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, was in zip(wrapped, before, strict=True):
            layer._disable_adapters = was


@contextmanager
def times(module, strength: float) -> Iterator[None]:
    """Inside: the adapter's effect is `strength` times what it is, also below 0.  For kinds whose effect is a scale times what they learn."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped = [(layer, dict(layer.scaling)) for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    for layer, scaling in wrapped:
        layer.scaling.update({name: scale * strength for name, scale in scaling.items()})
    try:
        yield
    finally:
        for layer, scaling in wrapped:
            layer.scaling.update(scaling)


def settings(module, prefix: str) -> dict:
    """What a file's header says of this module's adapter, by which it is built again: peft's config, JSON-able.

    Without dropout: diffusers puts a loaded adapter's dropout to work even in eval mode, so a file for use must not carry one.
    """
    config = {k: v for k, v in module.peft_config["default"].to_dict().items() if v is not None and k not in UNUSED}
    config |= {k: 0.0 for k in DROPOUTS if k in config}
    plain = {k: sorted(v) if isinstance(v, set) else getattr(v, "value", v) for k, v in config.items()}
    return {f"{prefix}.{k}": v for k, v in plain.items()}


def put(module, state: dict, told: dict, name: str = "default") -> list[str]:
    """Builds the adapter that `told` describes into `module`, beside any of other names, and fills it; gives the layers with adapters.  What diffusers' loader does not take, this does.

    state: {key without prefix: Tensor}; told: settings() without prefix.  Raises ValueError unless every tensor finds its place
    and every place gets one.
    """
    from dataclasses import fields

    from peft import set_peft_model_state_dict
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = str(told.get("peft_type", "LORA"))
    if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise ValueError(f"the file says that it is a {kind!r} adapter, which this version of peft does not know")
    cls = PEFT_TYPE_TO_CONFIG_MAPPING[kind]
    known = {f.name for f in fields(cls) if f.init}
    layers = inject(module, cls(**{k: v for k, v in told.items() if k in known and k != "peft_type"}), 0, name)
    expected = {k.removeprefix("m."): v for k, v in tensors(module, "m", name).items()}
    odd = set(state) ^ set(expected)
    if odd:
        raise ValueError(f"the adapter does not fit this model: {min(odd)!r} is on one side only; is it for this base model?")
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape:
            raise ValueError(f"the adapter does not fit this model: {key} is {tuple(tensor.shape)} there and {tuple(expected[key].shape)} here")
    set_peft_model_state_dict(module, state, adapter_name=name)
    return layers
