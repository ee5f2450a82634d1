"""A sample that does not fit the memory is drawn in another way: decoded in tiles, then half as large; or left out.  It never ends a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..plan.prompts import Prompt
from ..runs import death
from .memory import release

SMALLEST_PX = 256  # below it nothing is to be seen of what a large model learns
SAID = (
    "Memory ran out while a sample was drawn, so from here on samples are decoded in tiles, which may show small differences where tiles meet",
    "Memory ran out while a sample was drawn, so from here on samples are half as wide and half as high",
    "Memory ran out while a sample was drawn, and it does not get smaller; samples are left out from here on. Training goes on",
)


class Frugal:
    """How samples are drawn as long as this process lives: what did not fit once is not tried again."""

    def __init__(self, warn: Callable[[str], None]):
        self.warn = warn
        self.rung = 0  # 0: as asked; else how many of SAID were said

    def draw(self, frames: Callable[[Prompt], list], prompt: Prompt, vae: Any) -> list:
        """What frames(prompt) gives, in the largest way that fits; [] where none does."""
        while self.rung < len(SAID):
            try:
                return self._in_this_way(frames, prompt, vae)
            except Exception as error:
                if not death.ran_out(error):
                    raise
            release()  # out here nothing of what failed is held any more
            self._down(prompt, vae)
        return []

    def _in_this_way(self, frames: Callable[[Prompt], list], prompt: Prompt, vae: Any) -> list:
        tiled_before = getattr(vae, "use_tiling", False)
        if self.rung >= 1 and hasattr(vae, "enable_tiling"):
            vae.enable_tiling()
        try:
            return frames(_halved(prompt) if self.rung >= 2 else prompt)
        finally:
            if not tiled_before and hasattr(vae, "disable_tiling"):
                vae.disable_tiling()  # pictures that are encoded later are encoded as those before

    def _down(self, prompt: Prompt, vae: Any) -> None:
        self.rung += 1
        if self.rung == 1 and (getattr(vae, "use_tiling", False) or not hasattr(vae, "enable_tiling")):
            self.rung = 2  # it was in tiles already
        if self.rung == 2 and min(prompt.sample.width, prompt.sample.height) // 2 < SMALLEST_PX:
            self.rung = 3
        self.warn(SAID[self.rung - 1])


def _halved(prompt: Prompt) -> Prompt:
    s = prompt.sample
    return dataclasses.replace(prompt, sample=s.model_copy(update={"width": s.width // 2, "height": s.height // 2}))
