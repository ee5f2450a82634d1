"""Which pictures a job draws, in which order, and where each stands in the overview.  No torch.

A picture is a prompt, a size, a seed and the adapters that are worn.  Prompts, sizes and seeds always multiply; strengths, checkpoints
and single LoRAs do where the grid has them on an axis.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..config import DrawingConfig, Part, Pattern, SamplePart
from ..runs.events import MOST_SEED
from . import prompts

Axis = Literal["", "prompt", "strength", "checkpoint", "seed", "lora"]
AXES: tuple[Axis, ...] = ("prompt", "strength", "checkpoint", "seed", "lora")
FINAL = "final"  # the checkpoint that is the run's result
MOST = 10_000  # pictures of one job
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Strength = Annotated[float, Field(ge=-10, le=10)]
Side = Annotated[int, Field(ge=32, le=4096)]

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_WEIGHT = re.compile(r"\(([^()]*?)\s*:\s*\d*\.?\d+\s*\)")


class LoraUse(Part):
    """One adapter that is worn."""

    source: str = Field(min_length=1, max_length=1000, description="A .safetensors file, a run or one of its checkpoints (RUN or RUN/STEP), or a Hub id.")
    strength: Strength = Field(1.0, description="How much of its effect; 0 means none, below 0 the opposite.")
    fixed: bool = Field(False, description="It is worn in every picture at its own strength, whatever the axes change: a speed adapter, say.")


class MadeFrom(Part):
    """A picture that another is made from: the one before an edit, or the first of a clip."""

    picture: str = Field(min_length=1, max_length=2000, description="The path of a file, or with dataset the name of a picture there.")
    dataset: str = Field("", max_length=1000, description="The dataset of the picture; of a pair, what it is made from is taken, one or several pictures.")


class Drawing(DrawingConfig):
    """What to draw, complete: the base model, what it wears, and every setting of the pictures."""

    loras: tuple[LoraUse, ...] = Field((), max_length=16, description="Adapters to wear, each with its strength.")
    trigger: str = Field("", max_length=100, description="Word that takes the place of [trigger] or [name] in a prompt.")
    negative: str = Field("", max_length=4000, description="What the pictures should not show.")
    sizes: tuple[tuple[Side, Side], ...] = Field(((512, 512),), min_length=1, max_length=64, description="Width and height of the pictures in px; several draw each of them.")
    seed: Seed = Field(42, description="Seed of the first picture of each prompt; the next ones count on from it.")
    count: int = Field(1, ge=1, le=1000, description="Pictures of each prompt, each with a seed of its own.")
    seeds: tuple[Seed, ...] = Field((), max_length=1000, description="Seeds one by one, in place of seed and count.")
    steps: int = Field(20, ge=1, le=200, description="Denoising steps of a picture.")
    guidance: float = Field(7.0, ge=0, le=30, description="How strongly a picture follows its prompt.")
    sampler: str = Field("", max_length=40, description="Sampler, e.g. euler_a or dpmpp_2m; empty is the base model's own.")
    picture: str = Field("", max_length=1000, description="A picture to start from instead of noise: the path of a file; it is cut to the size that is drawn.")
    change: float = Field(0.6, gt=0, le=1, description="Share of the steps that change the picture to start from: small keeps it, 1 draws anew.")
    mask: str = Field("", max_length=1000, description="A picture that is white where the picture to start from may change and black where it stays: the path of a file.")
    made_from: tuple[MadeFrom, ...] = Field((), max_length=16, description="Pictures that each is made from, for families that make edits, or that a clip begins with; empty draws from words alone.")
    keep_shape: bool = Field(True, description="What is made from pictures has the shape of the first of them, with about as many px as sizes say; off, it has exactly that size.")
    frames: int = Field(1, ge=1, le=1025, description="Frames of a clip, for families that make video; 1 draws a still picture.")
    fps: float = Field(16.0, gt=0, le=120, description="Frames a second at which a clip plays.")
    rows: Axis = Field("", description="What changes from row to row of the grid: prompt, strength, checkpoint, seed or lora; empty means no rows.")
    columns: Axis = Field("", description="What changes from column to column of the grid; empty means no columns.")
    strengths: tuple[Strength, ...] = Field((), max_length=100, description="For an axis of strengths: each is multiplied into the strength of every LoRA.")
    checkpoints: tuple[str, ...] = Field((), max_length=1000, description="For an axis of checkpoints: steps of the run that the first LoRA is, or 'final'; empty takes all that it has.")

    @model_validator(mode="after")
    def _what_is_drawn_fits(self):
        axes = (self.rows, self.columns)
        if self.rows and self.rows == self.columns:
            raise ValueError(f"rows and columns are both {self.rows!r}; choose another one for one of them")
        if {"strength", "checkpoint", "lora"} & set(axes) and not self.loras:
            raise ValueError(f"an axis is {next(a for a in axes if a in ('strength', 'checkpoint', 'lora'))!r}, but there is no LoRA; add one to loras")
        if "strength" in axes and not self.strengths:
            raise ValueError("an axis is 'strength', but strengths is empty; say which, for example [-1, 0, 1]")
        if self.mask and not self.picture:
            raise ValueError("mask is set, but picture is not; name the picture that it is for")
        if self.picture and self.made_from:
            raise ValueError("picture and made_from are both set, but a picture either starts from another or is made from some; leave one of them empty")
        if self.picture and int(self.steps * self.change) < 1:
            raise ValueError(f"change {self.change:g} of {self.steps} steps is not one whole step; raise change or steps")
        for step in self.checkpoints:
            if step != FINAL and not step.isdecimal():
                raise ValueError(f"checkpoints has {step!r}; it takes steps, such as '500', and 'final'")
        return self

    def of_seeds(self) -> tuple[int, ...]:
        """The seeds of each prompt."""
        return self.seeds or tuple((self.seed + n) % MOST_SEED for n in range(self.count))

    def size_and_steps(self, width: int, height: int) -> SamplePart:
        """What a prompt's own options may change."""
        return SamplePart(
            width=width, height=height, steps=self.steps, guidance=self.guidance, negative=self.negative, seed=self.seed, frames=self.frames, fps=self.fps
        )


