"""The same caption for every picture, with the parts that differ filled in."""

from __future__ import annotations

import re
from pathlib import PurePath

from pydantic import BaseModel, ConfigDict, Field, field_validator

TITLE = "Fixed text"
BLURB = "Writes the same text under every picture. Instant, needs no model; good for a style, or one object seen many times."
NEEDS_PIXELS = False
EMPTY = "the text came out empty"


class Options(BaseModel):
    """What this captioner can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(
        "a photo of [trigger]",
        max_length=2000,
        description="The caption. [trigger] stands for the trigger word, {name} for the file's name, {index} for the picture's number.",
    )
    trigger: str = Field("", max_length=100, description="Word that [trigger] stands for; the trigger word of the job unless given here.")

    @field_validator("text")
    @classmethod
    def _known_parts(cls, text):
        if not text.strip():
            raise ValueError("is empty; write the caption, for example 'a photo of [trigger]'")
        for part in re.findall(r"\{([^{}]*)\}", text):
            if part not in ("name", "index"):
                raise ValueError(f"holds {{{part}}}, but only {{name}} and {{index}} are filled in")
        return text


def needs(options: Options) -> str:
    """What is missing for these options, a sentence; '' when they can be used."""
    if "[trigger]" in options.text and not options.trigger:
        return "the text asks for [trigger]: type a trigger word, or take it out of the text"
    return ""


def load(options: Options, device: str) -> dict:
    """The options and how many pictures were done.  Raises ValueError where the trigger word is missing."""
    if needs(options):
        raise ValueError(needs(options))
    return {"options": options, "done": 0}


def caption(state: dict, pictures: list, names: list[str]) -> list[str]:
    """One caption a name."""
    made = []
    for name in names:
        state["done"] += 1
        parts = {"[trigger]": state["options"].trigger, "{name}": PurePath(name).stem, "{index}": str(state["done"])}
        made.append(re.sub(r"\[trigger\]|\{name\}|\{index\}", lambda m, p=parts: p[m.group()], state["options"].text))  # type: ignore[misc]
    return made
