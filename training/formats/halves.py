"""The two files of an adapter for a model with two denoisers: which of them a file is, and the other one beside it.  No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..family import Expert, FamilySpec
from .layouts import EXPERT_HEADER

# as people name them: x_high_noise, x-HighNoise, x_high, HN-x
WORDS = {"high": r"high[ _-]?noise|(?:^|[ _.-])(?:high|hn)(?:[ _.-]|$)", "low": r"low[ _-]?noise|(?:^|[ _.-])(?:low|ln)(?:[ _.-]|$)"}


def expert_of(file: Path, names: Iterable[str], said: Mapping[str, str], spec: FamilySpec) -> Expert:
    """The denoiser that a file's adapter is for, by its own header, by its name, or by its tensors' first word.  Raises ValueError where nothing says it.

    names, said: of its tensors and of its header, as they stand in it.
    """
    by_folder = {e.folder: e for e in spec.experts}
    if found := by_folder.get(said.get(EXPERT_HEADER, "")):
        return found
    by_name = [e for e in spec.experts if re.search(WORDS[e.called], file.stem, re.IGNORECASE)]
    if len(by_name) == 1:
        return by_name[0]
    if all(name.startswith(f"{spec.denoiser}.") for name in names):
        return by_folder[spec.denoiser]
    raise ValueError(f"{file.name} does not say for which of the two denoisers of {spec.title} it is; put high_noise or low_noise into its name")


def together(file: Path, spec: FamilySpec) -> list[Path]:
    """The file, and those for the other denoisers that lie beside it under the same name."""
    found = [file]
    for expert in spec.experts:
        before, mark, after = file.name.rpartition(expert.ending)
        if mark:
            found += [other for e in spec.experts if e != expert and (other := file.with_name(f"{before}{e.ending}{after}")).is_file()]
    return found
