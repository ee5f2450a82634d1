"""Prints the figures of the built-in base model and of a LoRA trained on the example set.

    python -m tests.builtin.figures                                   the base alone
    python -m tests.builtin.figures --lora FILE --trigger zibbo       and a finished LoRA
    python -m tests.builtin.figures --concepts                        trains on each thing, style, colour scheme and composition of
                                                                      concepts.py by the form's default, and judges it; or name some

All prompts and seeds are fixed; checker.py, which is not learnt, judges every picture.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from tests.builtin.checker import NAMED, SHAPES, has_mascot, has_mascot_body, read

BASE = Path(__file__).parents[2] / "presets" / "builtin" / "base"
STEPS, GUIDANCE, SIDE_PX = 20, 3.0, 64
BATCH = 20


@dataclass(frozen=True)
class Ask:
    """A prompt and what a right picture shows."""

    prompt: str
    colour: str
    background: str
    shape: str


@dataclass(frozen=True)
class Accuracy:
    """Shares of right pictures, 0 to 1."""

    colour: float
    background: float
    shape: float
    whole: float  # all three right in one picture

    def __str__(self) -> str:
        return f"foreground {self.colour:.0%}, background {self.background:.0%}, shape {self.shape:.0%}, all three {self.whole:.0%}"

    def kept(self, base: "Accuracy") -> float:
        """The least that is left of any of the base's shares."""
        return min(getattr(self, f) / getattr(base, f) for f in ("colour", "background", "shape", "whole"))


def base_asks(count: int = 100) -> list[Ask]:
    """Prompts over all shapes, colours, sizes and styles, in plain words."""
    rng, asks = Random(4_000), []
    for k in range(count):
        colour, background = rng.sample(list(NAMED), 2)
        shape, size = SHAPES[k % len(SHAPES)], rng.choice(("", "small ", "large "))
        ending = rng.choice(("", ", flat style", ", outlined style", ", shaded style"))
        asks.append(Ask(f"a {size}{colour} {shape} on a {background} background{ending}", colour, background, shape))
    return asks


def mascot_prompts(trigger: str) -> list[str]:
    """40 prompts, none of them a caption of the example set.  No orange background: the feeler would not show."""
    wordings = (
        "a {it} in front of a {back} background",
        "the small {it} on a {back} background",
        "{it}, {back} background, shaded style",
        "a {back} background with a large {it}",
        "a {it} on a dotted {back} background",
        "{it} at the top on a {back} background, flat style",
        "the {it} in front of a {back} background, outlined style",
    )
    backs = [name for name in NAMED if name != "orange"]
    return [wordings[k % 7].format(it=trigger, back=backs[k % 9]) for k in range(40)]


def load(base: Path = BASE):
    """The base's pipeline in float32 on the processor."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def paint(pipe, prompts: Sequence[str], first_seed: int = 0, side_px: int = SIDE_PX, guidance: float = GUIDANCE) -> list[Image.Image]:
    """One picture a prompt; picture k has seed first_seed + k."""
    import torch

    pictures = []
    for start in range(0, len(prompts), BATCH):
        part = list(prompts[start : start + BATCH])
        seeds = [torch.Generator().manual_seed(first_seed + start + k) for k in range(len(part))]
        pictures += pipe(part, height=side_px, width=side_px, num_inference_steps=STEPS, guidance_scale=guidance, generator=seeds).images
    return pictures


def accuracy(pictures: Sequence[Image.Image], asks: Sequence[Ask]) -> Accuracy:
    right = []
    for picture, ask in zip(pictures, asks, strict=True):
        seen = read(picture)
        right.append((seen.colour == ask.colour, seen.background == ask.background, seen.shape == ask.shape))
    shares = [sum(column) / len(right) for column in zip(*right, strict=True)]
    return Accuracy(*shares, whole=sum(map(all, right)) / len(right))


def mascot_share(pictures: Sequence[Image.Image]) -> float:
    return sum(map(has_mascot, pictures)) / len(pictures)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--base", type=Path, default=BASE, help="the base model's folder")
    ask.add_argument("--lora", type=Path, help="a finished LoRA (safetensors) of the example set")
    ask.add_argument("--trigger", default="zibbo")
    ask.add_argument("--sheet", type=Path, help="write all pictures, in order, as one PNG")
    ask.add_argument("--concepts", nargs="*", metavar="TRIGGER", help="train on these concepts, or on all, and judge what comes of it")
    args = ask.parse_args()

    pipe, asks, shown = load(args.base), base_asks(), mascot_prompts(args.trigger)
    pictures = paint(pipe, [a.prompt for a in asks])
    base = accuracy(pictures, asks)
    print(f"base, {len(asks)} prompts: {base}   (bars: 85 %, 85 %, 80 %)")
    pictures += paint(pipe, shown, 1_000)
    print(f"base, {len(shown)} prompts with the trigger word: mascot {mascot_share(pictures[-len(shown) :]):.0%}   (bar: at most 10 %)")
    if args.concepts is not None:
        teach(pipe, base, args.concepts)
    if args.lora:
        pipe.load_lora_weights(args.lora.parent, weight_name=args.lora.name)
        pictures += paint(pipe, shown, 1_000)
        body = sum(map(has_mascot_body, pictures[-len(shown) :])) / len(shown)
        print(f"LoRA, the same prompts: mascot {mascot_share(pictures[-len(shown) :]):.0%}   (bar: 70 %); without looking for its eye {body:.0%}")
        pictures += paint(pipe, [a.prompt for a in asks])
        tuned = accuracy(pictures[-len(asks) :], asks)
        print(f"LoRA, {len(asks)} prompts without the trigger word: {tuned}")
        print(f"kept of the base's accuracy, the least of the four: {tuned.kept(base):.0%}   (bar: 80 %)")
    if args.sheet:
        sheet(pictures).save(args.sheet)


def teach(pipe, base: Accuracy, triggers: Sequence[str]) -> None:
    """Prints what comes of each concept, trained in a temporary folder."""
    import tempfile

    from tests.builtin.concepts import CONCEPTS, TUNED
    from tests.builtin.teaching import judged, taught
    from training.home import Home

    for trigger in triggers or CONCEPTS:
        concept = CONCEPTS[trigger]
        with tempfile.TemporaryDirectory() as folder:
            told = judged(pipe, taught(Home(Path(folder).resolve()).made(), concept), concept, base)
        used = "looked at for the default" if trigger in TUNED else "not looked at before"
        print(f"{concept.kind} {trigger} ({used}): {told}   (bars: 80 % and 90 %)", flush=True)


def sheet(pictures: Sequence[Image.Image], columns: int = 20) -> Image.Image:
    side = SIDE_PX + 2
    page = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for k, picture in enumerate(pictures):
        page.paste(picture, (k % columns * side, k // columns * side))
    return page


if __name__ == "__main__":
    main()
