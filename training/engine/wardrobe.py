"""Adapters out of files, on and off a base model between two pictures, at any strength: what was put on stays loaded for the next time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import nn

from ..family import FamilySpec
from ..formats import foreign, layouts
from . import adapter_files

MOST = 12  # adapters that stay loaded; the one that was longest not worn goes first
ONLY_WHOLE = "OFT"  # peft's kind of adapter whose effect has no strength: it rotates

Key = tuple[str, int, int]  # path, time of change, size of a file


class Wardrobe:
    """What `modules` ({folder: module}) can wear.  settle: called after an adapter was put in, where blocks wait elsewhere."""

    def __init__(self, modules: Mapping[str, nn.Module], spec: FamilySpec, warn: Callable[[str], None], settle: Callable[[], None]):
        self.modules, self.spec, self.warn, self.settle = dict(modules), spec, warn, settle
        self._names: dict[Key, str] = {}  # in the order of their last use
        self._made = 0

    def wear(self, wanted: Sequence[tuple[Path, float]]) -> None:
        """The modules answer with these adapters, each at its strength, and no other; a file that is named twice acts with both strengths.

        Raises ValueError for a file that does not fit.
        """
        strengths: dict[str, float] = {}
        for file, strength in wanted:
            if strength:
                name = self._name(file)
                strengths[name] = strengths.get(name, 0.0) + strength
        self._say(strengths)
        for layer in self._layers():
            _set(layer, {name: s for name, s in strengths.items() if s and name in _names_in(layer)})
        for module in self.modules.values():
            module.requires_grad_(False)
        for name in [n for n in self._names.values() if n not in strengths][: max(0, len(self._names) - MOST)]:
            self._throw_away(name)

    def forget(self) -> None:
        """Nothing is worn, and nothing stays: a file whose adapter was put on some of the modules only is put on all the next time."""
        for name in list(self._names.values()):
            self._throw_away(name)

    def _name(self, file: Path) -> str:
        """What the adapter of a file is called on the modules; it is put in where it is not there yet."""
        found = file.stat()
        key = (str(file), found.st_mtime_ns, found.st_size)
        name = self._names.pop(key, "")
        if not name:
            self._made += 1
            name = f"worn{self._made}"
            try:
                adapter_files.load(file, self.modules, self.spec, name)
                if less := foreign.left_out(file, layouts.names_in(file), self.spec):
                    self.warn(less)
            except ValueError:
                self._throw_away(name)  # it may be on some modules already
                raise
            self.settle()
        self._names[key] = name
        return name

    def _say(self, strengths: Mapping[str, float]) -> None:
        for module in self.modules.values():
            for name, told in getattr(module, "peft_config", {}).items():
                strength = strengths.get(name, 1.0)
                if getattr(told.peft_type, "value", told.peft_type) == ONLY_WHOLE and strength not in (0.0, 1.0):
                    raise ValueError(f"the strength of an OFT is {strength:g}, but it rotates the base model's weights, so it acts whole or not at all; use 1 or 0")
                if getattr(told, "use_dora", False) and strength not in (0.0, 1.0):
                    self.warn("the strength of a DoRA acts as in diffusers: on its direction, while the learnt lengths of the weights count in full")

    def _layers(self) -> Iterator:
        from peft.tuners.tuners_utils import BaseTunerLayer

        for module in self.modules.values():
            yield from (layer for layer in module.modules() if isinstance(layer, BaseTunerLayer))

    def _throw_away(self, name: str) -> None:
        for layer in list(self._layers()):
            if name in _names_in(layer):
                layer.delete_adapter(name)
        for module in self.modules.values():
            getattr(module, "peft_config", {}).pop(name, None)
        self._names = {key: n for key, n in self._names.items() if n != name}


def reaches_text(file: Path, spec: FamilySpec) -> bool:
    """Whether a file holds something for a text encoder, in any program's layout."""
    prefixes = adapter_files.text_prefixes(spec)
    return any(name.startswith(prefixes) for name in layouts.names_in(file)) if prefixes else False


def _names_in(layer) -> set[str]:
    """The adapters that a layer of peft's carries."""
    return {name for attribute in layer.adapter_layer_names for name in getattr(layer, attribute)}


def _set(layer, strengths: Mapping[str, float]) -> None:
    layer.enable_adapters(bool(strengths))
    if not strengths:
        return
    layer.set_adapter(list(strengths))
    for name, strength in strengths.items():
        if name in getattr(layer, "scaling", {}):
            layer.set_scale(name, strength)
