"""A job: how often each word stands in a dataset's captions, as a table in the run's folder."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from pydantic import Field

from training.config import JobConfig

EASEL_API = 1
TITLE = "Count words"
USES_GPU = False  # so it waits for no training


class Config(JobConfig):
    """What is to be counted."""

    kind: Literal["count_words"] = Field("count_words", description="Job kind.")  # the file's name
    dataset: str = Field(min_length=1, description="Name of a dataset, or the path of a folder of pictures.")
    least: int = Field(1, ge=1, description="Words that stand there less often are left out.")


def run(config: Config, ctx) -> None:
    """Writes words.tsv and says so, or raises Stopped.  ctx: training.runs.context.Context."""
    from training.data import datasets
    from training.files import write_atomic
    from training.runs.context import Stopped

    counts: Counter[str] = Counter()
    pictures = datasets.resolve(ctx.home, config.dataset).pictures()
    for done, picture in enumerate(pictures):
        ctx.phase("counting", done, len(pictures), "captions")
        if ctx.stop_requested():
            raise Stopped()
        counts.update(re.findall(r"\w+", picture.caption.lower()))
    rows = [f"{word}\t{count}" for word, count in counts.most_common() if count >= config.least]
    write_atomic(ctx.path("words.tsv"), "\n".join([*rows, ""]).encode())
    ctx.emit("finished", path="words.tsv", summary=f"{len(rows)} words in {len(pictures)} captions")
