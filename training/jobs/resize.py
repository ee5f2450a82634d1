"""An adapter cut down to a smaller rank, as well as that rank allows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..config import JobConfig
from ..tools.adapters import Precision

TITLE = "Make an adapter smaller"
BLURB = "Cuts a LoRA down to a smaller rank, or to what keeps most of it; LoKr and LoHa become a LoRA."
TOOL = True
NEEDS_TOKEN = True
USES_GPU = False


class Config(JobConfig):
    """One resize, complete."""

    kind: Literal["resize"] = Field("resize", description="Job kind.")
    adapter: str = Field(min_length=1, max_length=1000, description="The adapter: a .safetensors file, a run, one of its checkpoints (RUN/STEP), or a Hub id.")
    rank: int = Field(0, ge=0, le=1024, description="Largest rank of a layer; 0 sets no limit.")
    share: float = Field(0.95, gt=0, le=1, description="Share of each layer's change that is kept, if the rank allows; 1 keeps all that the rank can hold.")
    threshold: float = Field(0.0, ge=0, lt=1, description="Directions of a layer that are weaker than this share of its strongest are dropped; 0 drops none.")
    precision: Precision = Field("same", description="Number format of the result; same is the adapter's own.")

    @model_validator(mode="after")
    def _something_is_cut(self):
        if not self.rank and self.share == 1 and not self.threshold:
            raise ValueError("rank is 0, share 1 and threshold 0, so nothing would be cut; set one of them")
        return self


def run(config: Config, ctx) -> None:
    """Cuts down and emits `finished`.  Raises ValueError in plain words, Stopped."""
    from ..tools import combine, jobs
    from ..tools.adapters import opened

    adapter = opened(jobs.find(config.adapter, ctx))
    layers, naming = jobs.in_one_way([adapter], "", "", ctx)
    made, kept = combine.cut_down(layers[0], jobs.cut_of(config.rank, config.share, config.threshold), jobs.progress(ctx, "cutting down"))
    how = {"method": "resize", "rank": config.rank, "share": config.share, "threshold": config.threshold}
    jobs.finish(ctx, config.name, made, [adapter], naming, config.precision, how, kept)
