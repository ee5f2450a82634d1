"""Sample pictures: drawn by the family's own diffusers pipeline, from cached prompts, with fixed seeds."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import ModuleType

import torch

from ..config import TrainConfig
from ..family import Cond, Modules
from ..files import write_atomic
from ..runs.context import Context
from .memory import autocast

SPONTANEOUS = 1000  # index of the first prompt that was asked for by hand; the fixed ones count from 0


def prompts(config: TrainConfig) -> list[str]:
    """The sample prompts with the trigger word filled in."""
    return [p.replace("[trigger]", config.trigger).strip() for p in config.sample.prompts]


class Gallery:
    """Draws prompts at a step and says so in events.  cond(text) gives the cached conditioning of a prompt, [1,...]."""

    def __init__(self, config: TrainConfig, ctx: Context, family: ModuleType, m: Modules, cond: Callable[[str], Cond], divisor: int):
        self.config, self.ctx, self.family, self.m, self.cond = config, ctx, family, m, cond
        self.width, self.height = (max(divisor, round(side / divisor) * divisor) for side in (config.sample.width, config.sample.height))
        if (self.width, self.height) != (config.sample.width, config.sample.height):
            ctx.warn(f"samples are {self.width}x{self.height} px: {config.sample.width}x{config.sample.height} does not divide by {divisor}")

    def draw_all(self, step: int, again: bool = False) -> None:
        """All fixed prompts at `step`; those that are already on disk are kept, so that a resumed run draws only what is missing."""
        texts = prompts(self.config)
        for index, text in enumerate(texts):
            if self.ctx.stop_requested():
                return
            self.ctx.phase("drawing samples", index, len(texts), "pictures")
            if again or not self.ctx.path("samples", f"{step:06d}_{index}.webp").exists():
                self.draw(step, index, text)

    def draw(self, step: int, index: int, text: str) -> None:
        """One prompt: the picture on disk, then the event."""
        seed = self.config.sample.seed + (index if index < SPONTANEOUS else 0)
        picture = self._picture(text, seed)
        if picture is None:
            return
        name = f"samples/{step:06d}_{index}.webp"
        self.ctx.path("samples").mkdir(exist_ok=True)
        write_atomic(self.ctx.path(name), _webp(picture, f"{text}\nStep: {step}, Seed: {seed}"))
        self.ctx.emit("sample", step=step, index=index, prompt=text, path=name, seed=seed)

    def _picture(self, text: str, seed: int):
        """The drawn PIL picture; None when Stop was pressed meanwhile."""
        pipe = self.family.pipeline(self.m)
        pipe.set_progress_bar_config(disable=True)

        def stop_early(pipe, step, timestep, kwargs):
            pipe._interrupt = self.ctx.stop_requested()
            return kwargs

        s = self.config.sample
        with torch.no_grad(), autocast(self.config):
            pictures = pipe(
                **self.family.draw_args(self.m, self.cond(text), self.cond(s.negative), s.guidance),
                num_inference_steps=s.steps, width=self.width, height=self.height,
                generator=torch.Generator().manual_seed(seed), callback_on_step_end=stop_early,
            ).images  # fmt: skip
        return None if self.ctx.stop_requested() else pictures[0]


def _webp(picture, note: str) -> bytes:
    """The picture as WebP, with what it was drawn from in its metadata."""
    exif = picture.getexif()
    exif[0x010E] = note.encode("ascii", "replace").decode()  # ImageDescription is ASCII by its standard
    exif[0x9286] = b"UNICODE\0" + note.encode("utf-16-be")  # UserComment
    stream = io.BytesIO()
    small = picture.width * picture.height <= 256 * 256  # lossy WebP smears small flat pictures
    picture.save(stream, "WEBP", lossless=small, quality=92, exif=exif)
    return stream.getvalue()