class Shot(Part):
    """One picture to draw."""

    number: int = Field(ge=0, description="Its place in the order of drawing.")
    prompt: str = Field(max_length=20_000, description="What it shows.")
    negative: str = Field("", max_length=20_000, description="What it should not show.")
    width: Side = Field(description="Width in px.")
    height: Side = Field(description="Height in px.")
    seed: int = Field(ge=0, lt=MOST_SEED, description="Seed of its noise.")
    steps: int = Field(20, ge=1, le=200, description="Denoising steps.")
    guidance: float = Field(7.0, ge=0, le=30, description="How strongly it follows its prompt.")
    frames: int = Field(1, ge=1, le=1025, description="Frames of a clip; 1 is a still picture.")
    sampler: str = Field("", max_length=40, description="Sampler; empty is the base model's own.")
    loras: tuple[tuple[str, Strength], ...] = Field((), max_length=64, description="What is worn: source and strength of each adapter.")
    blocks: tuple[tuple[int, Pattern, Strength], ...] = Field(
        (), max_length=512, description="Strengths of their own for some layers: adapter, counted from 1, text that a layer's name holds in its file, and factor."
    )
    beside: str = Field("", max_length=200, description="A finished run that trained a network beside the denoiser, which draws along: its id; empty is none.")
    shown: str = Field("", max_length=2000, description="What that network is shown: the path of a file, or with shown_of the name of a picture there.")
    shown_of: str = Field("", max_length=1000, description="The dataset of the picture that is shown; its control picture is taken where the network is shown those.")
    made_from: tuple[MadeFrom, ...] = Field((), max_length=16, description="Pictures that it is made from, for families that make edits, or that a clip begins with.")
    keep_shape: bool = Field(True, description="What is made from pictures has the shape of the first of them, with about as many px as width and height say; off, it has exactly that size.")
    place: dict[str, str] = Field({}, description="What stands at its row and column: axis and value.")

    @property
    def name(self) -> str:
        """Of its file, without ending."""
        return f"{self.number:05d}_{self.seed}"

    def told(self) -> dict[str, Any]:
        """As JSON; Shot.model_validate() is the way back."""
        return self.model_dump(mode="json")


