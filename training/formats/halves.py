"""The two files of an adapter for a model with two denoisers: which of them a file is, and the other one beside it.  No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..family import Expert, FamilySpec
from .layouts import EXPERT_HEADER
from .mapped import Mapped

OTHER = {"high": "low", "low": "high", "hn": "ln", "ln": "hn"}
BEHIND = r"(?:[ _.-](?:\d+steps?|(?:fp|bf)\d+|r(?:ank)?\d+|v\d[\d.]*|lora|comfyui|diffusers))*$"  # what may stand behind a last word
# as people name them, what is surer first: x_high_noise, x-HighNoise; HN-x, x_high, x_HIGH_fp16.  "high_quality" and "low_poly" speak of other things
WORDS = tuple(re.compile(p, re.IGNORECASE) for p in (r"(high|low)(?=[ _-]?noise)", rf"(?:^|(?<=[ _.-]))(?:(hn|ln)(?=[ _.-]|$)|(high|low)(?={BEHIND}))"))


def named(stem: str) -> tuple[str, str]:
    """(what loss.expert calls the denoiser that a file's name speaks of, the name of the file for the other one); "" both where it speaks of none, or of two."""
    for pattern in WORDS:
        said = {word[0].lower() for word in pattern.finditer(stem)}
        if len(said) == 1:
            word = said.pop()
            return {"hn": "high", "ln": "low"}.get(word, word), pattern.sub(_exchanged, stem)
        if said:
            break
    return "", ""


def _exchanged(word: re.Match[str]) -> str:
    other = OTHER[word[0].lower()]
    return other.upper() if word[0].isupper() else other.capitalize() if word[0][0].isupper() else other


def other_name(name: str) -> str:
    """What the file for the other denoiser is called; "" where the name does not say."""
    stem, dot, ending = name.rpartition(".")
    other = named(stem)[1]
    return f"{other}{dot}{ending}" if other else ""


def expert_of(file: Path, names: Iterable[str], said: Mapping[str, str], spec: FamilySpec) -> Expert:
    """The denoiser that a file's adapter is for, by its own header, by its name, or by its tensors' first word.  Raises ValueError where nothing says it.

    names, said: of its tensors and of its header, as they stand in it.
    """
    by_folder = {e.folder: e for e in spec.experts}
    if found := by_folder.get(said.get(EXPERT_HEADER, "")):
        return found
    called = named(file.stem)[0]
    if by_name := [e for e in spec.experts if e.called == called]:
        return by_name[0]
    if all(name.startswith(f"{spec.denoiser}.") for name in names):
        return by_folder[spec.denoiser]
    raise ValueError(f"{file.name} does not say for which of the two denoisers of {spec.title} it is; put high_noise or low_noise into its name")


def half_of(file: Path, names: Iterable[str], said: Mapping[str, str], spec: FamilySpec) -> str:
    """The folder of the denoiser that a file is for; "" for a family with one, and for a checkpoint that holds what both learn.  Raises ValueError where nothing says it."""
    names = list(names)
    if not spec.experts or any(name.startswith(f"{e.folder}.") for e in spec.experts[1:] for name in names):
        return ""
    return expert_of(file, names, said, spec).folder


def lacking(files: Iterable[Path], spec: FamilySpec) -> list[Expert]:
    """The denoisers for which none of the files is; [] where there is no file.  Raises ValueError where one does not say, OSError."""
    found = set()
    for file in files if spec.experts else ():
        mapped = Mapped(file)
        found.add(half_of(file, mapped.entries, mapped.metadata, spec))
    return [e for e in spec.experts if found and not found & {"", e.folder}]


def together(file: Path, spec: FamilySpec) -> list[Path]:
    """The file, and the one for the other denoiser where that lies beside it under the same name."""
    other = other_name(file.name) if spec.experts else ""
    return [file, *([beside] if other and (beside := file.with_name(other)).is_file() else [])]
