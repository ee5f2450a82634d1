"""What a picture of a drawing job or of the Playground is made from: the pictures that a shot names, at the size that is drawn."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from PIL import Image, ImageOps

from ..data import datasets, pictures
from ..data.clips import on_screen
from ..data.controls import Control
from ..data.datasets import Picture
from ..data.editing import SHAPE_ERROR
from ..data.memory import hash_of
from ..data.treatment import PLAIN, Treatment
from ..family import FamilySpec
from ..home import Home
from ..plan.shots import MadeFrom, Shot
from .buckets import crop_to
from .references import Reference

Source = tuple[Control, Treatment]
Size = tuple[int, int]


def check(shot: Shot, spec: FamilySpec, home: Home, picture: str = "") -> None:
    """Nothing, or ValueError where the model cannot make a shot from what it names.  Raises OSError."""
    begins, takes, asked = spec.first_frame or spec.may_begin, spec.references, shot.made_from
    if asked and not begins and takes is None:
        raise ValueError(f"made_from names pictures, but {spec.title} draws from words alone; leave it empty")
    if not asked:
        if takes and takes.needed:
            raise ValueError(f"{spec.title} draws nothing without a picture that it is made from; name one in made_from")
        if spec.first_frame and not picture:
            raise ValueError(f"{spec.title} makes a clip from its first frame; name a picture to begin with")
        return
    if shot.beside:
        raise ValueError("made_from names pictures, but a network beside the base model is shown pictures of its own; leave made_from empty")
    if begins and shot.frames == 1 and not spec.first_frame:
        raise ValueError("made_from names the picture that a clip begins with, but frames is 1; raise it, or leave made_from empty")
    most = takes.most if takes else 1
    count = sum(len(_sources(use, home)) for use in asked) if takes else len(asked)
    if count > most:
        raise ValueError(f"made_from comes to {count} pictures, and {spec.title} takes {most}; leave some of them out")


def sized(shot: Shot, home: Home, divisor: int) -> Shot:
    """The shot at the size that is drawn: where it keeps the shape of what it is made from, with about as many px as it asks for."""
    if not (shot.made_from and shot.keep_shape):
        return shot
    width, height = _shape(shot.made_from[0], home)
    scale = math.sqrt(shot.width * shot.height / (width * height))
    width, height = (max(divisor, round(side * scale / divisor) * divisor) for side in (width, height))
    return shot.model_copy(update={"width": width, "height": height})


def references(shot: Shot, family: ModuleType, home: Home) -> tuple[Reference, ...]:
    """What a shot of this size is made from, one by one: what has its shape is cut to it, as training cuts it; the others are shown whole."""
    found = []
    leading = _shape(shot.made_from[0], home) if shot.made_from and shot.keep_shape else (shot.width, shot.height)
    for control, treatment in (source for use in shot.made_from for source in _sources(use, home)):
        alike = abs(control.width * leading[1] / (control.height * leading[0]) - 1) <= SHAPE_ERROR
        cut = crop_to(control.width, control.height, (shot.width, shot.height)) if alike else None
        size = (shot.width, shot.height) if alike else (control.width, control.height)
        width, height = family.reference_size(*size)
        found.append(Reference(control, treatment, cut, width, height, family.SPEC.references.cuts))
    return tuple(found)


def first_frame(shot: Shot, home: Home) -> Image.Image:
    """The picture that a clip begins with, cut to its size; of a clip of a dataset the first frame that is learnt."""
    use = shot.made_from[0]
    if not use.dataset:
        image = pictures.load_pixels(_file(use))
    else:
        found = _picture(use, home)
        image = next(on_screen(found.path, [found.treatment.start_s])) if found.seconds else pictures.load_pixels(found.path)
        image = found.treatment.apply(image)
    return ImageOps.fit(image, (shot.width, shot.height), Image.Resampling.LANCZOS)


def named(shot: Shot, spec: FamilySpec, home: Home) -> list[tuple[str, str]]:
    """[(name, sha256 of the file)] of what a shot is made from."""
    if spec.references:
        return [(control.name or control.path.name, control.sha256) for use in shot.made_from for control, _ in _sources(use, home)]
    return [(use.picture, _picture(use, home).sha256) if use.dataset else (_file(use).name, _looked_at(_file(use))[0]) for use in shot.made_from]


def _sources(use: MadeFrom, home: Home) -> list[Source]:
    """What a pair of a dataset is made from, a picture without any itself, or a file.  Raises ValueError, OSError."""
    if not use.dataset:
        file = _file(use)
        sha256, size = _looked_at(file)
        return [(Control(file, sha256, *size, file.name), PLAIN)]
    found = _picture(use, home)
    if found.seconds:
        raise ValueError(f"{use.picture} is a clip, and an edit is made from still pictures; choose another one")
    controls = found.references or (Control(found.path, found.sha256, found.width, found.height, found.id),)
    return [(control, found.treatment) for control in controls]


def _shape(use: MadeFrom, home: Home) -> Size:
    """Width and height of a file or of a dataset's picture, which of a pair is the one after."""
    if not use.dataset:
        return _looked_at(_file(use))[1]
    found = _picture(use, home)
    return found.width, found.height


def _picture(use: MadeFrom, home: Home) -> Picture:
    found = datasets.resolve(home, use.dataset).get(use.picture)
    if not found.usable:
        raise ValueError(f"{use.picture} of {use.dataset} is not learnt, so nothing is made from it; choose another one")
    return found


def _file(use: MadeFrom) -> Path:
    file = Path(use.picture).expanduser()
    if not file.is_file():
        raise ValueError(f"made_from names {use.picture!r}, but there is no such file")
    return file


def _looked_at(file: Path) -> tuple[str, Size]:
    """(sha256, size in px) of a picture's file, which is read anew where it has changed."""
    found = file.stat()
    return _read(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _read(file: Path, changed_ns: int, size: int) -> tuple[str, Size]:
    return hash_of(file), pictures.load_pixels(file).size