def shots(config: Drawing, lines: Sequence[str], checkpoints: Callable[[str], Sequence[str]]) -> tuple[list[Shot], list[str]]:
    """(the pictures, sentences on what has no effect).  checkpoints(run) are the steps that a run has, and 'final' where it is finished.

    Raises ValueError where there is nothing to draw, or too much.
    """
    said = idle(config)
    worn = _worn(config, checkpoints)
    found: list[Shot] = []
    for line, (width, height) in itertools.product(lines, config.sizes):
        plain = unweighted(line)
        if plain != line:
            said.append("weights such as (word:1.2) do nothing here: the words count as they stand")
        choices = variants(plain)
        seeds = config.of_seeds()
        if choices > len(seeds):
            said.append(f"“{line[:60]}” has {choices} variants, and {len(seeds)} of them {'is' if len(seeds) == 1 else 'are'} drawn; raise count to draw more")
        for (adapters, place), (n, seed) in itertools.product(worn, enumerate(seeds)):
            asked = prompts.read_line(variant(plain, n), config.size_and_steps(width, height), config.trigger)
            s = asked.sample
            if asked.ignored:
                said.append(f"a prompt asks for what cannot be set here, or not to this value; it is left out: {', '.join(asked.ignored)}")
            seed = s.seed + n if asked.seeded else seed
            found.append(Shot(
                number=len(found), prompt=asked.text, negative=s.negative, width=s.width, height=s.height, seed=seed, steps=s.steps, guidance=s.guidance,
                frames=s.frames, sampler=config.sampler, loras=adapters, made_from=config.made_from, keep_shape=config.keep_shape, place={"prompt": line, "seed": str(seed), **place},
            ))  # fmt: skip
            if len(found) > MOST:
                raise ValueError(f"these are more than {MOST:,} pictures; take a prompt, a size, seeds or an axis away")
    if not found:
        raise ValueError("there is no prompt; give at least one")
    return found, list(dict.fromkeys(said))


def _worn(config: Drawing, checkpoints: Callable[[str], Sequence[str]]) -> list[tuple[tuple[tuple[str, float], ...], dict[str, str]]]:
    """[(adapters, place)] of every combination that the axes ask for."""
    axes = {config.rows, config.columns}
    sets = [(tuple((use.source, use.strength) for use in config.loras), {})]
    fixed = tuple((use.source, use.strength) for use in config.loras if use.fixed)
    if "lora" in axes:
        sets = [(fixed, {"lora": "none"})] + [(((use.source, use.strength), *fixed), {"lora": use.source}) for use in config.loras if not use.fixed]
    if "checkpoint" in axes:
        sets = [one for adapters, place in sets for one in _by_checkpoint(config, adapters, place, checkpoints)]
    if "strength" in axes:
        sets = [(tuple((s, w if (s, w) in fixed else w * by) for s, w in adapters), place | {"strength": f"{by:g}"}) for adapters, place in sets for by in config.strengths]
    return sets


def _by_checkpoint(config: Drawing, adapters, place, checkpoints):
    if not adapters or place.get("lora") == "none":  # what is worn all the same is no run
        return [(adapters, place | {"checkpoint": step}) for step in config.checkpoints or ("",)]
    (source, strength), *others = adapters
    run = source.partition("/")[0]
    has = checkpoints(source)
    if not has:
        raise ValueError(f"an axis is 'checkpoint', but {source!r} is no run of this home with checkpoints; name a run as the first LoRA")
    for step in config.checkpoints:
        if step not in has:
            raise ValueError(f"checkpoints has {step!r}, but the run {run!r} has {', '.join(has)}")
    steps = config.checkpoints or has
    return [((((run if step == FINAL else f"{run}/{step}"), strength), *others), place | {"checkpoint": step}) for step in steps]


def idle(config: Drawing) -> list[str]:
    """A sentence for each setting that was made and does nothing."""
    axes, said = {config.rows, config.columns}, []
    if config.strengths and "strength" not in axes:
        said.append("strengths has no effect: no axis is 'strength'")
    if config.checkpoints and "checkpoint" not in axes:
        said.append("checkpoints has no effect: no axis is 'checkpoint'")
    if config.seeds and (config.count != 1 or config.seed != 42):
        said.append("seed and count have no effect: seeds names them one by one")
    if config.change != 0.6 and not config.picture:
        said.append("change has no effect: there is no picture to start from")
    if not config.keep_shape and not config.made_from:
        said.append("keep_shape has no effect: made_from is empty")
    if config.model.training_adapter:
        said.append("model.training_adapter has no effect: it lies on the base model only while it trains")
    if config.model.context_adapter:
        said.append("model.context_adapter has no effect: a drawing wears what loras names")
    return said


def unweighted(line: str) -> str:
    """The prompt with each (word:1.2) as the bare words."""
    while (plain := _WEIGHT.sub(r"\1", line)) != line:
        line = plain
    return line


def variants(line: str) -> int:
    """How many prompts a prompt with {a|b} stands for."""
    total = 1
    while match := _CHOICE.search(line):
        options = match[1].split("|")
        total *= len(options)
        line = line[: match.start()] + options[0] + line[match.end() :]
    return total


def variant(line: str, number: int) -> str:
    """The number-th of them, counted round and round; the first {a|b} changes fastest."""
    while match := _CHOICE.search(line):
        options = match[1].split("|")
        number, choice = divmod(number, len(options))
        line = line[: match.start()] + options[choice].strip() + line[match.end() :]
    return " ".join(line.split())
