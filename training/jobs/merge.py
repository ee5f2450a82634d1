"""Several adapters as one LoRA: their exact sum, or what TIES and DARE choose of them, at any rank."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..config import JobConfig
from ..tools.adapters import Precision
from ..tools.jobs import Block, Use, checked

TITLE = "Merge adapters"
BLURB = "Several LoRAs, each at its own strength, become one file."
TOOL = True
NEEDS_TOKEN = True  # an adapter on the Hub may be private
USES_GPU = False


class Config(JobConfig):
    """One merge, complete."""

    kind: Literal["merge"] = Field("merge", description="Job kind.")
    adapters: tuple[Use, ...] = Field(min_length=1, max_length=64, description="The adapters that are added up, and how strong each is.")
    method: Literal["sum", "ties", "dare", "dare_ties"] = Field(
        "sum", description="Add them up exactly (sum), or let them choose among single weights where they disagree (ties), or drop some at random (dare), or both (dare_ties)."
    )
    density: float = Field(0.5, gt=0, le=1, description="Share of each adapter's weights that ties keeps, the largest, and dare, at random.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of what dare drops.")
    rank: int = Field(0, ge=0, le=1024, description="Largest rank of the result's layers; 0 lets ranks add up, which loses nothing.")
    share: float = Field(1.0, gt=0, le=1, description="Share of each layer's change that must be kept; below 1 the rank is as small as that allows.")
    blocks: tuple[Block, ...] = Field((), max_length=256, description="Strengths of their own for some layers, multiplied with the adapter's.")
    precision: Precision = Field("same", description="Number format of the result; same is the widest of the adapters'.")
    family: str = Field("", max_length=100, description="Model family, where the files name their layers in different ways and do not tell; empty finds out.")
    base: str = Field("", max_length=1000, description="A base model on this computer whose layers explain such names; empty means the family's own.")

    @model_validator(mode="after")
    def _blocks_name_adapters(self):
        checked(self.blocks, len(self.adapters))
        return self


def run(config: Config, ctx) -> None:
    """Merges and emits `finished`.  Raises ValueError in plain words, Stopped."""
    from ..tools import combine, jobs
    from ..tools.adapters import opened

    for field, acts in (("density", config.method != "sum"), ("seed", config.method.startswith("dare"))):
        if not acts and getattr(config, field) != Config.model_fields[field].default:
            ctx.warn(f"{field} has no effect: method is {config.method!r}")
    adapters = [opened(jobs.find(use.file, ctx)) for use in config.adapters]
    layers, naming = jobs.in_one_way(adapters, config.family, config.base, ctx)
    shares = [
        combine.Share(own, use.strength, [(b.pattern, b.strength) for b in config.blocks if b.adapter in (0, n)])
        for n, (use, own) in enumerate(zip(config.adapters, layers, strict=True), 1)
    ]
    made, kept = combine.merged(shares, config.method, config.density, config.seed, jobs.cut_of(config.rank, config.share), jobs.progress(ctx, "merging"))
    how = {"method": config.method, "strengths": [u.strength for u in config.adapters]}
    jobs.finish(ctx, config.name, made, adapters, naming, config.precision, how, kept)
