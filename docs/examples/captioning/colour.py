"""Captions that tell a picture's colour: 'a red picture'."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

EASEL_API = 1
TITLE = "Colour"
BLURB = "Says which colour a picture has on the whole. Instant, needs no model."
NEEDS_PIXELS = True  # caption() is given Pillow pictures; else None in their place

COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 200), "yellow": (230, 210, 60), "white": (240, 240, 240), "grey": (128, 128, 128), "black": (20, 20, 20)}


class Options(BaseModel):
    """What this captioner can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field("a {colour} picture", min_length=1, max_length=200, description="The caption; {colour} stands for the colour's name.")


def load(options: Options, device: str) -> Options:
    """What caption() is given as its state: a model, where there is one."""
    return options


def caption(state: Options, pictures: list, names: list[str]) -> list[str]:
    """One caption a picture."""
    return [state.text.replace("{colour}", _nearest(picture)) for picture in pictures]


def _nearest(picture) -> str:
    mean = picture.convert("RGB").resize((1, 1)).getpixel((0, 0))
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], mean, strict=True)))
