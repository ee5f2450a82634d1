"""A sample prompt: words, and what its options set for this one picture, as kohya's and ai-toolkit's sample prompts write them.

`a cat in [trigger] --w 768 --h 512 --d 7` is drawn 768 px wide, 512 px high, with seed 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from ..config import SamplePart, TrainConfig
from ..data.captions import has_place, with_trigger

OPTIONS = {
    "w": "width", "width": "width", "h": "height", "height": "height", "d": "seed", "seed": "seed", "s": "steps", "steps": "steps",
    "l": "guidance", "g": "guidance", "cfg": "guidance", "n": "negative", "f": "frames", "frames": "frames", "i": "first_frame", "image": "first_frame",
}  # fmt: skip
_OPTION = re.compile(r"(?:^|\s)--([A-Za-z][\w-]*)(?:[ \t=]+(.*?))?(?=\s+--[A-Za-z]|\s*$)")


@dataclass(frozen=True)
class Prompt:
    """text: what is drawn, the trigger word filled in.  sample: the settings for this picture.  seeded: names its own seed.

    ignored: options that Easel has no setting for, or with a value it cannot take.
    """

    text: str
    sample: SamplePart
    seeded: bool = False
    ignored: tuple[str, ...] = ()


def read(config: TrainConfig, line: str) -> Prompt:
    """What a line of sample.prompts asks for."""
    return read_line(line, config.sample, config.trigger)


def read_line(line: str, sample: SamplePart, trigger: str) -> Prompt:
    """What a prompt with options asks for; sample: what holds where it says nothing."""
    ignored, seeded = [], False
    for match in _OPTION.finditer(line):
        name, value = OPTIONS.get(match[1]), (match[2] or "").strip()
        try:
            if name is None:
                raise ValueError
            sample = SamplePart.model_validate({**dict(sample), name: with_place(value, trigger) if name == "negative" else value})
            seeded |= name == "seed"
        except (ValidationError, ValueError):  # ValidationError: out of its limits
            ignored.append(match[0].strip())
    return Prompt(with_place(_OPTION.sub("", line).strip(), trigger), sample, seeded, tuple(ignored))


def of_config(config: TrainConfig) -> list[Prompt]:
    """The sample prompts of a run."""
    return [read(config, line) for line in config.sample.prompts]


def first_frames(config: TrainConfig) -> list[str]:
    """The names of all pictures that samples are to begin with."""
    named = (config.sample.first_frame, *(prompt.sample.first_frame for prompt in of_config(config)))
    return list(dict.fromkeys(name for name in named if name))


def said(config: TrainConfig) -> list[str]:
    """A sentence on options that do nothing; [] where there are none."""
    ignored = list(dict.fromkeys(option for prompt in of_config(config) for option in prompt.ignored))
    return [lost(ignored)] if ignored else []


def lost(ignored: Iterable[str]) -> str:
    """The sentence on options that do nothing."""
    return f"sample prompts ask for what cannot be set for a single picture here, or not to this value; it is left out: {', '.join(ignored)}"


def with_place(text: str, trigger: str) -> str:
    """The text with the trigger word where it says so, and nowhere else."""
    return with_trigger(text, trigger) if has_place(text) else text
