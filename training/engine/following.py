"""What a finished run trained beside the denoiser, at work in a studio: the network of its result, and the pictures that it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image

from .. import registry
from ..config import DrawingConfig
from ..data import datasets
from ..data.memory import hash_of
from ..data.treatment import PLAIN, Treatment
from ..family import Modules
from ..formats.beside import is_beside, needs_control
from ..plan.shots import Shot
from ..runs.context import Context
from ..runs.run import Run
from . import side
from .cache import Cache
from .imageprompts import ImagePrompts
from .weights import DTYPES


@dataclass(frozen=True)
class Picture:
    """A picture by a file, and what is done to it first.  Has of an Item what an image encoder asks."""

    path: Path
    sha256: str
    treatment: Treatment = PLAIN

    @property
    def turned(self) -> tuple[str, ...]:
        return ("turned", self.treatment.view) if self.treatment.view else ()

    def load(self) -> Image.Image:
        return self.treatment.apply(datasets.load_pixels(self.path))


class Following:
    """The network of a run's result, in the studio's modules.  inside: it lies in the denoiser, which is another one from then on.

    Raises ValueError in plain words for a run that has none, or that trained on another base model.
    """

    def __init__(self, run: str, config: DrawingConfig, ctx: Context, family: ModuleType, m: Modules, cache: Cache):
        found = Run.open(ctx.home.outputs, run)
        trained, spec = found.config(), family.SPEC
        self.adapter = registry.get("adapters", trained.adapter.type, ctx.home.plugins)
        result = found.result()
        if not is_beside(self.adapter) or result is None:
            raise ValueError(f"the run '{found.title}' has no finished network that hangs beside a base model; choose another one, or let it finish")
        if (trained.model.family, trained.model.source) != (spec.id, config.model.source):
            raise ValueError(f"the run '{found.title}' was trained beside {trained.model.source}, and this model is {config.model.source}")
        self.run, self.title = run, found.title
        self.inside = bool(getattr(self.adapter, "INSIDE", False))
        self.config = trained.model_copy(update={"model": config.model, "device": config.device})
        self.beside = side.of(self.config, spec)
        self.ctx, self.cache = ctx, cache
        ctx.phase(f"loading the {self.adapter.TITLE}")
        self.side = side.load(self.config, family, m, self.adapter, result)

    def given(self, shot: Shot) -> tuple[dict[str, Any], Image.Image]:
        """(keyword arguments of the pipeline's call, the picture that the network is shown, of the shot's size).  Raises ValueError, OSError."""
        picture = self._picture(shot)
        seen = side.cut(picture.load(), shot.width, shot.height)
        if needs_control(self.adapter):
            return {self.beside.image: seen}, seen
        prompts = ImagePrompts(self.config, self.ctx, self.beside, self.cache)
        prompts.encode([(picture, False)], lambda done, of: self.ctx.phase("looking at the picture", done, of, "pictures"))
        told = [prompts.nothing(), prompts.of(picture, False)] if shot.guidance > 1 else [prompts.of(picture, False)]
        return {self.beside.image: [torch.stack(told)[:, None].to(self.config.device, DTYPES[self.config.model.dtype])]}, seen

    def _picture(self, shot: Shot) -> Picture:
        """What a shot says that is shown.  Raises ValueError."""
        if not shot.shown:
            what = "a control picture" if needs_control(self.adapter) else "a picture"
            raise ValueError(f"the {self.adapter.TITLE} of '{self.title}' has to be shown {what}; drop one, or choose one of a dataset")
        if not shot.shown_of:
            place = Path(shot.shown).expanduser()
            return Picture(place, hash_of(place))
        found = datasets.resolve(self.ctx.home, shot.shown_of).get(shot.shown)
        if not needs_control(self.adapter):
            return Picture(found.path, found.sha256, found.treatment)
        if found.control is None:
            raise ValueError(f"{shot.shown} has no control picture; choose another one, or make control pictures on the Dataset tab")
        return Picture(found.control.path, found.control.sha256, found.treatment)
