"""A LoRA that lies on a distilled base model while it trains, and on nothing else.

Training a distilled model (FLUX.1 schnell) undoes its distillation, and the new LoRA learns that undoing too.  A training adapter
undoes it beforehand: the new LoRA learns the pictures only, and works on the distilled model without the adapter.  It is added to
the outputs of the base's layers rather than merged into their weights: switching it off leaves the base as it was, to the bit.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import ModuleType

from torch import nn

from ..config import ModelPart
from ..family import FamilySpec, Modules
from ..formats import foreign, layouts
from ..formats.adapting import adapter_layers
from ..formats.layouts import names_in
from ..formats.recognise import count_of_denoiser
from ..hub.download import lora_file
from ..runs.context import Context
from . import adapter_files

NAME = "training_adapter"
MAGNITUDES = ("lora_magnitude_vector", "lora_magnitude_vector.weight", "dora_scale")  # of a DoRA, as peft, diffusers and other programs name them


class TrainingAdapter:
    """Acts on the denoiser's layers until off() is entered."""

    def __init__(self, layers: dict[nn.Module, tuple[nn.Module, nn.Module, float]]):
        self.acting = True
        self.layers = len(layers)
        self.parts = [part for down, up, _ in layers.values() for part in (down, up)]
        self._hooks = [layer.register_forward_hook(self._adding(down, up, scale)) for layer, (down, up, scale) in layers.items()]

    def _adding(self, down: nn.Module, up: nn.Module, scale: float):
        def add(layer, args, answer):
            if not self.acting:
                return answer
            if down.weight.device != args[0].device:  # read beside a block that waits in RAM
                down.to(args[0].device), up.to(args[0].device)
            return answer + (up(down(args[0].to(down.weight.dtype))) * scale).to(answer.dtype)

        return add

    def remove(self) -> None:
        """It never acts again, and leaves no trace."""
        for hook in self._hooks:
            hook.remove()

    @contextlib.contextmanager
    def off(self):
        """Inside, the base model is as it was loaded."""
        before, self.acting = self.acting, False
        try:
            yield
        finally:
            self.acting = before


def attach(model: ModelPart, family: ModuleType, m: Modules, ctx: Context) -> TrainingAdapter:
    """The config's training adapter on m.denoiser, which carries no other adapter yet; without one, one that does nothing.

    Raises ValueError.
    """
    if not model.training_adapter:
        return TrainingAdapter({})
    ctx.phase("loading the training adapter")
    token = ctx.secrets.get("hf_token")
    file = lora_file(model.training_adapter, token.reveal() if token else None)
    try:
        refuse_dora(file)
        found = worn(family, m, file, ctx)
    except ValueError as error:
        raise ValueError(f"the training adapter {error}") from None
    if not found:
        raise ValueError(f"model.training_adapter is {model.training_adapter!r}, but {file.name} holds no LoRA for {family.SPEC.title}; leave it empty, or choose another")
    return TrainingAdapter({m.denoiser.get_submodule(name): parts for name, parts in found.items()})


def refuse_dora(file: Path) -> None:
    """Raises ValueError for a file whose layers also set the length of the base's own weights, which nothing that is added to an output can do."""
    if any(name.endswith(MAGNITUDES) for name in names_in(file)):
        raise ValueError(f"{file.name} is a DoRA, which cannot lie beside the base model's layers; take a LoRA")


def worn(family: ModuleType, m: Modules, file: Path, ctx: Context) -> dict[str, tuple[nn.Module, nn.Module, float]]:
    """As read(), of a LoRA in whatever layout: by diffusers' loader, or by our own where that does not know all layers of the file.  Raises ValueError."""
    names = layouts.names_in(file)
    meant = count_of_denoiser(names, family.SPEC)
    theirs, why = {}, None
    try:
        theirs = read(family, m, file)
    except ValueError as error:
        why = error
    found = theirs
    if len(theirs) < meant:
        try:
            found = max(theirs, read_here(family.SPEC, m.denoiser, file), key=len)
        except (ValueError, KeyError, AttributeError) as ours:
            if not theirs and why is None:
                why = ValueError(f"{file.name} cannot be read for {family.SPEC.title}: {ours}")
    if not found and why:
        raise why
    if found and len(found) < meant:
        ctx.warn(f"{file.name} is for {meant} layers, of which this {family.SPEC.title} has {len(found)}; the others are left out")
    if less := foreign.left_out(file, names, family.SPEC):
        ctx.warn(less)
    return found


def read_here(spec: FamilySpec, denoiser: nn.Module, file: Path) -> dict[str, tuple[nn.Module, nn.Module, float]]:
    """As read(), by our own reader."""
    denoiser.unload_lora()  # what another reader put in before it failed
    try:
        adapter_files.load_denoiser(file, denoiser, spec, NAME)
        found = {}
        for name in adapter_layers(denoiser):
            layer = denoiser.get_submodule(name)
            found[name] = (layer.lora_A[NAME].requires_grad_(False), layer.lora_B[NAME].requires_grad_(False), layer.scaling[NAME])
        return found
    finally:
        denoiser.unload_lora()


def read(family: ModuleType, m: Modules, file: Path) -> dict[str, tuple[nn.Module, nn.Module, float]]:
    """{layer of the denoiser: (down, up, scale)} of a LoRA file; the denoiser is left without it.  Raises ValueError."""
    pipe = family.pipeline(Modules(m.dtype, denoiser=m.denoiser, scheduler=m.scheduler))
    try:
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=NAME)
        found = {}
        for name in adapter_layers(m.denoiser):
            layer = m.denoiser.get_submodule(name)
            found[name] = (layer.lora_A[NAME].requires_grad_(False), layer.lora_B[NAME].requires_grad_(False), layer.scaling[NAME])
    except (ValueError, KeyError, IndexError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{file.name} cannot be read for {family.SPEC.title}: {str(error).splitlines()[0]}") from None
    if found:
        pipe.unload_lora_weights()
    return found
