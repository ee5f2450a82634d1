"""The heavy libraries of a training, imported at once: without the garbage collector, and without what the run has no use for.

Only for a process of its own, because what is left out here stays unknown to diffusers, transformers and peft for as long as it lives.
Measured on two cores with diffusers 0.42: 4.6 s as they come, 3.6 s without the libraries that quantise (and 50 MB less), 2.9 s
without the collector too; leaving the process took 0.9 s and takes 0.1 s.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

from ..config import DrawingConfig, TrainConfig
from ..family import FamilySpec
from ..formats.basemodel import single_file
from ..plan.layers import local_folder

QUANTISING = ("bitsandbytes", "torchao")  # bitsandbytes alone brings the compiler of torch with it


def load(config: TrainConfig | DrawingConfig, spec: FamilySpec, optimizer: ModuleType | None = None) -> None:
    """Imports them; what came before stays as it is."""
    if "diffusers" in sys.modules:
        return
    with _uncollected(), _unknown(() if _may_quantise(config, spec, optimizer) else QUANTISING):
        for name in ("torch", "diffusers.models.modeling_utils", "peft", "transformers"):
            importlib.import_module(name)
        _settle()


def _may_quantise(config: TrainConfig | DrawingConfig, spec: FamilySpec, optimizer: ModuleType | None) -> bool:
    """Whether 8-bit or 4-bit weights or optimizers can come up: asked for, or in the base model itself, or not to be known yet."""
    m = config.model
    asked = {m.quantise, m.quantise_text} != {"none"} or not set(QUANTISING).isdisjoint(getattr(optimizer, "NEEDS", ()))
    folder = None if asked or single_file(m.source) else local_folder(m.source, m.revision)
    if folder is None:
        return True
    configs = [folder / name / "config.json" for names in spec.without(m.leave_out).parts.values() for name in names]
    return any(not file.is_file() or b"quantization_config" in file.read_bytes() for file in configs)


def _settle() -> None:
    """peft and transformers look for these libraries when they first need to know, and remember; diffusers has looked already."""
    from peft import import_utils as peft
    from transformers.utils import import_utils as transformers

    for there in (peft.is_bnb_available, peft.is_bnb_4bit_available, peft.is_torchao_available, transformers.is_bitsandbytes_available, transformers.is_torchao_available):
        there()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Modules live as long as the process; looking through them for garbage, now or later, finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _unknown(names: tuple[str, ...]) -> Iterator[None]:
    """Inside, these modules cannot be found (None in sys.modules is Python's own way to say so); afterwards whoever wants one can import it."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
