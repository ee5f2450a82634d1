"""An adapter of any program written again under the names that other programs read; it acts the same."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..config import JobConfig

TITLE = "Convert an adapter"
BLURB = "Writes an adapter under the names that ComfyUI, diffusers or kohya’s scripts read.  It acts the same."
TOOL = True
NEEDS_TOKEN = True
USES_GPU = False


class Config(JobConfig):
    """One conversion, complete."""

    kind: Literal["convert"] = Field("convert", description="Job kind.")
    adapter: str = Field(min_length=1, max_length=1000, description="The adapter: a .safetensors file, a run, one of its checkpoints (RUN/STEP), or a Hub id.")
    layout: Literal["most", "diffusers", "kohya", "comfyui"] = Field(
        "most", description="Names of the layers: those that most programs read (most), diffusers', kohya's (AUTOMATIC1111), or the model's first release's (comfyui)."
    )
    family: str = Field("", max_length=100, description="Model family that the adapter is for; empty finds out.")
    base: str = Field("", max_length=1000, description="A base model on this computer whose layers tell kohya's names apart; empty means the family's own.")


def run(config: Config, ctx) -> None:
    """Converts and emits `finished`.  Raises ValueError in plain words."""
    import os

    from .. import registry
    from ..formats.deliver import offer_for, relaid
    from ..formats.foreign import left_out
    from ..formats.recognise import one_family
    from ..outside import size
    from ..plan.layers import layer_names
    from ..tools import jobs
    from ..tools.adapters import opened

    file = jobs.find(config.adapter, ctx)
    adapter = opened(file)
    spec = one_family(adapter.mapped.entries, adapter.mapped.metadata, config.family, ctx.home.plugins)
    family = registry.get("families", spec.id, ctx.home.plugins)
    offer = offer_for(file, spec, ctx.home.plugins)
    target, unproven = ctx.path(f"{config.name}.safetensors"), ctx.path(".unproven.safetensors")
    ctx.phase("writing the file")
    try:
        relaid(file, unproven, spec, offer.layout if config.layout == "most" else config.layout, layer_names(config.base or spec.default_source, family))
        os.replace(unproven, target)
    finally:
        unproven.unlink(missing_ok=True)
    if less := left_out(file, adapter.mapped.entries, spec):
        ctx.warn(less)
    layers, took = len(opened(target).tensors) if less else len(adapter.tensors), size(target.stat().st_size)
    text = f"{layers} layers, to be read by {offer.title}, {took}" if config.layout in ("most", offer.layout) else f"{layers} layers in the layout {config.layout}, {took}"
    ctx.emit("finished", path=target.name, summary=text)
