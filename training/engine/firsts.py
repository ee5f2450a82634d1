"""The picture that a sample clip begins with: one of the run's datasets, by its name; for families whose pipeline goes on from one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import TrainConfig
from ..data import datasets, parts
from ..data.clips import on_screen
from ..data.datasets import Picture
from ..family import FamilySpec
from ..home import Home
from ..plan import prompts
from .buckets import crop_to

if TYPE_CHECKING:
    from PIL.Image import Image


def check(config: TrainConfig, spec: FamilySpec, home: Home) -> None:
    """Nothing, or ValueError where a sample is to begin with a picture that is not there.  Families that draw from words alone are not asked."""
    if can(spec):
        for name in prompts.first_frames(config):
            find(config, home, name)


def can(spec: FamilySpec) -> bool:
    """Whether a family goes on from a picture that a clip begins with."""
    return spec.may_begin or spec.first_frame


def find(config: TrainConfig, home: Home, name: str) -> Picture:
    """The picture or clip of one of the run's datasets with this file name, DATASET/NAME where several have one.  Raises ValueError."""
    known = []
    for use in config.data.datasets:
        ds = parts.taken(home, use).ds
        for picture in ds.pictures():
            if name in (picture.id, f"{ds.name}/{picture.id}") and picture.verdict in ("ok", "out"):
                return picture
            known += [picture.id] * (picture.verdict in ("ok", "out"))
    such = f"; there are: {', '.join(known[:5])}{', …' if len(known) > 5 else ''}" if known else ""
    raise ValueError(f"no picture of the run's datasets is called {name!r}, with which a sample is to begin{such}")


def named(config: TrainConfig, home: Home, name: str, size: tuple[int, int]) -> Image:
    """That picture, or the first frame that is learnt of that clip, scaled to cover `size` and cut around its focus, as training pictures are."""
    from PIL.Image import Resampling

    picture = find(config, home, name)
    image = next(on_screen(picture.path, [picture.treatment.start_s])) if picture.seconds else datasets.load_pixels(picture.path)
    image = picture.treatment.apply(image)
    c = crop_to(*image.size, size, picture.focus)
    return image.resize(c.scaled, Resampling.LANCZOS).crop((c.left, c.top, c.left + c.width, c.top + c.height))
