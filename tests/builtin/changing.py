"""Prints what sliders, forgetting and replacing come to on the built-in base: trained by their presets, judged by checker.py.

    python -m tests.builtin.changing                all of them
    python -m tests.builtin.changing slider erase   some

All prompts and seeds are fixed.  No prompt that judges a slider has the wording of one that it was trained with.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.builtin import concepts, figures
from tests.builtin.checker import CRACK, FINER, NAMED, SHAPES, closed, foreground, largest_part, opened, read, to_lab
from tests.builtin.figures import Ask
from training import registry
from training.home import Home
from training.plan import hardware, presets
from training.runs.context import Context
from training.runs.run import Run, create

STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
COUNT, SEED = 40, 1_000
INSTEAD = "square"


@dataclass(frozen=True)
class Slid:
    """Shares of the prompts, 0 to 1.  monotone: where the area grows at each step of `strengths`; colours, base_colours: both colours as asked for, at all
    strengths together and by the base alone.  areas: mean share of the picture, by strength."""

    monotone: float
    colours: float
    base_colours: float
    areas: tuple[float, ...]
    strengths: tuple[float, ...] = STRENGTHS

    def __str__(self) -> str:
        areas = ", ".join(f"{a:.1%} at {s:+g}" for s, a in zip(self.strengths, self.areas, strict=True))
        return f"area grows at each step for {self.monotone:.0%}; mean area {areas}; colours right {self.colours:.0%} (base {self.base_colours:.0%})"


@dataclass(frozen=True)
class Changed:
    """Shares, 0 to 1.  before, after: of prompts that name the shape, which show it; instead: which show a square; kept: of the base's accuracy on the other shapes."""

    shape: str
    before: float
    after: float
    instead: float
    kept: float

    def __str__(self) -> str:
        return f"prompts that name a {self.shape} show one: {self.before:.0%} by the base, {self.after:.0%} afterwards; a {INSTEAD}: {self.instead:.0%}; the others keep {self.kept:.0%}"


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


def other_asks(shape: str) -> list[Ask]:
    """Prompts over all shapes but the one that is changed."""
    return [ask for ask in figures.base_asks() if ask.shape != shape]


def area(image: Image.Image) -> float:
    """Share of the picture that the thing on it covers, as checker.read() finds it."""
    width, height = image.size
    lab = to_lab(np.asarray(image.convert("RGB").resize((width * FINER, height * FINER), Image.Resampling.BICUBIC)))
    return float(opened(largest_part(closed(foreground(lab), CRACK))).mean())


def size_pairs(folder: Path, count: int = 12) -> Path:
    """`folder` with pairs of a small and a large shape, alike in all else: in colours, and at places, that a pair shares."""
    folder.mkdir(parents=True)
    rng = Random(9_000)
    for k in range(count):
        shape, (colour, back) = concepts.KNOWN[k % len(concepts.KNOWN)], rng.sample(list(concepts.INKS), 2)
        x, y = 32 + rng.uniform(-3, 3), 32 + rng.uniform(-3, 3)
        for end, radius in (("low", rng.uniform(8, 10)), ("high", rng.uniform(23, 26))):
            sheet = concepts.Sheet(concepts.INKS[back])
            sheet.shape(shape, x, y, radius, concepts.INKS[colour])
            sheet.done().save(folder / f"{k:02}.{end}.png")
        (folder / f"{k:02}.high.txt").write_text(f"a {colour} {shape} on a {back} background\n", encoding="utf-8")
    return folder


def trained(home: Home, preset: str, dataset: str = "", **overrides) -> Run:
    """The finished run of a preset as it is.  overrides: settings with '__' for '.', beside it."""
    own = {path.replace("__", "."): value for path, value in overrides.items()}
    config = presets.resolve(preset, presets.Answers(name=preset, dataset=dataset, overrides={"sample.every": 0} | own), hardware.machine(home.root), 0, home)
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


@cache
def bare(pipe, asks: tuple[Ask, ...]) -> list[Image.Image]:
    """What the base draws of them, painted once: two runs are judged by the same."""
    return figures.paint(pipe, [a.prompt for a in asks], SEED)


def slid(pipe, run: Run, strengths: Sequence[float] = STRENGTHS) -> Slid:
    """The figures of a size slider.  strengths: those that are looked at, 0 among them, which is the base."""
    asks, areas, right = size_asks(), [], []
    for strength in strengths:
        if strength == 0:
            pictures = bare(pipe, tuple(asks))
        else:
            with loaded(pipe, run, strength):
                pictures = figures.paint(pipe, [a.prompt for a in asks], SEED)
        areas.append([area(p) for p in pictures])
        right.append([(seen := read(p)).colour == a.colour and seen.background == a.background for p, a in zip(pictures, asks, strict=True)])
    table = np.array(areas)  # [strength, prompt]
    base = right[list(strengths).index(0.0)]
    return Slid(float((np.diff(table, axis=0) > 0).all(axis=0).mean()), float(np.mean(right)), float(np.mean(base)), tuple(map(float, table.mean(axis=1))), tuple(strengths))


def shown(pictures: Iterable[Image.Image], shape: str) -> float:
    seen = [read(p).shape == shape for p in pictures]
    return sum(seen) / len(seen)


def changed(pipe, run: Run) -> Changed:
    """The figures of forgetting or replacing the shape that the run's first target names."""
    shape = run.config().concept.targets[0].target
    asks, others = named_asks(shape), other_asks(shape)
    before = bare(pipe, tuple(asks))
    base = figures.accuracy(bare(pipe, tuple(others)), others)
    with loaded(pipe, run):
        after = figures.paint(pipe, [a.prompt for a in asks], SEED)
        rest = figures.accuracy(figures.paint(pipe, [a.prompt for a in others], SEED), others)
    return Changed(shape, shown(before, shape), shown(after, shape), shown(after, INSTEAD), rest.kept(base))


def of_pairs(home: Home) -> Run:
    """The finished run of a slider from pairs of sizes."""
    return trained(home, "builtin-picture_slider", str(size_pairs(home.root / "pairs")))


def forgotten(home: Home, shape: str) -> Run:
    """The finished run of forgetting another shape than the preset's, with nothing to fall back on, as in the paper: no number was tuned for it."""
    return trained(home, "builtin-erase", concept__targets=[{"target": shape, "strength": 1.0}])


GROWS, FORGETS = "80 % grow, colours kept", "at most 10 % afterwards, 90 % kept"
JUDGES = {  # (makes the run, judges it, what is asked of it)
    "slider": (lambda home: trained(home, "builtin-slider"), slid, GROWS),
    "picture_slider": (of_pairs, slid, "smaller at -1 and larger at 1 than the base draws; beyond that the pairs say nothing"),
    "erase": (lambda home: trained(home, "builtin-erase"), changed, FORGETS),
    "erase_heart": (lambda home: forgotten(home, "heart"), changed, FORGETS),
    "replace": (lambda home: trained(home, "builtin-replace"), changed, "80 % a square, 90 % kept"),
}


def main(argv: Sequence[str] | None = None) -> None:
    import tempfile

    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("what", nargs="*", choices=[[], *JUDGES], help="which of them; none means all")
    args = ask.parse_args(argv)
    pipe = figures.load()
    for name in args.what or JUDGES:
        make, judge, bar = JUDGES[name]
        with tempfile.TemporaryDirectory() as folder:
            run = make(Home(Path(folder).resolve()).made())
            view = run.view()
            print(f"{name}: {judge(pipe, run)}   (bars: {bar}); {view.last_t - view.first_t:.0f} s", flush=True)


if __name__ == "__main__":
    main()
