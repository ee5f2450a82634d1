"""An adapter made stronger or weaker once and for all: what strength 0.7 did, strength 1 then does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ..config import JobConfig
from ..tools.adapters import Precision
from ..tools.jobs import Block, checked

TITLE = "Change an adapter's strength"
BLURB = "A new file whose strength 1 is what another strength is now, in all layers or in some."
TOOL = True
NEEDS_TOKEN = True
USES_GPU = False


class Config(JobConfig):
    """One change of strength, complete."""

    kind: Literal["scale"] = Field("scale", description="Job kind.")
    adapter: str = Field(min_length=1, max_length=1000, description="The adapter: a .safetensors file, a run, one of its checkpoints (RUN/STEP), or a Hub id.")
    strength: float = Field(1.0, ge=-100, le=100, description="The strength that becomes the new 1; below 0 it does the opposite.")
    blocks: tuple[Block, ...] = Field((), max_length=256, description="Strengths of their own for some layers, multiplied with it.")
    precision: Precision = Field("same", description="Number format of the result; same is the adapter's own.")

    @field_validator("blocks")
    @classmethod
    def _there_is_one(cls, blocks):
        return checked(blocks, 1)


def run(config: Config, ctx) -> None:
    """Scales and emits `finished`.  Raises ValueError in plain words, Stopped."""
    from ..tools import combine, jobs
    from ..tools.adapters import opened

    adapter = opened(jobs.find(config.adapter, ctx))
    layers, naming = jobs.in_one_way([adapter], "", "", ctx)
    share = combine.Share(layers[0], config.strength, [(b.pattern, b.strength) for b in config.blocks])
    made, kept = combine.merged([share], "sum", 1.0, 0, jobs.cut_of(0, 1.0), jobs.progress(ctx, "scaling"))
    how = {"method": "scale", "strength": config.strength, "blocks": [[b.pattern, b.strength] for b in config.blocks]}
    jobs.finish(ctx, config.name, made, [adapter], naming, config.precision, how, kept)
