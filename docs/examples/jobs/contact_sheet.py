"""A tool: all pictures of a dataset small, on one sheet.  TOOL puts a job on the Tools tab, with a form made from its Config."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from training.config import JobConfig

EASEL_API = 1
TITLE = "Contact sheet"
BLURB = "All pictures of a dataset on one sheet, to look through them at a glance or to show them."
TOOL = True
USES_GPU = False


class Config(JobConfig):
    """What the sheet shows."""

    kind: Literal["contact_sheet"] = Field("contact_sheet", description="Job kind.")
    dataset: str = Field(min_length=1, description="Name of a dataset, or the path of a folder of pictures.")
    side: int = Field(128, ge=16, le=1024, description="Side of a picture on the sheet in px.")
    columns: int = Field(6, ge=1, le=50, description="Pictures in a row.")


def run(config: Config, ctx) -> None:
    """Writes sheet.png and says so, or raises Stopped."""
    import io

    from PIL import Image, ImageOps

    from training.data import datasets
    from training.files import write_atomic
    from training.runs.context import Stopped

    pictures = [p for p in datasets.resolve(ctx.home, config.dataset).pictures() if p.usable]
    if not pictures:
        raise ValueError(f"the dataset {config.dataset!r} has no pictures; add some on the Dataset tab")
    sheet = Image.new("RGB", (config.columns * config.side, math.ceil(len(pictures) / config.columns) * config.side), "white")
    for at, picture in enumerate(pictures):
        ctx.phase("drawing", at, len(pictures), "pictures")
        if ctx.stop_requested():
            raise Stopped()
        small = ImageOps.fit(datasets.load_pixels(picture.path), (config.side, config.side))
        sheet.paste(small, (at % config.columns * config.side, at // config.columns * config.side))
    sheet.save(made := io.BytesIO(), "PNG")
    write_atomic(ctx.path("sheet.png"), made.getvalue())
    ctx.emit("finished", path="sheet.png", summary=f"{len(pictures)} pictures")
