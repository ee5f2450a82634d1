"""For which family of models an adapter's file is, told by its own word and by the names of its layers.  No torch.

Families whose first releases name their layers alike (one is often made from the other) cannot be told apart by names; all of them come back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .. import registry
from ..family import FamilySpec
from .foreign import DOTTED, FLAT, FLAT_TEXT, enclosed, normal
from .layouts import BESIDE, CLIP_ROOT, TENSOR

DENOISERS = ("unet", "transformer", "transformer_2")  # folders that stand in front of a layer in diffusers' layout


def families_of(names: Iterable[str], metadata: Mapping[str, str], plugins: Path | None = None) -> list[FamilySpec]:
    """The families that a file with tensors of these names may be for, likeliest first; [] where none has such layers."""
    stems = stems_of(names)
    specs = [p.module.SPEC for p in registry.find("families", plugins).values() if p.ok] if stems else []
    fitting = [spec for spec in specs if all(map(known_to(spec), stems))]
    said = metadata.get("modelspec.architecture", "").split("/")[0].lower()
    own = [spec for spec in fitting if said and spec.architecture.lower() == said]
    return own or fitting


def stems_of(names: Iterable[str]) -> list[str]:
    """Layers of a file by the names that it has for them, without those that stand there a second time for ComfyUI."""
    found = {m["layer"] for m in (TENSOR.fullmatch(normal(name)) for name in names) if m}
    dotted = {stem for stem in found if not stem.startswith(BESIDE)}
    return sorted(dotted if any(stem.split(".", 1)[0] in DENOISERS for stem in dotted) else found)


def known_to(spec: FamilySpec) -> Callable[[str], bool]:
    """A function: whether this family has a layer that a file would name so."""
    plain, flat = _pattern(spec, False), _pattern(spec, True)
    texts = spec.parts["text"]

    def knows(stem: str) -> bool:
        if enclosed(stem, spec):
            return True
        for start, number in FLAT_TEXT.items():
            if stem.startswith(start):
                alone = start != "lora_te_" or len(spec.trainable_text) < 2
                return alone and number < len(texts) and texts[number] in spec.trainable_text
        module, _, rest = stem.partition(".")
        if module.startswith("text_encoder") or stem.startswith(CLIP_ROOT):
            return module in spec.trainable_text
        start = next((s for s in FLAT if stem.startswith(s)), "")
        if start:
            return bool(flat.fullmatch(stem.removeprefix(start)))
        start = next((s for s in DOTTED if stem.startswith(s)), "")
        if not start and module in DENOISERS:
            return module in spec.parts["denoiser"] and bool(plain.fullmatch(rest))
        return bool(plain.fullmatch(stem.removeprefix(start)))

    return knows


def count_of_denoiser(names: Iterable[str], spec: FamilySpec) -> int:
    """How many of the denoiser's layers, as diffusers has them, a file with tensors of these names is for."""
    originals = (*spec.originals, *(spec.kohya.originals if spec.kohya else ()), *spec.known)
    joined = [(re.compile(re.escape(name).replace(r"\{n\}", r"\d+")), len(o.parts)) for o in originals if o.parts[1:] for name in (o.name, o.name.replace(".", "_"))]
    found = 0
    for stem in stems_of(names):
        module = stem.partition(".")[0]
        if not (enclosed(stem, spec) or stem.startswith((*FLAT_TEXT, CLIP_ROOT)) or module.startswith("text_encoder")):
            rest = stem.removeprefix(next((s for s in (*FLAT, *DOTTED, *(f"{d}." for d in DENOISERS)) if stem.startswith(s)), ""))
            found += next((parts for name, parts in joined if name.fullmatch(rest)), 1)
    return found


def _pattern(spec: FamilySpec, flat: bool) -> re.Pattern:
    """Of every name that a layer of the denoiser can have in a file."""
    originals = (*spec.originals, *(spec.kohya.originals if spec.kohya else ()), *spec.known)
    names = {*(o.name for o in originals), *(part for o in originals for part in o.parts)}
    texts = [re.escape(n.replace(".", "_") if flat else n).replace(r"\{n\}", r"\d+") for n in sorted(names)]
    marks = [spec.marks.replace(".", "_") if flat else spec.marks.replace(".", r"\.")] if spec.marks else []
    return re.compile("|".join([*texts, *marks]) or r"(?!)")


def one_family(names: Iterable[str], metadata: Mapping[str, str], wanted: str, plugins: Path | None = None) -> FamilySpec:
    """The family that was named, or the only one that fits.  Raises ValueError where none or several do.

    An edit model that was made from another one names its layers as that does, and is converted alike: there it is the one that draws from words alone.
    """
    if wanted:
        return registry.get("families", wanted, plugins).SPEC
    found = families_of(names, metadata, plugins)
    plain = [spec for spec in found if not (spec.references or spec.first_frame)]
    if len(plain) == 1 and all(_laid_out(spec) == _laid_out(plain[0]) for spec in found):
        return plain[0]
    if len(found) != 1:
        seen = f"may be for {' or '.join(s.title for s in found)}" if found else "has layers of no family that is known here"
        raise ValueError(f"the file {seen}; say which model family it is for")
    return found[0]


def _laid_out(spec: FamilySpec) -> tuple:
    """What a file of the denoiser's layers is converted by."""
    return spec.parts["denoiser"], spec.originals, spec.kohya and (spec.kohya.originals, spec.kohya.prefixes.get(spec.denoiser))
