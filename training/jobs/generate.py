"""The drawing job: pictures of a base model and what it wears, one by one or as a grid, with an overview; goes on where it was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from .. import outside, registry
from ..files import write_atomic
from ..formats import overview
from ..plan.shots import FINAL, Drawing, Shot, shots
from ..runs.context import Context, Stopped
from ..runs.run import Run

TITLE = "Draw pictures"
NEEDS_TOKEN = True  # a gated base model or LoRA is downloaded with the user's own token
USES_GPU = True
INDEX, PAGE = "index.json", "index.html"
MAX_PROMPTS_BYTES = 4_000_000
MAX_INDEX_BYTES = 200_000_000


class Config(Drawing):
    """One set of pictures, complete."""

    kind: Literal["generate"] = Field("generate", description="Job kind.")
    prompts: tuple[str, ...] = Field(
        (), max_length=5000, description="What to draw, one a line; {a|b} is one of several, the next for each seed; --w, --h, --d, --s, --l and --n set one prompt's size, seed, steps, guidance and negative."
    )
    prompt_file: str = Field("", max_length=1000, description="A text file with one prompt a line, behind those of prompts.")

    @field_validator("prompts")
    @classmethod
    def _no_empty_prompt(cls, prompts):
        return tuple(p.strip() for p in prompts if p.strip())

    @model_validator(mode="after")
    def _something_to_draw(self):
        if not self.prompts and not self.prompt_file:
            raise ValueError("prompts and prompt_file are both empty; say what to draw")
        return self


def lines_of(config: Config) -> list[str]:
    """All prompts of the job.  Raises ValueError where the file cannot be read, OSError."""
    if not config.prompt_file:
        return list(config.prompts)
    file = Path(config.prompt_file).expanduser()
    if not file.is_file():
        raise ValueError(f"prompt_file is {config.prompt_file!r}, but there is no such file")
    text = outside.read_text(file, MAX_PROMPTS_BYTES, linked=True)
    return [*config.prompts, *(line.strip() for line in text.splitlines() if line.strip())]


def checkpoints_of(outputs: Path, source: str) -> list[str]:
    """The steps that the run a LoRA's source names has on disk, and 'final' where it is finished; [] for what is no run."""
    try:
        run = Run.open(outputs, source.partition("/")[0])
    except ValueError:
        return []
    return [*(str(step) for step, _ in run.checkpoints()), *([FINAL] if run.result() else [])]


def planned(config: Config, ctx: Context) -> tuple[list[Shot], list[str]]:
    """(the pictures, what has no effect).  What an earlier attempt set out to draw stays: checkpoints may have come or gone since."""
    if ctx.attempt > 1 and (before := ctx.path(INDEX)).exists():
        told = outside.read_json(before, MAX_INDEX_BYTES)
        return [Shot.model_validate({k: v for k, v in one.items() if k != "file"}) for one in told["pictures"]], told["said"]
    return shots(config, lines_of(config), lambda source: checkpoints_of(ctx.home.outputs, source))


def run(config: Config, ctx: Context) -> None:
    """Draws until all pictures are there (and says so) or raises Stopped; each that is there is whole."""
    wanted, said = planned(config, ctx)
    for text in said:
        ctx.warn(text)
    ctx.phase("loading libraries")
    from ..engine import libraries

    libraries.load(config, registry.get("families", config.model.family, ctx.home.plugins).SPEC)
    from ..engine.sampling import Interrupted
    from ..engine.studio import Studio

    sheet = _Sheet(config, ctx, wanted, said)
    studio = Studio(config, ctx, keep_text=False)
    missing = [studio.sized(shot) for shot in wanted if not sheet.files[shot.number]]
    for shot in missing:
        studio.check(shot, config.picture, config.mask)
    for source in dict.fromkeys(source for shot in missing for source, _ in shot.loras):
        studio.file_of(source)
    studio.read(missing)
    for shot in missing:
        ctx.phase("drawing", sheet.count, len(wanted), "pictures")
        if ctx.stop_requested():
            sheet.write()
            raise Stopped(sheet.count)
        try:
            studio.wear(shot.loras, shot.blocks)
            frames = studio.draw(shot, config.picture, config.mask, config.change if config.picture else 1.0)
        except Interrupted:
            sheet.write()
            raise Stopped(sheet.count) from None
        sheet.add(shot, frames, studio)
    ctx.phase("drawing", len(wanted), len(wanted), "pictures")
    sheet.write()
    ctx.emit("finished", path="", summary=f"{len(wanted)} pictures; {PAGE} shows them all")


class _Sheet:
    """The pictures that are there, and the overview of them."""

    def __init__(self, config: Config, ctx: Context, wanted: list[Shot], said: list[str]):
        self.config, self.ctx, self.wanted, self.said = config, ctx, wanted, said
        self.files = [self._there(shot) for shot in wanted]
        self.write()

    @property
    def count(self) -> int:
        return sum(map(bool, self.files))

    def add(self, shot: Shot, frames: list, studio) -> None:
        from ..engine import drawn

        path = drawn.write(self.ctx, shot.name, frames, shot, studio, fps=self.config.fps, drawing=self.config)
        self.files[shot.number] = path
        self.ctx.emit("sample", step=shot.number, index=0, prompt=shot.prompt, path=path, seed=shot.seed)
        if self.count % 20 == 0:  # a long list is not written anew for every picture
            self.write()

    def write(self) -> None:
        rows = [{**shot.told(), "file": file} for shot, file in zip(self.wanted, self.files, strict=True)]
        index = overview.index(self.config.name, all(self.files), self.config.rows, self.config.columns, rows, self.said)
        write_atomic(self.ctx.path(INDEX), json.dumps(index, ensure_ascii=False, indent=1).encode())
        write_atomic(self.ctx.path(PAGE), overview.page(index).encode())

    def _there(self, shot: Shot) -> str:
        """The path of a picture that an earlier attempt drew; it was written whole or not at all."""
        names = (f"samples/{shot.name}{ending}" for ending in (".png", ".webp"))
        return next((name for name in names if self.ctx.path(name).is_file()), "")
