"""What draws, and what writes words to pictures: caption  generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .asked import DetachOption, GpuOption, HomeOption, card_of, use_home, values_of
from .watching import launch


def caption(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or the path of a folder of pictures.")],
    captioner: Annotated[str | None, typer.Option(help="Captioner; 'jobs' lists them.")] = None,
    mode: Annotated[str | None, typer.Option(help="What happens to captions that are there: overwrite, missing (write only those) or append.")] = None,
    where: Annotated[str | None, typer.Option("--place", help="With append: behind what is there, front, or line (a caption of its own).")] = None,
    trigger: Annotated[str | None, typer.Option(help="Trigger word that is put into each caption.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the captioner; may be given several times.")] = None,
    home: HomeOption = None,
    detach: DetachOption = False,
):
    """Write captions for a dataset's pictures."""
    from easel.jobs import caption_job

    place = use_home(home)
    given = {"captioner": captioner, "mode": mode, "place": where, "trigger": trigger, "options": values_of(option or [], "--option")}
    launch(caption_job(dataset, place, **given), place, detach)


def generate(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT…", help="What to draw; {a|b} is one of several, the next for each seed.")] = None,
    prompt_file: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help="A text file with one prompt a line.")] = None,
    lora: Annotated[list[str] | None, typer.Option(metavar="SOURCE[@STRENGTH]", help="A run, RUN/STEP, a file or a Hub id, and how strongly it acts; several may be given.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model: a Hub id, a folder or a file; without it, that of the first LoRA that is a run.")] = None,
    family: Annotated[str | None, typer.Option(help="Model family of --base.")] = None,
    negative: Annotated[str | None, typer.Option(help="What the pictures should not show.")] = None,
    size: Annotated[list[str] | None, typer.Option(metavar="WxH", help="Size in px; several draw each of them.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first picture of each prompt.")] = None,
    count: Annotated[int | None, typer.Option(help="Pictures of each prompt.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How strongly a picture follows its prompt.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler, e.g. euler_a; without it, the base model's own.")] = None,
    picture: Annotated[Path | None, typer.Option(help="A picture to start from.")] = None,
    mask: Annotated[Path | None, typer.Option(help="White where the picture may change.")] = None,
    change: Annotated[float | None, typer.Option(help="Share of the steps that change the picture.")] = None,
    made_from: Annotated[list[Path] | None, typer.Option("--from", metavar="FILE", help="A picture that each is made from, for models that edit, or that a clip begins with; several may be given.")] = None,
    rows: Annotated[str | None, typer.Option(help="Rows of a grid: prompt, strength, checkpoint, seed or lora.")] = None,
    columns: Annotated[str | None, typer.Option(help="Its columns.")] = None,
    strengths: Annotated[str | None, typer.Option(metavar="A,B,…", help="For an axis of strengths.")] = None,
    checkpoints: Annotated[str | None, typer.Option(metavar="A,B,…", help="For an axis of checkpoints; without it, all.")] = None,
    name: Annotated[str, typer.Option(help="Name of the set of pictures.")] = "pictures",
    home: HomeOption = None,
    detach: DetachOption = False,
    gpu: GpuOption = None,
):
    """Draw pictures with a base model and LoRAs: one by one, or as a grid, with an overview in the run's folder."""
    from easel.jobs import drawing_job

    place = use_home(home)
    given = {
        "prompt_file": _absolute(prompt_file), "negative": negative, "sizes": [_size(text) for text in size or []] or None, "seed": seed, "count": count, "steps": steps,
        "guidance": guidance, "sampler": sampler, "picture": _absolute(picture), "mask": _absolute(mask), "change": change,
        "made_from": [{"picture": _absolute(file)} for file in made_from or []] or None, "rows": rows, "columns": columns,
        "strengths": _numbers(strengths), "checkpoints": checkpoints.split(",") if checkpoints else None,
    }  # fmt: skip
    launch(drawing_job(prompts or [], lora or [], place, base=base or "", family=family or "", name=name, **given), place, detach, card_of(gpu, place))


def _absolute(path: Path | None) -> str | None:
    """A file that the worker, which runs in another folder, finds too."""
    return str(path.expanduser().resolve()) if path else None


def _size(text: str) -> list[int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size is {text!r}; it takes width x height in px, such as 768x512")
    return [int(width), int(height)]


def _numbers(text: str | None) -> list[float] | None:
    try:
        return [float(one) for one in text.split(",")] if text else None
    except ValueError:
        raise ValueError(f"--strengths is {text!r}; it takes numbers with commas between, such as -1,0,1") from None
