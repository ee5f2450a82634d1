"""Prints what sliders, forgetting and replacing come to on the built-in base: trained by their presets, judged by checker.py.

    python -m tests.builtin.changing                       all of them
    python -m tests.builtin.changing slider erase replace  some

All prompts and seeds are fixed.  No prompt that judges a slider has the wording of one that it was trained with.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.builtin import figures
from tests.builtin.checker import CRACK, FINER, NAMED, SHAPES, closed, foreground, largest_part, opened, read, to_lab
from tests.builtin.figures import Ask
from training import registry
from training.home import Home
from training.plan import hardware, presets
from training.runs.context import Context
from training.runs.run import Run, create

STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
COUNT, SEED = 40, 1_000
FORGOTTEN, INSTEAD = "circle", "square"


@dataclass(frozen=True)
class Slid:
    """Shares of the prompts, 0 to 1.  monotone: where the area grows at each step from -2 to 2; colours, base_colours: both colours as asked for, at all
    strengths together and by the base alone.  areas: mean share of the picture, by strength."""

    monotone: float
    colours: float
    base_colours: float
    areas: tuple[float, ...]

    def __str__(self) -> str:
        areas = ", ".join(f"{a:.1%} at {s:+g}" for s, a in zip(STRENGTHS, self.areas, strict=True))
        return f"area grows at each step for {self.monotone:.0%}; mean area {areas}; colours right {self.colours:.0%} (base {self.base_colours:.0%})"


@dataclass(frozen=True)
class Changed:
    """Shares, 0 to 1.  before, after: of prompts that name it, which show it; instead: which show what replaces it; kept: of the base's accuracy on the other shapes."""

    before: float
    after: float
    instead: float
    kept: float

    def __str__(self) -> str:
        return f"prompts that name the {FORGOTTEN} show one: {self.before:.0%} by the base, {self.after:.0%} afterwards; a {INSTEAD}: {self.instead:.0%}; the others keep {self.kept:.0%}"


def size_asks() -> list[Ask]:
    """Prompts without a size, over all shapes and colours."""
    rng, asks = Random(7_000), []
    wordings = ("the {c} {s} in front of a {b} background", "a {c} {s} on a {b} background, flat style", "{c} {s}, {b} background", "a {b} background with a {c} {s}")
    for k in range(COUNT):
        colour, back = rng.sample(list(NAMED), 2)
        shape = SHAPES[k % len(SHAPES)]
        asks.append(Ask(wordings[k % 4].format(c=colour, s=shape, b=back), colour, back, shape))
    return asks


def named_asks(shape: str) -> list[Ask]:
    """Prompts that ask for one shape."""
    rng, asks = Random(8_000), []
    wordings = ("the {c} {s} in front of a {b} background", "a small {c} {s} on a {b} background, flat style", "{c} {s}, {b} background", "a {b} background with a large {c} {s}")
    for k in range(COUNT):
        colour, back = rng.sample(list(NAMED), 2)
        asks.append(Ask(wordings[k % 4].format(c=colour, s=shape, b=back), colour, back, shape))
    return asks


def other_asks() -> list[Ask]:
    """Prompts over all shapes but the one that is changed."""
    return [ask for ask in figures.base_asks() if ask.shape != FORGOTTEN]


def area(image: Image.Image) -> float:
    """Share of the picture that the thing on it covers, as checker.read() finds it."""
    width, height = image.size
    lab = to_lab(np.asarray(image.convert("RGB").resize((width * FINER, height * FINER), Image.Resampling.BICUBIC)))
    return float(opened(largest_part(closed(foreground(lab), CRACK))).mean())


def trained(home: Home, preset: str, **overrides) -> Run:
    """The finished run of a preset as it is.  overrides: settings with '__' for '.', beside it."""
    own = {path.replace("__", "."): value for path, value in overrides.items()}
    config = presets.resolve(preset, presets.Answers(name=preset, overrides={"sample.every": 0} | own), hardware.machine(home.root), 0, home)
    run = create(home.outputs, config)
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    registry.get("jobs", "train").run(config, ctx)
    return run


class loaded:
    """Inside: the pipeline with a run's LoRA at a strength."""

    def __init__(self, pipe, run: Run, strength: float = 1.0):
        self.pipe, self.file, self.strength = pipe, run.result(), strength

    def __enter__(self):
        self.pipe.load_lora_weights(self.file.parent, weight_name=self.file.name, adapter_name="made")
        self.pipe.set_adapters(["made"], [self.strength])

    def __exit__(self, *error):
        self.pipe.unload_lora_weights()


def slid(pipe, run: Run) -> Slid:
    """The figures of a size slider."""
    asks, areas, right = size_asks(), [], []
    for strength in STRENGTHS:
        with loaded(pipe, run, strength):
            pictures = figures.paint(pipe, [a.prompt for a in asks], SEED)
        areas.append([area(p) for p in pictures])
        right.append([(seen := read(p)).colour == a.colour and seen.background == a.background for p, a in zip(pictures, asks, strict=True)])
    table = np.array(areas)  # [strength, prompt]
    base = right[STRENGTHS.index(0.0)]
    return Slid(float((np.diff(table, axis=0) > 0).all(axis=0).mean()), float(np.mean(right)), float(np.mean(base)), tuple(map(float, table.mean(axis=1))))


def shown(pictures: Iterable[Image.Image], shape: str) -> float:
    seen = [read(p).shape == shape for p in pictures]
    return sum(seen) / len(seen)


def changed(pipe, run: Run) -> Changed:
    """The figures of forgetting or replacing a shape."""
    asks, others = named_asks(FORGOTTEN), other_asks()
    before = figures.paint(pipe, [a.prompt for a in asks], SEED)
    base = figures.accuracy(figures.paint(pipe, [a.prompt for a in others], SEED), others)
    with loaded(pipe, run):
        after = figures.paint(pipe, [a.prompt for a in asks], SEED)
        rest = figures.accuracy(figures.paint(pipe, [a.prompt for a in others], SEED), others)
    return Changed(shown(before, FORGOTTEN), shown(after, FORGOTTEN), shown(after, INSTEAD), rest.kept(base))


JUDGES = {"slider": ("builtin-slider", slid), "erase": ("builtin-erase", changed), "replace": ("builtin-replace", changed)}
BARS = {"slider": "80 % grow, colours kept", "erase": "at most 10 % afterwards, 90 % kept", "replace": "80 % a square"}


def main(argv: Sequence[str] | None = None) -> None:
    import tempfile

    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("what", nargs="*", choices=[[], *JUDGES], help="which of them; none means all")
    args = ask.parse_args(argv)
    pipe = figures.load()
    for name in args.what or JUDGES:
        preset, judge = JUDGES[name]
        with tempfile.TemporaryDirectory() as folder:
            run = trained(Home(Path(folder).resolve()).made(), preset)
            view = run.view()
            print(f"{name}: {judge(pipe, run)}   (bars: {BARS[name]}); {view.last_t - view.first_t:.0f} s", flush=True)


if __name__ == "__main__":
    main()
