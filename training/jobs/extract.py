"""A LoRA taken out of a tuned model: what it differs by from its base model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..config import Device, JobConfig, ModelPart
from ..tools.adapters import Precision

TITLE = "Extract a LoRA"
BLURB = "Takes what a tuned model has learnt out of it, as a LoRA for its base model."
TOOL = True
NEEDS_TOKEN = True
USES_GPU = lambda config: config.device != "cpu"


class Config(JobConfig):
    """One extraction, complete."""

    kind: Literal["extract"] = Field("extract", description="Job kind.")
    family: str = Field(description="Model family of both models.")
    tuned: str = Field(min_length=1, max_length=1000, description="The tuned model: a folder in diffusers layout, a .safetensors file, a Hub id, or a run that trained the whole model.")
    base: str = Field(min_length=1, max_length=1000, description="The model that it was made from: a folder in diffusers layout, a .safetensors file, or a Hub id.")
    rank: int = Field(32, ge=0, le=1024, description="Largest rank of a layer; 0 sets no limit.")
    share: float = Field(1.0, gt=0, le=1, description="Share of each layer's change that is kept, if the rank allows; 0.9 with rank 0 makes each layer as large as it needs to be.")
    threshold: float = Field(0.0, ge=0, lt=1, description="Directions of a layer that are weaker than this share of its strongest are dropped; 0 drops none.")
    size_mb: float = Field(0.0, ge=0, le=100_000, description="Largest size of the LoRA's file in megabytes, its ranks shared out over all layers so that these bytes hold the most; 0 sets no limit.")
    targets: Literal["attention", "attention+ff", "all"] = Field("all", description="Layers that are looked at: attention, attention and feed-forward, or convolutions and projections too.")
    text_encoders: bool = Field(True, description="Take out what the text encoders have learnt too, of those that a LoRA can be for.")
    least: float = Field(1e-5, ge=0, lt=1, description="A layer that changed by less than this share of its weights is left out.")
    device: Device = Field("cpu", description="Where the layers are taken apart: the processor, an NVIDIA or AMD card (cuda), an Intel card (xpu), or an Apple GPU (mps).")
    precision: Precision = Field("fp32", description="Number format of the LoRA; same means fp32 here.")

    def model(self, source: str) -> ModelPart:
        """One of the two models, as training names it."""
        return ModelPart(family=self.family, source=source)


def run(config: Config, ctx) -> None:
    """Extracts and emits `finished`.  Raises ValueError in plain words, Stopped."""
    ctx.phase("loading libraries")
    from .. import registry
    from ..engine.memory import check_there
    from ..formats.deliver import offers
    from ..plan.layers import layer_names
    from ..tools import extract, jobs

    if not config.rank and config.share == 1 and not config.threshold and not config.size_mb:
        raise ValueError("rank is 0, share 1, threshold 0 and size_mb 0, so each layer would be as large as the model's own; set a rank, a share or a size")
    check_there(config.device)
    family = registry.get("families", config.family, ctx.home.plugins)
    spec = family.SPEC
    jobs.refuse_experts(spec)
    tuned, base = (extract.model_folder(config.model(source), family, ctx) for source in (config.tuned, config.base))
    parts = [spec.denoiser, *(t for t in spec.trainable_text if config.text_encoders and (tuned / t).is_dir() and (base / t).is_dir())]
    cut = jobs.cut_of(config.rank, config.share, config.threshold)
    room = extract.Room(config.size_mb * 1e6, 4 if config.precision in ("same", "fp32") else 2) if config.size_mb else None
    found = extract.extract(tuned, base, parts, spec, config.targets, cut, config.least, config.device, jobs.progress(ctx, "comparing the models"), room)
    if not found.layers and found.beside.get(extract.NO_ROOM):
        raise ValueError(f"size_mb is {config.size_mb:g}, which has no room for a single direction of a layer; set a larger one")
    if not found.layers:
        raise ValueError("the two models do not differ in any layer that a LoRA can be for; is the base model the one that it was made from?")
    for sentence in extract.told_of(found):
        ctx.warn(sentence)
    layout = offers(spec, "lora", registry.get("adapters", "lora", ctx.home.plugins))[0].layout
    naming = jobs.Naming(None, spec, layer_names(str(base), family), layout)
    how = {"method": "extract", "rank": config.rank, "share": config.share, "threshold": config.threshold, "size_mb": config.size_mb, "device": config.device}
    said = {"modelspec.architecture": f"{spec.architecture}/lora", "ss_base_model_version": spec.architecture}
    jobs.finish(ctx, config.name, found.layers, [], naming, config.precision, how, found.kept, said, extract.report_of(found), found.share())
